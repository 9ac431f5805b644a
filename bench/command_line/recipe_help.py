"""The options of recipes as help: `bench/run.py --help recipe`, or one group as `--help optimizer`."""

import argparse
import json
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from bench.command_line.options import help_width

ALL = "recipe"
KEY = 34
"""columns of a key on a wide terminal"""
NARROW = 90
"""columns up to which the documentation of an option is not in a column of its own"""
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
            parser.error(f"argument --help: {values!r} is not a topic: use one of {', '.join([ALL, *topics()])}")
        parser.exit()


def topics() -> list[str]:
    """The groups of a recipe."""
    from pipelines.recipe import Recipe
    from pipelines.recipe.config import configs_in

    return [key for key, field in Recipe.model_fields.items() if configs_in(field.annotation)]


def recipe_help(topic: str = ALL) -> str:
    """Every option of a recipe, or of one of its groups, with its type, default and documentation."""
    from pipelines.recipe import Recipe

    head = "options of a recipe, set as key=value or group.key=value:"
    return "\n".join([head, *(line for key, line in _lines(Recipe) if topic in (ALL, key.partition(".")[0]))])


def _lines(group: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(key, help) of every option below a group. Each of several kinds, such as the optimizers, has a heading."""
    from pipelines.recipe.config import configs_in

    for name, field in group.model_fields.items():
        key, inner = f"{prefix}{name}", configs_in(field.annotation)
        default = "" if field.is_required() or inner else f" [{typed(field.get_default())}]"
        written = "" if inner else type_name(field.annotation)
        fits = len(written) < help_width() - (max(KEY, len(key)) if _is_wide() else 0) - 12
        written = written if fits else written.replace("|", " | ")
        kind = "" if inner else f"{written}{default}: "
        yield key, _wrapped(key, f"{kind}{field.description or ''}")
        for one in inner:
            if len(inner) > 1:
                yield key, "\n" + textwrap.fill(f"{key}.name={name_of(one)}: {summary_of(one)}", help_width(), **INDENT)
            for deeper, line in _lines(one, f"{key}."):
                if len(inner) == 1 or deeper != f"{key}.name":
                    yield deeper, line


def _wrapped(key: str, text: str) -> str:
    """One option: the documentation in a column of its own where the terminal is wide enough."""
    return textwrap.fill(
        " ".join([f"{key:<{KEY}}" if _is_wide() else f"{key}:", *text.split()]),
        help_width(),
        initial_indent="  ",
        subsequent_indent=" " * (KEY + 3) if _is_wide() else " " * 6,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _is_wide() -> bool:
    return help_width() > NARROW


def summary_of(group: type) -> str:
    """The first sentence of a docstring, without its period."""
    text = " ".join((group.__doc__ or "").split())
    return re.split(r"(?<!et al)\.(?:\s|$)", text, maxsplit=1)[0]


def typed(value: Any) -> str:
    """A value as it is typed after `key=`."""
    return value if isinstance(value, str) else json.dumps(value)


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
        kind = type_name(inner[0])
        return f"list of {kind}" if "|" in kind else f"list of {kind}s"
    if inner:
        return "|".join(type_name(part) for part in inner)
    return {float: "number", int: "integer", str: "text", bool: "true|false", type(None): "null"}[annotation]


def name_of(group: Any) -> str:
    """What `name:` says of one kind of a thing."""
    return str(typing.get_args(group.model_fields["name"].annotation)[0])
