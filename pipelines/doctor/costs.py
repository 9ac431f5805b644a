"""Where a step's time goes, and how long the whole training will take."""

import math
from dataclasses import dataclass

from pipelines.doctor.findings import Finding
from pipelines.doctor.short_trial import TEST_IMAGES, Observed
from pipelines.train import TrainingSetup


@dataclass(frozen=True)
class Costs:
    """Seconds, from the last epoch of a short trial."""

    data_per_step: float
    """drawing and augmenting a batch, as far as that is done before an epoch"""
    compute_per_step: float
    steps: int
    """of the whole training"""
    evaluations: float
    """of the whole training together"""
    loads_meanwhile: bool = False
    """the loader works while the network trains: what waits for it is in `compute_per_step`"""

    @property
    def training(self) -> float:
        """Seconds of the whole training, data included, evaluation not."""
        return self.steps * (self.data_per_step + self.compute_per_step)


def measure(setup: TrainingSetup, observed: Observed) -> Costs:
    """What the laps of the short trial say of the full one."""
    recipe, trial, images = setup.recipe, observed.trial, len(setup.dataset.train_labels)
    seconds = {(lap.name, lap.epoch): lap.seconds for lap in trial.laps}
    epoch = len(trial.epochs)
    timed = trial.steps - observed.steps if epoch > 1 else observed.steps
    steps = recipe.steps(images)
    rounds = math.ceil(steps / (recipe.steps_per_epoch(images) * recipe.evaluation.every))  # the last epoch has one
    tests = len(setup.dataset.test_labels)
    evaluated = (lap.seconds for lap in trial.laps if lap.name in ("evaluate", "final_evaluate"))
    return Costs(
        data_per_step=seconds["augment", epoch] / observed.steps,
        compute_per_step=seconds["train", epoch] / timed,
        steps=steps,
        evaluations=rounds * next(evaluated, 0.0) * tests / min(tests, TEST_IMAGES),
        loads_meanwhile=not recipe.loader.augments_epochs,
    )


def check_costs(costs: Costs) -> Finding:
    """A step should compute for longer than it waits for its data."""
    step = costs.data_per_step + costs.compute_per_step
    data = costs.data_per_step / step
    share = "loading included" if costs.loads_meanwhile else f"{data:.0%} of it for data"
    sentence = (
        f"a step takes {1000 * step:.3g} ms, {share}; {costs.steps:,} steps about "
        f"{costs.training:,.0f} s, evaluations about {costs.evaluations:,.0f} s"
    )
    return Finding("time", "suspicious" if data > 0.5 else "ok", sentence)
