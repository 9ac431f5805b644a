"""What a recipe may not ask for at once: one function a constraint. It returns the error message, or None."""

from pipelines.recipe.constraints import data, networks, numerics, parallel, techniques
from pipelines.recipe.schema import Recipe

SUBJECTS = (networks, data, numerics, techniques, parallel)


def check(recipe: Recipe) -> None:
    """ValueError for the first constraint that the recipe violates."""
    for subject in SUBJECTS:
        for constraint in subject.CONSTRAINTS:
            if message := constraint(recipe):
                raise ValueError(message)
