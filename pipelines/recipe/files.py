"""Recipes as YAML files: names, globs, `base:` inheritance, overrides from the command line, smoke tests.

A file says what it changes against the recipe that its `base:` names: mappings are merged key by key, anything else
is replaced, `null` switches off. The path of a base starts from the folder of the file.
"""

import copy
import fnmatch
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path

from pydantic import ValidationError

from pipelines.recipe import constraints, messages, yaml_reader
from pipelines.recipe.schema import RENAMED, Recipe, rename
from pipelines.recipe.scripts import Command, Function, Script, is_entry
from pipelines.recipe.training import Data

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
OWN = {"entry", "command"}
"""options that a training of the user's own has, and no recipe"""
NOT_RECIPES = {"launch", "suites"}
ONE_KIND = {"data", "arguments"}
"""groups whose options do not depend on their `name`: those of all data sets, and the arguments of one function"""
OPTIONS_OF_FUNCTION = {"target", "data", "title", "change", "source", "arguments"}
"""keys that an override of a function sets itself; any other is an argument of the function"""


class RecipeError(ValueError):
    """Something is wrong with a recipe that its author can mend; the message names file, key and value."""


def names() -> list[str]:
    """The names of all recipes that ship, e.g. `cifar10/davidnet-10`, sorted."""
    paths = (path.relative_to(CONFIGS) for path in CONFIGS.rglob("*.yaml"))
    return sorted(path.with_suffix("").as_posix() for path in paths if path.parts[0] not in NOT_RECIPES)


def select(patterns: Iterable[str]) -> list[str]:
    """Recipe names (or YAML files, or FILE.py:NAME) that the patterns stand for, each once, in the order given."""
    chosen: dict[str, None] = {}
    for pattern in patterns:
        is_path = pattern.endswith((".yaml", ".yml")) or is_entry(pattern)
        matches = [pattern] if is_path else [name for name in names() if _matches(name, pattern)]
        if not matches:
            raise _unknown(pattern)
        chosen.update(dict.fromkeys(matches))
    return list(chosen)


