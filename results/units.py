"""What a run trains on, so many of which a second are its rate: images, or tokens."""

from dataclasses import dataclass

from results.record import Run, TrialRecord


@dataclass(frozen=True)
class Unit:
    """What rates are counted in."""

    name: str
    """in the plural"""
    sample: str
    """what a batch consists of, in the plural"""
    per_sample: int = 1
    """units of a sample"""

    @property
    def rate(self) -> str:
        """Unit of a rate."""
        return f"{self.name}/s"

    @property
    def metric(self) -> str:
        """Name of the rate in `results.metrics.METRICS`."""
        return f"{self.name}-per-second"


IMAGES = Unit("images", "images")


def unit_of(run: Run) -> Unit:
    """By the data of the run's recipe. A recipe whose data has `tokens` trains on sequences of `tokens.length`."""
    tokens = run.options.data.tokens
    return Unit("tokens", "sequences", tokens.length) if tokens else IMAGES


def per_second(run: Run, trial: TrialRecord) -> float | None:
    """Images or tokens a second, over augmentation and training."""
    seconds = trial.seconds("augment", "train")
    return trial.samples * unit_of(run).per_sample / seconds if seconds and trial.samples else None
