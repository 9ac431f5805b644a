"""Options of the commands. Each is declared once, as a field of a dataclass with a type, a default and a docstring.

The argument parser, the help and the checks are made from these fields. The options of a command inherit the groups
that it shares with other commands; `__post_init__` refuses what does not go together.
"""

import argparse
import ast
import dataclasses
import difflib
import inspect
import os
import shlex
import shutil
import sys
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar

from bench import __version__
from bench.command_line.invocation import as_typed

EXIT_STATUS = "exit status: 0 ok, 1 worse, 2 wrong usage or no verdict, 3 internal error, 130 Ctrl-C, 143 SIGTERM"
MAXIMUM_WIDTH = 120
LARGEST_SEED = 2**53 - 1


@dataclass(frozen=True)
class Argument:
    """How a field is written on the command line, where its type does not say so."""

    parse: Callable[[str], Any] | None = None
    """text to value; ValueError or ArgumentTypeError for a text that has none"""
    metavar: str | None = None
    positional: bool = False
    several: bool = False
    """a list that takes all words that follow, and may be repeated"""
    choices: Callable[[], Sequence[str]] | None = None
    """what a shell completes the word to"""


def at_least(least: int) -> Callable[[str], int]:
    """What reads a whole number from `least` on."""

    def read(text: str) -> int:
        if not text.isdecimal():
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return int(text)

    return read


positive = at_least(1)


def seed(text: str) -> int:
    """A whole number that every reader of JSON holds exactly."""
    value = at_least(0)(text)
    if value > LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"must be at most {LARGEST_SEED}")
    return value


def command_line(text: str) -> str:
    """Words as a shell takes them, of which every quotation ends."""
    try:
        shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return text


def share(text: str) -> float:
    """A number over 0 and under 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number over 0 and under 1")
    return value


def size(text: str) -> int:
    """Bytes, written as `2GiB`, `500MB` or a whole number."""
    from pydantic import ByteSize, Field, TypeAdapter, ValidationError  # which makes --help wait

    try:
        return TypeAdapter(Annotated[ByteSize, Field(gt=0)]).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes, such as 2GiB or 500MB") from None


Count = Annotated[int, Argument(positive, "N")]
Seed = Annotated[int, Argument(seed, "S")]
CommandLine = Annotated[str, Argument(command_line, "COMMAND")]
Folder = Annotated[Path, Argument(metavar="DIR")]
File = Annotated[Path, Argument(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a command. Subclasses add fields."""

    title: ClassVar[str | None] = None
    """heading in the help over the fields that the class declares"""
    help_action: ClassVar[type[argparse.Action] | str] = "help"
    """what `--help` does"""
    renamed: ClassVar[Mapping[str, str]] = {}
    """old spellings of options that are still read, and the new ones"""


Parsed = TypeVar("Parsed", bound=Options)