def load(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """The resolved recipe of a name or path, with `key.sub=value` overrides on top.

    Raises RecipeError for a missing or broken file, a cycle of bases, an unknown key or a value of the wrong type, and
    for a function of the user's own, which is no recipe.
    """
    if is_entry(name) or OWN & (settings := read(name, overrides)).keys():
        raise RecipeError(f"{name}: is a training of your own, not a recipe: this command needs a recipe")
    return validate(settings, name)


def load_any(name: str, overrides: Iterable[str] = ()) -> Recipe | Script:
    """A recipe, or a training of the user's own: `FILE.py:NAME`, or a YAML file with `entry:` or `command:`.

    Overrides of a function set its arguments, and its `target`, `data` and `title`. Raises as `load`.
    """
    settings: dict[str, object] = {"entry": name} if is_entry(name) else _inherit(name)
    if not OWN & settings.keys():
        return load(name, overrides)
    return load_own(settings, name, overrides)


def is_own(name: str) -> bool:
    """Whether a name or path is a training of the user's own, and no recipe. Raises as `load`."""
    return is_entry(name) or bool(OWN & _inherit(name).keys())


def load_own(settings: dict[str, object], name: str, overrides: Iterable[str] = ()) -> Script:
    """A training of the user's own from its settings, with overrides as `load_any` has them. Raises as `load`."""

    def change_of(override: str) -> dict[str, object]:
        change = _parse_override(override)
        (key,) = change
        is_own = key in OPTIONS_OF_FUNCTION or "command" in settings
        return current(change, override) if is_own else {"arguments": change}

    return validate_own(_changed(settings, map(change_of, overrides)), name)


def validate_any(settings: Mapping[str, object], name: str) -> Recipe | Script:
    """Settings of a record as what they are of. Raises as `validate`."""
    return validate_own(settings, name) if OWN & settings.keys() else validate(settings, name)


def validate_own(settings: Mapping[str, object], name: str) -> Script:
    """Settings as a function or a command of the user's own. Raises as `validate`."""
    if "target" not in settings:
        raise RecipeError(f"{name}: has no target; set the accuracy to reach, such as target=0.94")
    kind = Command if "command" in settings else Function
    try:
        return kind.model_validate_json(json.dumps(settings, default=str))
    except ValidationError as error:
        raise RecipeError(f"{name}: {messages.explain(error.errors(), kind)}") from None


def read(name: str, overrides: Iterable[str] = ()) -> dict[str, object]:
    """The merged settings of a recipe, before they are checked."""
    return _changed(_inherit(name), (current(_parse_override(override), override) for override in overrides))


def title(name: str) -> str:
    """A recipe's title: that of the nearest file of its line of bases, of which the rest is not read."""
    return next((str(settings["title"]) for settings in _lineage(name) if "title" in settings), "")


def validate(settings: Mapping[str, object], name: str) -> Recipe:
    """Settings as a Recipe. Raises RecipeError, a line that names everything that is wrong."""
    settings = current(settings, name)
    try:
        # strict types, but JSON's: a list is a tuple, and 10 will do where 10.0 is meant
        recipe = Recipe.model_validate_json(json.dumps(settings, default=str))
        constraints.check(recipe)
    except ValidationError as error:
        raise RecipeError(f"{name}: {messages.explain(error.errors(), Recipe)}") from None
    except ValueError as error:
        raise RecipeError(f"{name}: {error}") from None
    return recipe


def current(settings: Mapping[str, object], source: str) -> dict[str, object]:
    """A copy of the settings with today's names of the options. Warns of each old name. source: where they are from."""
    result = copy.deepcopy(dict(settings))
    for old, new in RENAMED.items():
        try:
            is_old = rename(result, old, new)
        except ValueError as error:
            raise RecipeError(f"{source}: {error}") from None
        if is_old:
            warnings.warn(f"{source}: the option {old} is now called {new}", FutureWarning, stacklevel=2)
    return result


def smoke_test(recipe: Recipe) -> Recipe:
    """The recipe on at most 128 images for two epochs: enough to see that it runs. Its accuracy means nothing.

    Images that are made up are also smaller and fewer, because networks for large images take long on a CPU. So are
    sequences of tokens.
    """
    if recipe.data.made_up:
        return _smoke_test_of_throughput(recipe)
    if recipe.data.tokens:
        return _smoke_test_of_tokens(recipe)
    data = recipe.data.model_copy(update={"limit": min(recipe.data.limit or 128, 128)})
    return _shortened(recipe, data, batch_size=32)


def _smoke_test_of_throughput(recipe: Recipe) -> Recipe:
    """Two epochs of one batch of 8 images, at most 64 pixels wide."""
    made_up = recipe.data.made_up
    assert made_up
    few = {"images": min(made_up.images, 8), "size": min(made_up.size, 64), "classes": min(made_up.classes, 10)}
    data = recipe.data.model_copy(update={"made_up": made_up.model_copy(update=few), "limit": few["images"]})
    return _shortened(recipe, data, batch_size=8)


def _smoke_test_of_tokens(recipe: Recipe) -> Recipe:
    """Two epochs of two batches of 2 sequences, at most 32 tokens long. The network is the recipe's."""
    tokens = recipe.data.tokens
    assert tokens
    few = {"sequences": min(tokens.sequences, 4), "length": min(tokens.length, 32)}
    return _shortened(recipe, recipe.data.model_copy(update={"tokens": tokens.model_copy(update=few)}), batch_size=2)


def _shortened(recipe: Recipe, data: Data, batch_size: int) -> Recipe:
    """The recipe on these data, for two epochs at most, in batches of at most this size."""
    batch_size = min(recipe.batch_size, batch_size)
    accumulation = math.gcd(recipe.accumulation, batch_size)
    shorter = {"data": data, "batch_size": batch_size, "accumulation": accumulation, "epochs": min(recipe.epochs, 2.0)}
    return recipe.model_copy(update=shorter)


def _path(name: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    path = _real(CONFIGS / f"{name}.yaml")
    if not path.is_relative_to(CONFIGS):
        raise RecipeError(
            f"{name!r} is not the name of a recipe: names stay inside {CONFIGS}; give a path ending in .yaml"
        )
    if not os.path.lexists(path):
        raise _unknown(name)
    return path


def _unknown(name: str) -> RecipeError:
    meant = messages.did_you_mean(name, names(), count=3, cutoff=0.5)
    return RecipeError(f"no recipe is called {name!r}{meant}; bench/recipes.py list shows them all")


def _real(path: Path) -> Path:
    """The path without symbolic links. A loop of links stays as it is: reading it raises an OSError."""
    return Path(os.path.realpath(path))


def _parse(path: Path) -> dict[str, object]:
    try:
        settings = yaml_reader.read_file(path)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    if not isinstance(settings, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of options to values, not a {type(settings).__name__}")
    return current(settings, str(path))


def _inherit(name: str) -> dict[str, object]:
    """What a recipe says, with what it has from its bases."""
    return reduce(_merge, reversed([*_lineage(name)]))


def _lineage(name: str, chain: Sequence[str] = ()) -> Iterator[dict[str, object]]:
    """What a recipe's file says, and then what each of its bases says, from the nearest one on."""
    path = _path(name)
    real = str(_real(path))
    if real in chain:
        raise RecipeError(f"{path}: `base:` goes round in a circle: {' → '.join([*chain, str(path)])}")
    settings = _parse(path)
    if isinstance(entry := settings.get("entry"), str):
        settings["entry"] = str(path.parent / entry)
    base = settings.pop("base", None)
    if not isinstance(base, str | None):
        raise RecipeError(f"{path}: base={base!r} must be the name of one recipe")
    yield settings
    if base is None:
        return
    if base.endswith((".yaml", ".yml")):
        base = str(path.parent / base)
    try:
        yield from _lineage(base, [*chain, real])
    except RecipeError as error:
        raise RecipeError(f"{path}: base={base}: {error}") if not chain else error from None


def _changed(settings: Mapping[str, object], changes: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """The settings with all changes on top. The changes are put together first, so that their order does not matter:
    an option of another optimizer may come before the name of that optimizer."""
    return _merge(settings, reduce(_together, changes, {}))


class _Anew(dict[str, object]):
    """The changes of a group that was first set to null: they start from nothing."""


def _together(first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
    """Both changes as one. Of two values of one option the second counts."""
    both = type(first)({**first, **second})
    for key in first.keys() & second.keys():
        old, new = first[key], second[key]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            both[key] = _together(old, new)
        elif old is None and isinstance(new, Mapping):
            both[key] = _Anew(new)
    return both


def _merge(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in changes.items():
        old = base.get(key)
        are_groups = isinstance(value, Mapping) and isinstance(old, Mapping) and not isinstance(value, _Anew)
        if are_groups and (key in ONE_KIND or _same_kind(value, old)):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(changes: Mapping[str, object], old: Mapping[str, object]) -> bool:
    """Whether both speak of one network, optimizer or schedule: another `name:` starts from nothing."""
    return changes.get("name", old.get("name")) == old.get("name")


def _parse_override(override: str) -> dict[str, object]:
    key, equals, text = override.partition("=")
    if not equals or not all(part.isidentifier() for part in key.split(".")):
        raise RecipeError(f"{override!r}: an override is written key=value or group.key=value, without spaces")
    try:
        value = yaml_reader.read(text)
    except yaml_reader.YamlError:
        raise RecipeError(f"{override!r}: {text!r} is not a YAML value") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _matches(name: str, pattern: str) -> bool:
    """Whether a name is what a pattern stands for; as in a shell, `*` stays within one folder."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))
