"""Techniques: optional training behaviours that hook into a trial at its events (`pipelines/events.py`)."""

from importlib import import_module
from typing import Any

from pipelines.recipe import Recipe


def make_techniques(recipe: Recipe) -> list[Any]:
    """The techniques and probes that the recipe lists, new for each trial.

    The technique `ema` is the class of `pipelines/techniques/ema.py` that is called like its configuration, `EMA`.
    """
    return [
        getattr(import_module(f"{config.package}.{name}"), type(config).__name__)(config)
        for name, config in recipe.techniques.chosen().items()
    ]
