"""The typed recipe and its YAML files. Nothing here imports torch: listing recipes must be instant."""

from pipelines.recipe.files import (
    RecipeError,
    load,
    load_any,
    names,
    select,
    smoke_test,
    title,
    validate,
    validate_any,
)
from pipelines.recipe.schema import Recipe
from pipelines.recipe.scripts import Function

__all__ = [
    "Function",
    "Recipe",
    "RecipeError",
    "load",
    "load_any",
    "names",
    "select",
    "smoke_test",
    "title",
    "validate",
    "validate_any",
]
