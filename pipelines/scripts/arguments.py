"""The arguments of a function of the user's own: read from its signature, checked, and as its record has them."""

import contextlib
import dataclasses
import difflib
import inspect
import operator
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError, create_model
from pydantic_core import PydanticSerializationError

from pipelines.scripts.run import ScriptError, words_of


@dataclass(frozen=True)
class Arguments:
    """What a function takes after its run, read from its signature."""

    schema: type[BaseModel]
    model: str | None = None
    """the one parameter that is a dataclass or a pydantic model, whose fields the arguments are; None: each argument
    is a parameter"""
    kind: Any = None
    """of that parameter"""

    def call(self, values: BaseModel) -> dict[str, Any]:
        """The keyword arguments of the function. ValidationError where its model does not take the values."""
        if self.model is None:
            return {name: getattr(values, name) for name in type(values).model_fields}
        given = {name: getattr(values, name) for name in values.model_fields_set}  # a default need not be valid
        return {self.model: TypeAdapter(self.kind).validate_python(given)}


def read_arguments(function: Callable[..., Any], name: str) -> Arguments:
    """The parameters after the run as a schema. ScriptError where there is no run, or a parameter without a keyword."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except Exception as error:  # an annotation is an expression, which can raise anything
        raise ScriptError(f"{name}: its signature cannot be read: {words_of(error)}") from error
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise ScriptError(f"{name}: must take the run as its first argument: def {name.rpartition(':')[2]}(run, …)")
    rest = parameters[1:]
    if len(rest) == 1 and (schema := _model_of(rest[0].annotation, name)):
        return Arguments(schema, rest[0].name, rest[0].annotation)
    fields: dict[str, Any] = {}
    for parameter in rest:
        if parameter.kind not in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            raise ScriptError(f"{name}: {parameter} cannot be set by name: give the function named arguments")
        has_default = parameter.default is not inspect.Parameter.empty
        annotation = parameter.annotation
        if annotation is inspect.Parameter.empty:
            annotation = type(parameter.default) if has_default and parameter.default is not None else Any
        fields[parameter.name] = (annotation, parameter.default if has_default else ...)
    return Arguments(_schema(fields, name))


def _model_of(kind: Any, name: str) -> type[BaseModel] | None:
    """A schema with the fields of a dataclass or of a pydantic model; None for any other type. ScriptError for fields
    whose types cannot be found."""
    if not (inspect.isclass(kind) and (issubclass(kind, BaseModel) or dataclasses.is_dataclass(kind))):
        return None
    try:
        fields = _fields_of(kind)
    except Exception as error:  # as above
        raise ScriptError(f"{name}: the fields of {kind.__name__} cannot be read: {words_of(error)}") from error
    return _schema(fields, name)


def _fields_of(kind: type) -> dict[str, Any]:
    """Type and default of each field that can be given, by name. Raises NameError where a type cannot be found."""
    if issubclass(kind, BaseModel):
        kind.model_rebuild()
        return {key: (one.annotation, one) for key, one in kind.model_fields.items()}
    kinds = typing.get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {}
    for one in filter(operator.attrgetter("init"), dataclasses.fields(kind)):
        default: Any = ... if one.default is dataclasses.MISSING else one.default
        if one.default_factory is not dataclasses.MISSING:
            default = one.default_factory()
        fields[one.name] = (kinds[one.name], default)
    return fields


def _schema(fields: Mapping[str, Any], name: str) -> type[BaseModel]:
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    try:
        schema = create_model("Arguments", __config__=config, **fields)
        schema.model_rebuild()  # raises for a type that cannot be found
    except (TypeError, ValueError, NameError, PydanticUserError) as error:
        raise ScriptError(f"{name}: its arguments cannot be read: {words_of(error)}") from None
    return schema


def check_arguments(arguments: Arguments, given: Mapping[str, Any], name: str) -> BaseModel:
    """The arguments with their defaults and types. ScriptError that names everything that is wrong.

    None for one whose default is None is that default, whatever its type: `lr: float = None` is often written.
    """
    fields = arguments.schema.model_fields
    chosen = {
        key: value
        for key, value in given.items()
        if value is not None or key not in fields or fields[key].default is not None
    }
    with explained(name, list(fields)):
        return arguments.schema.model_validate(chosen)


def recorded(values: BaseModel, name: str) -> dict[str, Any]:
    """The arguments as JSON has them. ScriptError for one that it does not have."""
    found: dict[str, Any] = {}
    for key in type(values).model_fields:
        try:
            found |= values.model_dump(mode="json", include={key}, warnings=False)
        except PydanticSerializationError as error:
            raise ScriptError(f"{name}: {key}={getattr(values, key)!r} cannot be recorded: {words_of(error)}") from None
    return found


@contextlib.contextmanager
def explained(name: str, known: Sequence[str] = ()) -> Iterator[None]:
    """ScriptError in the place of pydantic's error, in one line that names every argument that is wrong.

    known: the arguments that there are.
    """
    try:
        yield
    except ValidationError as error:
        found = []
        for one in error.errors():
            key = ".".join(map(str, one["loc"]))
            if one["type"] == "extra_forbidden":
                close = difflib.get_close_matches(key, known, n=1)
                takes = f"did you mean {close[0]}?" if close else f"it takes {', '.join(known) or 'none'}"
                found.append(f"there is no argument {key!r}; {takes}")
            elif one["type"] == "missing":
                found.append(f"{key} is missing")
            elif not key:
                found.append(one["msg"].removeprefix("Value error, "))
            else:
                quoted = f", in quotes: '{key}=\"TEXT\"'" if one["type"] == "string_type" else ""
                found.append(f"{key}={one['input']!r}: {one['msg'].replace('Input should be', 'it should be')}{quoted}")
        raise ScriptError(f"{name}: {'; '.join(found)}") from None
