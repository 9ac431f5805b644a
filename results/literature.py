"""Figures that others published, as data: `results/published/*.yaml`."""

from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

PUBLISHED = Path(__file__).parent / "published"


class Published(BaseModel):
    """What a source says of a training. Compare it with ours only under the same protocol and on the same hardware."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    """our recipe of the same training"""
    accuracy: Annotated[float, Field(gt=0, lt=1)]
    """mean accuracy, as a fraction"""
    seconds: Annotated[float, Field(gt=0)]
    """by the source's own clock"""
    epochs: Annotated[float, Field(gt=0)]
    petaflop: Annotated[float, Field(gt=0)] | None = None
    """of the whole training, a backward pass taken as two forward passes"""
    hardware: str
    protocol: str
    """the protocol of ours that comes nearest to the source's clock"""
    runs: Annotated[int, Field(ge=1)] | None
    """how many are behind the accuracy; None: the source does not say"""
    source: str


@cache
def published() -> dict[str, Published]:
    """Every published figure by the name of our recipe."""
    entries = [
        Published.model_validate(entry)
        for path in sorted(PUBLISHED.glob("*.yaml"))
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    by_recipe = {entry.recipe: entry for entry in entries}
    assert len(by_recipe) == len(entries), "two figures for one recipe"
    return by_recipe
