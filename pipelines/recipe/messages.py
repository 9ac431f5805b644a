"""What is wrong with the settings of a recipe, in words for its author: pydantic's errors, a sentence for each key."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pipelines.recipe.config import Config, configs_in, documented
from pipelines.recipe.schema import Recipe
from pipelines.recipe.scripts import Command, Function

KINDS = {
    "bool_type": "true or false",
    "dict_type": "a group of options, such as {name: …}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "an integer",
    "int_type": "an integer",
    "model_type": "a group of options, such as {key: value}",
    "string_type": "a text",
    "too_short": "a longer list",
    "tuple_type": "a list like [1, 2]",
}
"""what a value should be, by the type of the error"""

REMEDIES: dict[type[Config], str] = {
    Recipe: "bench/run.py --help recipe lists them",
    Function: "an argument of the function goes under `arguments:`",
    Command: "an argument of the program goes into `command:`",
}
"""what helps the author of an option that there is not, by what the settings are of"""


def explain(errors: Iterable[Mapping[str, Any]], root: type[Config]) -> str:
    """One line: each key with its value and what it should be, or the key that was probably meant.

    root: what the settings are of, a recipe or a training of the user's own.
    """
    told: dict[str, list[str]] = {}
    for error in errors:
        key, groups = _key(error["loc"], root)
        alternatives = told.setdefault(key, [])
        if error["type"] in ("extra_forbidden", "missing", "value_error", "union_tag_not_found"):
            alternatives.append(_about_key(error, key, groups, root))
        elif alternatives:  # of a value of one of several types
            alternatives.append(f"or {_wanted(error)}")
        elif not any(other.startswith(f"{key}.") for other in told):  # else what is wrong within it is told
            tag = {"union_tag_invalid": ".name"}.get(error["type"], "")
            value = error["input"]["name"] if tag else error["input"]
            alternatives.append(f"{key}{tag}={_written(value)}: it should {_verb(error)} {_wanted(error)}")
    return "; ".join(" ".join(alternatives) for alternatives in told.values() if alternatives)


def did_you_mean(word: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6) -> str:
    """The known words that are spelled like one, as ` (did you mean x or y?)`; empty for none."""
    return _question(difflib.get_close_matches(word, known, n=count, cutoff=cutoff))


def _question(words: Sequence[str]) -> str:
    return f" (did you mean {' or '.join(words)}?)" if words else ""


def _about_key(error: Mapping[str, Any], key: str, groups: list[type[Config]], root: type[Config]) -> str:
    if error["type"] == "extra_forbidden":
        prefix, dot, word = key.rpartition(".")
        close = difflib.get_close_matches(word, [name for group in groups for name in group.model_fields], n=1)
        meant = [f"{prefix}{dot}{name}" for name in close] or [one for one in _elsewhere(word, root) if one != key]
        kind = _name(groups[0]) if len(groups) == 1 else None
        where = f" of {prefix}.name={kind}" if kind and not meant else ""
        return f"{key}: there is no such option{where}{_question(meant)}; {_remedy(key, root)}"
    if error["type"] == "missing":
        return f"{key}: is missing"
    if error["type"] == "union_tag_not_found":
        return f"{key}.name: is missing; it should be one of {', '.join(map(_name, groups))}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message if not key or key in message else f"{key}: {message}"


def _elsewhere(word: str, root: type[Config]) -> list[str]:
    """The options of other groups that are called like one that was given without its group."""
    found = dict.fromkeys(key for key, _ in documented(root) if key.partition(".")[2] == word)
    return [] if word == "name" else list(found)


def _remedy(key: str, root: type[Config]) -> str:
    """What helps the author of an option that there is not."""
    group = key.partition(".")[0]
    if group in root.model_fields and configs_in(root.model_fields[group].annotation):
        return f"bench/run.py --help {group} lists them"
    return REMEDIES[root]


def _verb(error: Mapping[str, Any]) -> str:
    return "have" if error["type"] in ("too_long", "string_too_long") else "be"


def _wanted(error: Mapping[str, Any]) -> str:
    """What a value should be."""
    kind, limits = error["type"], error.get("ctx", {})
    if kind == "literal_error":
        choices = limits["expected"].replace("'", "")
        return choices + did_you_mean(str(error["input"]), choices.replace(" or ", ", ").split(", "))
    if kind == "union_tag_invalid":
        choices = limits["expected_tags"].replace("'", "")
        return f"one of {choices}{did_you_mean(limits['tag'], choices.split(', '))}"
    if kind == "too_long":
        return f"{limits['max_length']} values or fewer"
    if kind == "string_too_long":
        return f"at most {limits['max_length']} characters"
    return KINDS.get(kind) or str(error["msg"]).removeprefix("Input should be ")


def _key(location: tuple[str | int, ...], root: type[Config]) -> tuple[str, list[type[Config]]]:
    """A key as it is typed, and the groups that it may be in, or that it is.

    Pydantic also names the member of a union that it tried, such as `sgd` or `bool`, which is no key.
    """
    groups: list[type[Config]] = [root]
    parts: list[str] = []
    for index, part in enumerate(location):
        if any(part == _name(group) for group in groups):
            groups = [group for group in groups if _name(group) == part]
            continue
        fields = [group.model_fields[part] for group in groups if part in group.model_fields]
        is_last = index == len(location) - 1
        if fields or isinstance(part, int) or (is_last and groups):
            parts.append(str(part))
        if fields or not is_last:
            groups = [config for field in fields for config in configs_in(field.annotation)]
    return ".".join(parts), groups


def _name(group: type[Config]) -> str | None:
    """What `name:` says of one kind of a thing; None for a group that has no kinds."""
    field = group.model_fields.get("name")
    names = get_args(field.annotation) if field else ()
    return names[0] if len(names) == 1 else None


def _written(value: object) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
