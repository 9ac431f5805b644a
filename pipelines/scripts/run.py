"""What a training of the user's own is given: its seed, its device, and a clock with named laps. Imports no torch."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, SupportsFloat

from pipelines.clock import Clock
from pipelines.trial import EpochResult

if TYPE_CHECKING:
    import torch

    from pipelines.data.dataset import Dataset

LAPS = (
    "load",
    "transfer",
    "preprocess",
    "build",
    "whiten",
    "pretrain",
    "compile",
    "augment",
    "train",
    "evaluate",
    "final_evaluate",
)
"""the laps that an author may use: protocols say which of them count"""


class ScriptError(ValueError):
    """A training of the user's own did what cannot be recorded. Its author can mend it."""


def changed(path: object) -> ScriptError:
    """The error of a run to resume, of which a file is not the one that it began with."""
    return ScriptError(
        f"{path}: has changed since this run began, or the run began in another folder: resume it there, or start a "
        "new run"
    )


def words_of(error: BaseException) -> str:
    """The first line of an error, with its kind unless it is a ScriptError."""
    text = str(error).strip().partition("\n")[0]
    return text if isinstance(error, ScriptError) else f"{type(error).__name__}: {text}".rstrip(": ")


@dataclass
class Run:
    """One trial of a function, as the function sees it.

    The training may read the public fields, must call `lap` around what it does, and should report each evaluation
    with `evaluated`.
    """

    seed: int
    """torch, numpy and random are seeded with it before the function is called"""
    device: "torch.device"
    """where to train; the clock synchronises with it at the start and end of each lap"""
    target: float
    """the accuracy to reach, as a fraction"""
    rank: int = 0
    """of this process, from 0"""
    world_size: int = 1
    """how many processes train together; their process group is ready"""
    smoke_test: bool = False
    """only to see that it works: train on a few images"""
    steps: int = 0
    """optimizer steps done; the function may count them"""
    samples: int = 0
    """training images seen by all processes; the function may count them"""
    notes: dict[str, Any] = field(default_factory=dict)
    """what the record should say of this trial; JSON values"""
    history: list[EpochResult] = field(default_factory=list)
    """what was reported to `evaluated`"""
    clock: Clock = field(default_factory=Clock, repr=False)
    load: "Callable[[], Dataset] | None" = field(default=None, repr=False)
    on_epoch: Callable[["Run"], None] = field(default=lambda run: None, repr=False)
    on_sign: Callable[[], None] = field(default=lambda: None, repr=False)
    """called when a lap begins or ends, and when an epoch is reported"""
    epoch_limit: int | None = field(default=None, repr=False)
    planned: int = 0
    """epochs that `epochs` gives; 0 before it was called"""
    _open: str | None = field(default=None, repr=False)
    _is_to_show: bool = field(default=False, repr=False)
    """whether an epoch was reported inside a lap"""

    @property
    def is_main(self) -> bool:
        """Whether this is the first process, which alone should print and write."""
        return self.rank == 0

    def lap(self, name: str, epoch: int | None = None) -> contextlib.AbstractContextManager[None]:
        """Time what happens inside `with run.lap(…):`, with the device synchronised at both ends.

        epoch: counted from 1; the time to target needs it of the `train` laps. ScriptError for a name that no protocol
        knows, and inside another lap.
        """
        if name not in LAPS:
            raise ScriptError(f"run.lap({name!r}): the laps are {', '.join(LAPS)}")
        epoch = None if epoch is None else whole_epoch(epoch, f"run.lap({name!r}, {epoch!r})")
        if self._open:
            raise ScriptError(
                f"run.lap({name!r}) while run.lap({self._open!r}) has not ended: write `with run.lap(…):`, and no lap "
                "inside another"
            )
        self._open = name
        self.on_sign()
        return _Lap(self, self.clock.lap(name, epoch))

    def epochs(self, count: int) -> Iterator[int]:
        """1, 2, … `count`; 1 alone in a smoke test. Lets the progress be shown."""
        self.planned = min(count, self.epoch_limit or count)
        yield from range(1, self.planned + 1)

    def evaluated(
        self,
        epoch: int,
        *,
        accuracy: SupportsFloat | None = None,
        loss: SupportsFloat | None = None,
        train_accuracy: SupportsFloat | None = None,
        **scores: SupportsFloat,
    ) -> None:
        """Report what was measured after an epoch, counted from 1. What is shown of it is shown outside the laps.

        accuracy: of the test set, as a fraction. loss: mean training loss. scores: other numbers, kept in the notes.
        ScriptError for an epoch that is no whole number or not after those before it, and for an accuracy outside
        [0, 1].
        """
        epoch = whole_epoch(epoch, f"run.evaluated({epoch!r})")
        last = self.history[-1].epoch if self.history else 0
        if epoch <= last:
            what = "twice" if epoch == last else f"after epoch {last}"
            raise ScriptError(f"run.evaluated({epoch}): epoch {epoch} is reported {what}; epochs rise")
        found = {"accuracy": accuracy, "train_accuracy": train_accuracy}
        fractions = {name: fraction(value, f"run.evaluated({epoch}, {name}=…)") for name, value in found.items()}
        self.history.append(EpochResult(epoch, None if loss is None else number(loss), **fractions))
        if scores:
            numbers = {name: number(score) for name, score in scores.items()}
            self.notes.setdefault("scores", []).append({"epoch": epoch, **numbers})
        self.on_sign()
        if self._open:
            self._is_to_show = True
        else:
            self.on_epoch(self)

    def dataset(self) -> "Dataset":
        """The data set that `data.name=…` names, in host memory. ScriptError where none is named.

        Each call makes a copy: a function may write into it, and the next trial begins with the same images.
        """
        if self.load is None:
            raise ScriptError("run.dataset(): no data set is named; set data.name=cifar10 on the command line")
        return copy.deepcopy(self.load())

    def check_ended(self) -> None:
        """ScriptError where a lap was begun and has not ended."""
        if self._open:
            raise ScriptError(f"run.lap({self._open!r}) was left open: write `with run.lap(…):`")


