"""YAML as recipes use it: numbers mean what they look like, no key stands twice, and no file is too much to read."""

import re
from collections.abc import Hashable
from pathlib import Path

import yaml

MOST_BYTES = 1_000_000
"""of a file; the recipes that ship have about a thousand"""
DEEPEST = 50
"""mappings and lists within one another; the recipes that ship have up to five"""


class YamlError(ValueError):
    """A text that is not the YAML of a recipe; the message names line and remedy."""


_STANDARD = "tag:yaml.org,2002:"
_TEXT = f"{_STANDARD}str"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, with the numbers of YAML 1.2. Keys are texts, each of which stands once.

    YAML 1.1, PyYAML's version, reads `1:04` and `0100` as 64, and `1e-3` as text.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag != _TEXT:
                kind = key_node.tag.rpartition(":")[2]
                raise YamlError(f"line {line}: a key is of the type {kind}, and keys are texts: write it in quotes")
            if key_node.value in lines:
                raise YamlError(f"{key_node.value!r} stands in line {lines[key_node.value]} and in line {line}")
            lines[key_node.value] = line
        return super().construct_mapping(node, deep)


_NUMBERS = {
    "int": r"[-+]?(0|[1-9][0-9_]*)$",
    "float": (
        r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$"
        r"|[-+]?[0-9]+[eE][-+]?[0-9]+$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
    ),
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in _NUMBERS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _name, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(f"{_STANDARD}{_name}", re.compile(_pattern), list("-+.0123456789"))


def read(text: str) -> object:
    """The value of a YAML text. YamlError where it is none, or has aliases, tags, duplicate keys, keys that
    are no texts, or too deep a nesting."""
    if len(text) > MOST_BYTES:
        raise YamlError(f"it has more than {MOST_BYTES:,} characters")
    try:
        _check(text)
        return yaml.load(text, _Loader)  # noqa: S506 (a safe loader, the C one)
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(" ".join(str(error).split())) from None


def read_file(path: Path) -> object:
    """The value of a YAML file, by `read`. ValueError, a line that names the file, where it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise YamlError(f"it has more than {MOST_BYTES:,} bytes")
        return read(content.decode("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    except YamlError as error:
        raise ValueError(f"{path}: is not YAML: {error}") from None


def _check(text: str) -> None:
    """Refuse, event by event, what would take long to build: aliases, which can stand for exponentially many values,
    and nesting, which is read by recursion; and tags, which make PyYAML read a value as what it is not."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1
            raise YamlError(f"line {line}: aliases such as *{event.anchor} are not read; write the value out")
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag:
            line, tag = event.start_mark.line + 1, event.tag.replace(_STANDARD, "!!")
            raise YamlError(f"line {line}: tags such as {tag} are not read; write the value alone")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            line = event.start_mark.line + 1
            raise YamlError(f"line {line}: more than {DEEPEST} mappings and lists within one another")
