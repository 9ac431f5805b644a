"""Techniques: optional training behaviours that hook into a trial at its events (`pipelines/events.py`)."""

import importlib
from typing import Any

from pipelines.recipe import Recipe


def make_techniques(recipe: Recipe) -> list[Any]:
    """The techniques that the recipe lists, fresh for one trial: `ema` is the class `EMA` of techniques/ema.py."""
    chosen = [(name, getattr(recipe.techniques, name)) for name in type(recipe.techniques).model_fields]
    return [
        getattr(importlib.import_module(f"pipelines.techniques.{name}"), type(knobs).__name__)(knobs)
        for name, knobs in chosen
        if knobs is not None
    ]