class Parser(argparse.ArgumentParser):
    """Reports what is wrong in one line, without the usage, and exits with status 2."""

    def __init__(
        self,
        prog: str,
        description: str | None = None,
        epilog: str = "",
        *,
        help_action: type[argparse.Action] | str = "help",
        **more: Any,
    ) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"{epilog}\n\n{EXIT_STATUS}\n".lstrip(),
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
            **more,
        )
        self.add_argument("-h", "--help", action=help_action, help="print this help")
        self.add_argument("--version", action="version", version=f"Paceline {__version__}", help="print the version")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        complete(self)
        return super().parse_args(args, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(as_typed(message), file)

    def error(self, message: str) -> NoReturn:
        head, _, unknown = message.partition("unrecognized arguments: ")
        if unknown and not head:
            known = [flag for action in self._actions for flag in action.option_strings]
            close = difflib.get_close_matches(unknown.split()[0].partition("=")[0], known, n=1)
            message += f" (did you mean {close[0]}?)" if close else ""
        self.exit(2, f"{self.prog}: error: {message}; see --help\n")


def help_width() -> int:
    """Columns of a help text."""
    return min(shutil.get_terminal_size((100, 24)).columns, MAXIMUM_WIDTH) - 2


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Uses the width of the terminal and breaks no word at a hyphen."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=25, width=help_width())

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        if action.metavar is None and action.choices is not None:
            default_metavar = "|".join(map(str, action.choices))
            return lambda size: (default_metavar,) * size
        return super()._metavar_formatter(action, default_metavar)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, action.dest.upper())}"

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def parse(
    kind: type[Parsed], prog: str, arguments: Sequence[str] | None = None, *, description: str | None, epilog: str = ""
) -> Parsed:
    """The options of a command line. Exits with status 2 and one line for a command line that is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser(kind, prog, description, epilog)
    complete(parser)
    options = parser.parse_intermixed_args(_with_new_names(words, kind.renamed, prog))
    try:
        return kind(**vars(options))
    except ValueError as error:
        parser.error(str(error))


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, by argcomplete (extra `completion`), and exit. Else do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        try:
            import argcomplete
        except ModuleNotFoundError:
            raise SystemExit(1) from None  # rather than run the command that is being typed
        argcomplete.autocomplete(parser, always_complete_options="long")


def make_parser(kind: type[Options], prog: str, description: str | None, epilog: str = "") -> Parser:
    """A parser with an argument for each field."""
    usage = " ".join([prog, *(f"[{name}]" for name in _positional_names(kind)), "[options]"])
    parser = Parser(prog, description, epilog, usage=usage, help_action=kind.help_action)
    hints = typing.get_type_hints(kind, include_extras=True)
    groups: dict[str | None, Any] = {None: parser}
    for owner in sorted(kind.__mro__, key=lambda one: len(one.__mro__)):  # what others build on comes first
        for name, text in documentation(owner).items():
            title = typing.cast(type[Options], owner).title
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            _add(groups[title], name, hints[name], default_of(kind.__dataclass_fields__[name]), text)
    return parser


@cache
def documentation(kind: type) -> dict[str, str]:
    """The docstring under each field that a class itself declares."""
    if not dataclasses.is_dataclass(kind):
        return {}
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    names = {field.name for field in dataclasses.fields(kind)}
    return {
        field.target.id: text.value.value
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and field.target.id in names
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def default_of(field: dataclasses.Field) -> Any:
    """The value of a field that is not given."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def to_arguments(options: Options, group: type[Options], without: Sequence[str] = ()) -> list[str]:
    """The fields of a group as options that set them again. Defaults and the fields in `without` are left out."""
    words: list[str] = []
    for field in dataclasses.fields(group):
        value = getattr(options, field.name)
        if value != default_of(field) and field.name not in without:
            words += [_flag(field.name)] if value is True else [_flag(field.name), str(value)]
    return words


def _add(group: Any, name: str, annotation: Any, default: Any, help_text: str) -> None:
    """Add the argument of one field."""
    kind, argument = _unwrapped(annotation)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    required = default is dataclasses.MISSING
    written = ",".join(map(str, default)) if isinstance(default, list) else str(default)
    unsaid = not required and default not in (None, False, []) and "(default: " not in help_text
    shown = f" (default: {written})" if unsaid else ""
    keywords: dict[str, Any] = {"help": (help_text + shown).replace("%", "%%")}
    if not required:
        keywords["default"] = default
    if kind is bool:
        keywords["action"] = "store_true"
    elif origin is typing.Literal:
        keywords |= {"choices": inner, "metavar": argument.metavar or "|".join(inner)}
    else:
        keywords |= {"type": argument.parse or (inner[0] if origin is list else kind), "metavar": argument.metavar}
    if argument.positional:
        nargs = "*" if origin is list else None if required else "?"
        action = group.add_argument(name, nargs=nargs, **keywords)
    else:
        if argument.several:
            keywords |= {"action": "extend", "nargs": "+"}
        elif origin is list and argument.parse is None:
            keywords["action"] = "append"
        action = group.add_argument(_flag(name), dest=name, required=required, **keywords)
    if choices := argument.choices:
        action.completer = lambda **_: choices()  # read by argcomplete


def _unwrapped(annotation: Any) -> tuple[Any, Argument]:
    """A field's type without None, and how it is written."""
    argument = Argument()
    while (origin := typing.get_origin(annotation)) in (Annotated, typing.Union, UnionType):
        inner = [part for part in typing.get_args(annotation) if part is not NoneType]
        if origin is Annotated:
            argument = inner[1]
        annotation = inner[0]
    return annotation, argument


def _positional_names(kind: type[Options]) -> list[str]:
    hints = typing.get_type_hints(kind, include_extras=True)
    arguments = {field.name: _unwrapped(hints[field.name])[1] for field in dataclasses.fields(kind)}
    return [argument.metavar or name for name, argument in arguments.items() if argument.positional]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _with_new_names(words: Sequence[str], renamed: Mapping[str, str], prog: str) -> list[str]:
    """The command line with old spellings replaced, each with a line that says the new one."""
    found = []
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in renamed:
            print(f"{prog}: note: {flag} is now {renamed[flag]}", file=sys.stderr)
            word = f"{renamed[flag]}{equals}{value}"
        found.append(word)
    return found
