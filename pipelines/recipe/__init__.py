"""The typed recipe and its YAML files. Nothing here imports torch: listing recipes must be instant."""

from pipelines.recipe.files import (
    RecipeError,
    is_own,
    load,
    load_any,
    load_own,
    names,
    select,
    smoke_test,
    title,
    validate,
    validate_any,
)
from pipelines.recipe.schema import Recipe
from pipelines.recipe.scripts import Command, Function, Script

__all__ = [
    "Command",
    "Function",
    "Recipe",
    "RecipeError",
    "Script",
    "is_own",
    "load",
    "load_any",
    "load_own",
    "names",
    "select",
    "smoke_test",
    "title",
    "validate",
    "validate_any",
]