class _Lap:
    """A lap of a run. It stays open where it is not left, also where it is thrown away."""

    def __init__(self, run: Run, timed: contextlib.AbstractContextManager[None]) -> None:
        self._run, self._timed = run, timed

    def __enter__(self) -> None:
        self._timed.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._run._open = None
        self._run.on_sign()
        self._timed.__exit__(*error)
        if self._run._is_to_show:
            self._run._is_to_show = False
            self._run.on_epoch(self._run)


def fraction(value: SupportsFloat | None, what: str) -> float | None:
    """A number from 0 to 1, or NaN. ScriptError for anything else."""
    if value is None:
        return None
    try:
        found = number(value)
    except (TypeError, ValueError, RuntimeError):
        raise ScriptError(f"{what} is {value!r}: an accuracy is a number from 0 to 1") from None
    if not (math.isnan(found) or 0 <= found <= 1):
        raise ScriptError(f"{what} is {found:g}: an accuracy is a fraction from 0 to 1")
    return found


def number(value: SupportsFloat) -> float:
    """The value of a number, or of a tensor with one element, also of one that requires a gradient."""
    return float(value.detach() if hasattr(value, "detach") else value)


def whole_epoch(value: Any, what: str) -> int:
    """The number of an epoch. ScriptError for anything but a whole number from 1."""
    try:
        epoch = int(value)
        is_right = epoch == value and epoch >= 1
    except (TypeError, ValueError, OverflowError, RuntimeError):
        is_right = False
    if not is_right:
        raise ScriptError(f"{what}: an epoch is a whole number, counted from 1")
    return epoch


def without_nan(result: EpochResult) -> EpochResult:
    """An accuracy that is NaN is none: the record has no such accuracies."""
    values = {name: getattr(result, name) for name in ("accuracy", "train_accuracy")}
    lost = [name for name, value in values.items() if value is not None and math.isnan(value)]
    return replace(result, **dict.fromkeys(lost))


def divergence(accuracy: float | None, last: EpochResult | None) -> str | None:
    """Why a training counts as diverged, if it does.

    accuracy: at the end. last: the last epoch that was reported.
    """
    if accuracy is not None and math.isnan(accuracy):
        return "the accuracy at the end is NaN"
    if last and last.train_loss is not None and not math.isfinite(last.train_loss):
        return f"the training loss of epoch {last.epoch} is {last.train_loss}"
    return None
