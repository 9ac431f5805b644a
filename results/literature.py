"""Figures that others published, as data: `results/published/*.yaml`."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field

PUBLISHED = Path(__file__).parent / "published"

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
T = TypeVar("T", bound="Entry")


class Entry(BaseModel):
    """What a file says in one place: these fields, and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(Entry):
    """What a source says of a training. Compare it with ours only under the same protocol and on the same hardware."""

    recipe: str
    """our recipe of the same training; the source's own name, with a space in it, where we have none"""
    dataset: Literal["cifar10", "cifar100", "mnist"] = "cifar10"
    date: str | None = None
    """of the figure: a day, month or year"""
    target: Share | None = None
    """the accuracy that the time is to, where it is not our recipe's"""
    accuracy: Share | None = None
    """mean accuracy, as a fraction"""
    accuracy_std: Share | None = None
    """standard deviation of the accuracy of one run, as a fraction, where the source gives it"""
    seconds: Positive | None = None
    """by the source's own clock"""
    epochs: Positive | None = None
    petaflop: Positive | None = None
    """of the whole training, a backward pass taken as two forward passes"""
    hardware: str
    protocol: str | None
    """the protocol of ours that comes nearest to the source's clock; None: none does, or the source does not say"""
    runs: Annotated[int, Field(ge=1)] | None
    """how many are behind the accuracy; None: the source does not say"""
    source: str

    @property
    def is_ours(self) -> bool:
        """Whether there is a recipe of ours for it."""
        return " " not in self.recipe


class Anchor(Entry):
    """What a source says of scaling."""

    what: Literal["weak", "time to target"]
    """throughput at a fixed batch a process, or the time to a target"""
    training: str
    hardware: str
    base: Annotated[int, Field(ge=1)]
    """processes that it is held against"""
    processes: Annotated[int, Field(ge=2)]
    efficiency: Share
    source: str


class Rate(Entry):
    """What a source says of the speed of a training."""

    recipe: str
    """our recipe of the same network"""
    hardware: str
    gpus: Annotated[int, Field(ge=1)] = 1
    precision: str
    """as the source calls it"""
    per_second: Positive
    """images or tokens, over all GPUs"""
    batch: Annotated[int, Field(ge=1)] | None = None
    """images or sequences of an optimizer step, where the source gives its time"""
    step_ms: Positive | None = None
    mfu: Share | None = None
    """where the source gives it"""
    source: str


@cache
def rates() -> list[Rate]:
    """What is published of speed."""
    return read(Rate, "throughput/*.yaml")


@cache
def scaling_anchors() -> list[Anchor]:
    """What is published of scaling."""
    return read(Anchor, "scaling/*.yaml")


@cache
def published() -> dict[str, Published]:
    """Every published figure by the name of our recipe, or the source's."""
    entries = read(Published, "*.yaml")
    by_recipe = {entry.recipe: entry for entry in entries}
    assert len(by_recipe) == len(entries), "two figures for one recipe"
    return by_recipe


def read(kind: type[T], pattern: str) -> list[T]:
    """The entries of the files below `published/` that match, in their order."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(PUBLISHED.glob(pattern)))
    return [kind.model_validate(entry) for text in texts for entry in yaml.safe_load(text)]
