"""How near our recipes are to the sources that they name: statements as data, `results/published/fidelity/*.yaml`."""

from fnmatch import fnmatchcase
from functools import cache
from typing import Annotated, Literal

from pydantic import Field, model_validator

from results.literature import Entry, read


class Difference(Entry):
    """One thing that our recipe does in another way than its source."""

    what: str
    """what the source does, and what we do"""
    cost: str
    """what that makes in accuracy or time, or that it was not measured"""


class Fidelity(Entry):
    """What was compared with a source, how far they agree, and what differs."""

    recipes: tuple[str, ...]
    """names of recipes, or shell patterns of them"""
    source: str
    """repository, file and commit; or the paper"""
    compared: Literal["trajectory", "learning rates", "nothing"]
    """weights, statistics and learning rates at each step, from the same start and on the same batches; the learning
    rates of all steps; or nothing but what is written"""
    steps: Annotated[int, Field(ge=1)] | None = None
    """optimizer steps that the trajectories were compared over"""
    largest_difference: Annotated[float, Field(gt=0)] | None = None
    """no weight or statistic differs by more after any of these steps"""
    precision: Literal["float64", "float32"] | None = None
    """the number format of the comparison"""
    test: str | None = None
    """the test that holds it"""
    authors_file: str | None = None
    """what came of running the authors' own file beside ours, if that was done"""
    differs: tuple[Difference, ...] = ()

    @model_validator(mode="after")
    def _says_how_far(self) -> "Fidelity":
        given = {figure is not None for figure in (self.steps, self.largest_difference, self.precision)}
        if given != {self.compared == "trajectory"}:
            raise ValueError("a trajectory has steps, largest_difference and precision, and nothing else has")
        if (self.compared == "nothing") != (self.test is None):
            raise ValueError("what was compared is held by a test")
        return self

    @property
    def agreement(self) -> str:
        """How far the two agree, in a few words."""
        if self.compared == "trajectory":
            return f"{self.steps} steps to {self.largest_difference:.0e} in {self.precision}"
        return "learning rates of all steps" if self.compared == "learning rates" else "not compared"

    def lines(self) -> list[str]:
        """The statement as text."""
        by = f", held by {self.test}" if self.test else ""
        ran = [f"the authors' own file: {self.authors_file}"] if self.authors_file else []
        return [
            f"source: {self.source}",
            f"compared: {self.agreement}{by}",
            *ran,
            *(f"differs: {one.what} (cost: {one.cost})" for one in self.differs),
        ]


@cache
def statements() -> tuple[Fidelity, ...]:
    """All statements, in the order of the files."""
    return tuple(read(Fidelity, "fidelity/*.yaml"))


def fidelity(recipe: str) -> Fidelity | None:
    """The statement on a recipe: of several that match, the one that names it, else the first."""
    matching = [one for one in statements() if any(fnmatchcase(recipe, pattern) for pattern in one.recipes)]
    return next((one for one in matching if recipe in one.recipes), matching[0] if matching else None)
