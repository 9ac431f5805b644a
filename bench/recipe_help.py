"""The options of recipes as help: `bench/run.py --help recipe`, or one group as `--help optimizer`."""

import argparse
import json
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from bench.options import MAXIMUM_WIDTH

ALL = "recipe"
LONG = 70
"""characters of a type above which it may be wrapped"""
INDENT = {"initial_indent": "  ", "subsequent_indent": "  "}


class HelpAction(argparse.Action):
    """`--help` prints the options of the command, `--help TOPIC` those of recipes."""

    def __init__(self, option_strings: list[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, "?", metavar="TOPIC")
        self.help = "print this, or options of recipes: recipe (all), data, model, …"

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: Any, option: str | None = None
    ) -> None:
        if values is None:
            parser.print_help()
        elif values == ALL or values in topics():
            print(recipe_help(values))
        else:
            parser.error(f"argument --help: {values!r} is no topic; there are {', '.join([ALL, *topics()])}")
        parser.exit()


def topics() -> list[str]:
    """The groups of a recipe."""
    from pipelines.recipe import Recipe
    from pipelines.recipe.config import configs_in

    return [key for key, field in Recipe.model_fields.items() if configs_in(field.annotation)]


def recipe_help(topic: str = ALL) -> str:
    """Every option of a recipe, or of one of its groups, with its type, default and documentation."""
    from pipelines.recipe import Recipe

    head = "options of a recipe, to be set as key=value or group.key=value:"
    return "\n".join([head, *(line for key, line in _lines(Recipe) if topic in (ALL, key.partition(".")[0]))])


def _lines(group: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, help) of every option below a group. Each of several kinds, such as the optimizers, has a heading."""
    from pipelines.recipe.config import configs_in

    for name, field in group.model_fields.items():
        key, inner = f"{prefix}{name}", configs_in(field.annotation)
        default = "" if field.is_required() or inner else f" [{json.dumps(field.get_default())}]"
        written = "" if inner else type_name(field.annotation)
        written = written.replace("|", " | ") if len(written) > LONG else written
        kind = "" if inner else f"{written}{default}: "
        yield key, _wrapped(key, f"{kind}{field.description or ''}")
        for one in inner:
            if len(inner) > 1:
                sentence = " ".join((one.__doc__ or "").split()).partition(". ")[0].rstrip(".")
                yield key, "\n" + textwrap.fill(f"{key}.name={name_of(one)}: {sentence}", MAXIMUM_WIDTH - 2, **INDENT)
            for deeper, line in _lines(one, f"{key}."):
                if len(inner) == 1 or deeper != f"{key}.name":
                    yield deeper, line


def _wrapped(key: str, text: str) -> str:
    return textwrap.fill(
        " ".join(text.split()),
        MAXIMUM_WIDTH - 2,
        initial_indent=f"  {key:<34} ",
        subsequent_indent=" " * 37,
        break_on_hyphens=False,
        break_long_words=False,
    )


def type_name(annotation: Any) -> str:
    """A type as it is typed: `cifar10|mnist`, `integer|null`, `list of number`."""
    from pipelines.recipe.config import configs_in

    if groups := configs_in(annotation):
        return "|".join(map(name_of, groups))
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "|".join(map(str, inner))
    if origin is typing.Annotated:
        return type_name(inner[0])
    if origin is tuple:
        return f"list of {type_name(inner[0])}"
    if inner:
        return "|".join(type_name(part) for part in inner)
    return {float: "number", int: "integer", str: "text", bool: "true|false", type(None): "null"}[annotation]


def name_of(group: Any) -> str:
    """What `name:` says of one kind of a thing."""
    return str(typing.get_args(group.model_fields["name"].annotation)[0])
