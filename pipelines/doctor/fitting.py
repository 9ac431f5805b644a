"""Short trainings on the images that the network was fed: memorising a few, and a test of learning rates."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.doctor.findings import Finding
from pipelines.doctor.short_trial import Observed, in_place
from pipelines.losses import make_loss
from pipelines.optim.lr_scaling import scaling_factor
from pipelines.optim.optimizers import make_optimizer
from pipelines.optim.scheduled_optimizer import ScheduledOptimizer
from pipelines.recipe import Recipe
from pipelines.recipe.optimizers import AdamW
from pipelines.recipe.schedules import Constant
from pipelines.recipe.techniques import Techniques
from pipelines.train import TrainingSetup

MEMORISED = {1: 50, 4: 100, 100: 200}
"""images to be memorised, and the steps in which that must be done"""
MEMORISING_RATE = 2e-3
"""of Adam without weight decay, whatever the recipe's optimizer: here the network and the loss are on trial"""

SWEEP_STEPS = 100
SWEEP_BATCH = 32
SWEEP = (1e-3, 1e2)
"""factors on the recipe's rates between which the range test goes"""
SMOOTHING = 0.9
"""share of the old mean that stays at each step of the range test"""


@dataclass(frozen=True)
class Sweep:
    """A learning-rate range test (Smith 2017, "Cyclical learning rates"): every rate of the recipe times a factor that
    grows at each step."""

    rates: tuple[float, ...]
    """`optimizer.lr` at each step, as far as the loss was finite; the recipe's `scaling` comes on top"""
    losses: tuple[float, ...]
    """running mean of the training loss"""
    updates: dict[str, float]
    """norm of the update over norm of the weights, by parameter, at the recipe's own rate"""

    @property
    def best(self) -> int:
        """The step with the lowest loss."""
        return min(range(len(self.losses)), key=self.losses.__getitem__)

    @property
    def suggestion(self) -> float | None:
        """The rate at which the loss falls fastest in the logarithm of the rate, the usual reading of such a curve;
        None: the loss was no number from the first step on."""
        if not self.losses:
            return None
        gap = max(len(self.losses) // 20, 1)
        falls = {step: self.losses[step - gap] - self.losses[step] for step in range(gap, self.best + 1)}
        return self.rates[max(falls, key=falls.__getitem__) if falls else 0]

    @property
    def falls_apart(self) -> float | None:
        """The rate from which the loss is back where it started, or no number any more; None: never in this range."""
        beyond = range(self.best, len(self.losses))
        lost = next((step for step in beyond if self.losses[step] >= self.losses[0]), None)
        if lost is not None:
            return self.rates[lost]
        return self.rates[-1] if len(self.rates) < SWEEP_STEPS else None


def plain(recipe: Recipe, batch_size: int) -> Recipe:
    """The recipe at a constant rate, with batches of another size, without techniques and learning-rate scaling."""
    changes = {
        "batch_size": batch_size,
        "schedule": Constant(name="constant"),
        "scaling": None,
        "techniques": Techniques(),
    }
    return recipe.model_copy(update=changes)


def restart(setup: TrainingSetup, observed: Observed, recipe: Recipe) -> ScheduledOptimizer:
    """The network as the trial initialised it, and a new optimizer for it. One step of it may be repeated."""
    setup.network.load_state_dict(observed.start)
    setup.network.zero_grad(set_to_none=True)
    setup.network.train()
    return make_optimizer(setup.network, recipe, local_batch_size=recipe.batch_size, steps=1, steps_per_epoch=1)


def memorise(setup: TrainingSetup, observed: Observed, count: int) -> Finding:
    """Whether so many images, of as many classes as there are, can be learnt by heart."""
    limit = MEMORISED[count]
    check = f"memorise {count}"
    chosen = by_turns(observed.labels)[:count]
    images, labels = observed.images[chosen], observed.labels[chosen]
    optimizer = AdamW(name="adamw", lr=MEMORISING_RATE, weight_decay=0.0)
    loss_config = setup.recipe.loss.model_copy(update={"reduction": "mean"})
    recipe = plain(setup.recipe, len(labels)).model_copy(update={"optimizer": optimizer, "loss": loss_config})
    optimizer, loss_function = restart(setup, observed, recipe), make_loss(loss_config)
    share = 0.0
    for step in range(limit):
        logits = in_place(setup).forward(images)
        is_right = (logits.argmax(1) == labels) & logits.isfinite().all(1)  # argmax of NaN is 0
        share = is_right.float().mean().item()
        if share == 1:
            return Finding(check, "ok", f"100% after {step} step{'s' * (step != 1)} of Adam")
        optimizer.backward(loss_function(logits, labels))
        optimizer.step(0)
    sentence = f"only {share:.0%} after {limit} steps of Adam: network, loss and labels do not go together"
    return Finding(check, "broken", sentence)


def by_turns(labels: Tensor) -> Tensor:
    """Indices in an order in which the classes take turns."""
    order = labels.argsort(stable=True)
    sizes = labels.bincount()
    turn = torch.arange(len(labels), device=labels.device) - (sizes.cumsum(0) - sizes)[labels[order]]
    return order[turn.argsort(stable=True)]


def range_test(setup: TrainingSetup, observed: Observed) -> Sweep:
    """Train at a rate that grows from a thousandth to a hundred times the recipe's, until the loss is no number.

    Batches are of at most SWEEP_BATCH images, so that a hundred steps take seconds on a CPU: the rate that a larger
    batch bears is, if anything, higher.
    """
    recipe = plain(setup.recipe, min(setup.recipe.batch_size, SWEEP_BATCH, len(observed.labels)))
    optimizer, loss_function = restart(setup, observed, recipe), make_loss(recipe.loss)
    peak = peak_scaling(setup.recipe)
    groups = [(group, peak * group["base_lr"]) for inner in optimizer.optimizers for group in inner.param_groups]
    scale = recipe.batch_size if recipe.loss.reduction == "sum" else 1
    low, high = map(math.log, SWEEP)
    factors = [math.exp(low + (high - low) * step / (SWEEP_STEPS - 1)) for step in range(SWEEP_STEPS)]
    own = min(range(SWEEP_STEPS), key=lambda step: abs(math.log(factors[step])))
    rates: list[float] = []
    losses: list[float] = []
    updates: dict[str, float] = {}
    mean = 0.0
    for step, (factor, (images, labels)) in enumerate(
        zip(factors, repeated(observed, recipe.batch_size), strict=False)
    ):
        for group, rate in groups:
            group["base_lr"] = rate * factor
        loss = loss_function(in_place(setup).forward(images), labels)
        optimizer.backward(loss)
        value = loss.item() / scale
        if not math.isfinite(value):
            break
        before = weights(setup, optimizer) if step == own else {}
        optimizer.step(0)
        if step == own:
            after = weights(setup, optimizer)
            updates = {name: ((after[name] - old).norm() / old.norm()).item() for name, old in before.items()}
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        rates.append(recipe.optimizer.lr * factor)
        losses.append(mean / (1 - SMOOTHING ** (step + 1)))
    return Sweep(tuple(rates), tuple(losses), updates)


def peak_scaling(recipe: Recipe) -> float:
    """How many times `optimizer.lr` the recipe trains at after its warm-up, for its own batch size."""
    return scaling_factor(recipe.scaling, recipe.batch_size)(math.inf) if recipe.scaling else 1.0


def repeated(observed: Observed, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole batches of what the network was fed, again and again."""
    whole = len(observed.labels) // batch_size * batch_size
    while True:
        yield from zip(
            observed.images[:whole].split(batch_size), observed.labels[:whole].split(batch_size), strict=True
        )


def weights(setup: TrainingSetup, optimizer: ScheduledOptimizer) -> dict[str, Tensor]:
    """Copies of the trained matrices and filters in full precision, by name."""
    floating = [name for name, tensor in setup.network.state_dict().items() if tensor.is_floating_point()]
    full = dict(zip(floating, optimizer.master_tensors(setup.network), strict=True))
    return {
        name: full[name].detach().float().clone()
        for name, parameter in setup.network.named_parameters()
        if parameter.requires_grad and parameter.ndim > 1
    }


def check_rate(recipe: Recipe, sweep: Sweep) -> Finding:
    """Whether the recipe's rate lies where the range test says that it can train."""
    check, rate = "learning rate", recipe.optimizer.lr
    if not sweep.losses or sweep.losses[sweep.best] > 0.95 * sweep.losses[0]:
        return Finding(check, "broken", f"no rate up to {SWEEP[1] * rate:.2g} lowers the loss in {SWEEP_STEPS} steps")
    limit = sweep.falls_apart
    end = (
        f"the loss is back where it started from {limit:.2g} on" if limit else f"none up to {sweep.rates[-1]:.2g} fails"
    )
    read = f"optimizer.lr={rate:g}; the loss falls fastest at {sweep.suggestion:.2g}, {end}"
    if limit and rate >= limit:
        return Finding(check, "broken", f"far too high: {read}")
    if rate < sweep.suggestion / 100:
        return Finding(check, "suspicious", f"very low: {read}")
    return Finding(check, "ok", read)
