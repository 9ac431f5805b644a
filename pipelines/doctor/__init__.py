"""What a careful person checks before a long training (after Karpathy, "A recipe for training neural networks", 2019).

A check is a pure function of the recipe, its network and data, and what a short trial of them showed; it gives a
verdict (ok, suspicious, broken) and a sentence.
"""

from dataclasses import dataclass
from functools import partial

from pipelines.doctor import checks, fitting
from pipelines.doctor.costs import Costs, check_costs, measure
from pipelines.doctor.findings import Finding, Verdict, worst
from pipelines.doctor.fitting import Sweep
from pipelines.doctor.functions import FunctionExamination, examine_function
from pipelines.doctor.short_trial import Observed, observe
from pipelines.doctor.weights import trained_weights
from pipelines.train import TrainingSetup

__all__ = [
    "Costs",
    "Examination",
    "Finding",
    "FunctionExamination",
    "Layer",
    "Observed",
    "Sweep",
    "Verdict",
    "examine",
    "examine_function",
    "worst",
]


@dataclass(frozen=True)
class Layer:
    """One trained matrix or filter."""

    name: str
    gradient: float
    """norm of the first step's gradient over the norm of the weights"""
    update: float | None
    """norm of a step's update at the recipe's rate over the norm of the weights; None: not measured"""


@dataclass(frozen=True)
class Examination:
    """All that was found and measured."""

    findings: tuple[Finding, ...]
    layers: tuple[Layer, ...]
    sweep: Sweep
    observed: Observed
    costs: Costs


def examine(setup: TrainingSetup) -> Examination:
    """Run every check. Trains the network of `setup` for a few hundred small steps and leaves it in any state."""
    observed = observe(setup)
    setup.network.load_state_dict(observed.start)
    looked_at = [
        check(setup, observed)
        for check in (
            checks.check_pixels,
            checks.check_labels,
            checks.check_initial_loss,
            checks.check_logits,
            checks.check_modes,
            checks.check_gradients,
        )
    ]
    memorised = [fitting.memorise(setup, observed, count) for count in fitting.MEMORISED]
    sweep = fitting.range_test(setup, observed)
    costs = measure(setup, observed)
    gradients = checks.relative_gradients(observed)
    layers = tuple(Layer(name, gradients.get(name, 0.0), sweep.updates.get(name)) for name in trained_weights(setup))
    held = partial(fitting.hold, setup, observed)
    trained = [fitting.check_rate(setup.recipe, sweep, held), checks.check_updates(sweep.updates)]
    return Examination((*looked_at, *memorised, *trained, check_costs(costs)), layers, sweep, observed, costs)
