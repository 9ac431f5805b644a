"""The typed recipe and its YAML files. Nothing here imports torch: listing recipes must be instant."""

from pipelines.recipe.files import RecipeError, load, names, select, smoke_test, title, validate
from pipelines.recipe.schema import Recipe

__all__ = ["Recipe", "RecipeError", "load", "names", "select", "smoke_test", "title", "validate"]
