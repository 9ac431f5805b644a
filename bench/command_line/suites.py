"""Suites: recipes and how many trials of each, as YAML files under `configs/suites/`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from pipelines.recipe import yaml_reader
from pipelines.recipe.files import CONFIGS

FOLDER = CONFIGS / "suites"


class Entry(BaseModel):
    """One recipe of a suite."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str = Field(min_length=1)
    trials: int = Field(ge=1)
    fail_on: tuple[str, ...] = ()
    """limits of the gate for this recipe, such as time:5% or accuracy:0.1; of a metric that the command line limits as
    well, this one counts"""

    @field_validator("fail_on")
    @classmethod
    def _are_rules(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        from results.rules import rules  # which imports numpy

        rules(texts)
        return texts


def names() -> list[str]:
    """The suites that ship."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> list[Entry]:
    """The suite of a name, or of a path to a YAML file. ValueError for one that is missing or wrong."""
    is_path = name.endswith((".yaml", ".yml"))
    if not is_path and name not in names():
        raise ValueError(f"no suite is called {name!r}: use one of {', '.join(names())}, or a path ending in .yaml")
    path = Path(name) if is_path else FOLDER / f"{name}.yaml"
    try:
        entries = TypeAdapter(list[Entry]).validate_python(yaml_reader.read_file(path))
    except ValidationError as error:
        what = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, what['loc']))}: {what['msg']}") from None
    repeated = {entry.recipe for entry in entries if [other.recipe for other in entries].count(entry.recipe) > 1}
    if repeated or not entries:
        raise ValueError(f"{path}: " + (f"names {min(repeated)} twice" if repeated else "names no recipe"))
    return entries
