"""`run.json` of earlier schema versions, brought up to date as it is read. The files stay as they are."""

import re
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

TABLES = {
    "ladder": re.compile(r".+/ladder/[^/]+"),
    "loaders": re.compile(r".+/loaders/[^/]+"),
    "strategies": re.compile(r".+/engines/[^/]+|cifar10/(fsdp|deepspeed)/[^/]+"),
    "techniques": re.compile(r"mnist/(large-batch/)?[^/]+"),
}
"""the recipes whose runs shared a table before recipes said so, by their names"""


def _to_3(run: Json) -> Json:
    """Version 3 renamed fields and typed the environment, and recipes got their field `table`."""
    run = _renamed(run, {"sample": "smoke_test", "turns": "interleaved"})
    recipe = run.get("recipe")
    if not isinstance(recipe, dict):
        return run
    recipe = _renamed(recipe, {"trick": "change"})
    if isinstance(recipe.get("parallel"), dict):
        recipe["parallel"] = _renamed(recipe["parallel"], {"engine": "strategy", "exchange": "sync_gradients"})
    name = str(run.get("recipe_name"))
    recipe.setdefault("table", next((table for table, names in TABLES.items() if names.fullmatch(name)), None))
    return run | {"recipe": recipe}


def _renamed(values: Json, names: dict[str, str]) -> Json:
    return {names.get(key, key): value for key, value in values.items()}


UPGRADES: dict[int, Callable[[Json], Json]] = {1: dict, 2: _to_3, 3: dict}
"""By the version that they upgrade from. Versions 2 and 4 added fields that may be left out. Trials never changed."""
