"""Short trainings on the images that the network was fed: memorising a few, and a test of learning rates.

A check that fails is repeated under other conditions before it says `broken`: memorising at other rates of Adam, the
range test as a training at the recipe's constant rate.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from pipelines.doctor.findings import Finding
from pipelines.doctor.short_trial import Observed, in_place
from pipelines.doctor.weights import relative, trained_weights
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
MEMORISING_RATES = (2e-3, 2e-2, 2e-4)
"""of Adam without weight decay, whatever the recipe's optimizer: here the network and the loss are on trial. The first
does for most networks, the others follow where it does not"""
LEARNT = 0.5
"""share of the images from which on a network that does not memorise them all is not broken, but slow, small or
regularised"""

AWAKE_STEPS = 10
"""steps within which every layer must get a gradient: each step lets those of one more zero through"""

SWEEP_STEPS = 100
SWEEP_BATCH = 32
SWEEP = (1e-3, 1e2)
"""factors on the recipe's rates between which the range test goes"""
SMOOTHING = 0.9
"""share of the old mean that stays at each step of the range test"""
LOST = 2.0
"""how many times the first loss ends the range test, once it is past the recipe's own rate"""

HELD_BATCH = 256
HELD_STEPS = 50
HELD_TIMES = 4
"""a training at a constant rate goes on for so many times so many steps, unless it has helped before"""
HELD_RAMP = 20
"""of these, steps in which the rate rises to it in a straight line"""
CLEAR = 3.0
"""standard errors by which a loss must fall to count as lower"""


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
    check, limit, best = f"memorise {count}", MEMORISED[count], 0.0
    for rate in MEMORISING_RATES:
        if best > LEARNT and rate < MEMORISING_RATES[0]:
            break  # a lower rate helps a training that breaks down, not one that is slow
        share, steps = _memorised(setup, observed, count, rate)
        if share == 1:
            at = "" if rate == MEMORISING_RATES[0] else f" at {rate:g}"
            return Finding(check, "ok", f"100% after {steps} step{'s' * (steps != 1)} of Adam{at}")
        best = max(best, share)
    read = f"only {best:.0%} after {limit} steps of Adam, whatever its rate"
    if best > LEARNT:
        return Finding(check, "suspicious", f"{read}: the network is small, slow or strongly regularised")
    return Finding(check, "broken", f"{read}: network, loss and labels do not go together")


def _memorised(setup: TrainingSetup, observed: Observed, count: int, rate: float) -> tuple[float, int]:
    """The largest share of the images that was right at a step, and the steps until then."""
    images, labels = few(observed, count)
    optimizer, loss_function = adam(setup, observed, len(labels), rate)
    best = (0.0, 0)
    for step in range(MEMORISED[count] + 1):
        logits = in_place(setup).forward(images)
        is_right = (logits.argmax(1) == labels) & logits.isfinite().all(1)  # argmax of NaN is 0
        best = max(best, (is_right.float().mean().item(), step), key=lambda one: one[0])
        loss = loss_function(logits, labels)
        if best[0] == 1 or step == MEMORISED[count] or not loss.isfinite():
            break
        optimizer.backward(loss)
        optimizer.step(0)
    return best


def few(observed: Observed, count: int) -> tuple[Tensor, Tensor]:
    """So many images that were fed, classes by turns, and their labels. One alone comes twice: batch norm of features
    without height and width has no variance of one."""
    chosen = by_turns(observed.labels)[:count]
    chosen = chosen.repeat(2) if len(chosen) == 1 else chosen
    return observed.images[chosen], observed.labels[chosen]


def adam(
    setup: TrainingSetup, observed: Observed, batch_size: int, rate: float
) -> tuple[ScheduledOptimizer, Callable[[Tensor, Tensor], Tensor]]:
    """The network as the trial initialised it, with an Adam and the mean of the recipe's loss."""
    loss = setup.recipe.loss.model_copy(update={"reduction": "mean"})
    changes = {"optimizer": AdamW(name="adamw", lr=rate, weight_decay=0.0), "loss": loss}
    recipe = plain(setup.recipe, batch_size).model_copy(update=changes)
    return restart(setup, observed, recipe), make_loss(loss)


def first_gradients(setup: TrainingSetup, observed: Observed, names: Collection[str]) -> dict[str, int]:
    """Steps of Adam after which each of these parameters has a gradient other than zero. One that gets none in
    AWAKE_STEPS is missing. Leaves the network trained by a step or more."""
    images, labels = few(observed, max(MEMORISED))
    optimizer, loss_function = adam(setup, observed, len(labels), MEMORISING_RATES[0])
    parameters = dict(setup.network.named_parameters())
    found: dict[str, int] = {}
    for step in range(AWAKE_STEPS):
        optimizer.backward(loss_function(in_place(setup).forward(images), labels))
        for name in names:
            gradient = parameters[name].grad
            if name not in found and gradient is not None and gradient.any():
                found[name] = step
        optimizer.step(0)
        if len(found) == len(names):
            break
    return found


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
            updates = {name: relative(after[name] - old, old) for name, old in before.items()}
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        rates.append(recipe.optimizer.lr * factor)
        losses.append(mean / (1 - SMOOTHING ** (step + 1)))
        if step > own and losses[-1] > LOST * losses[0]:
            break
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
    return {name: full[name].detach().float().clone() for name in trained_weights(setup)}


@dataclass(frozen=True)
class Held:
    """What a training at a constant rate did to the loss of some of its images."""

    steps: int
    before: float
    after: float
    has_learnt: bool
    """the loss is clearly lower than before, and than that of the class frequencies"""


def hold(setup: TrainingSetup, observed: Observed) -> Held:
    """Train at the recipe's rate, constant after a short ramp, with its batch size up to HELD_BATCH, until that has
    clearly helped or made it far worse."""
    recipe = plain(setup.recipe, min(setup.recipe.batch_size, HELD_BATCH, len(observed.labels)))
    optimizer, loss_function = restart(setup, observed, recipe), make_loss(recipe.loss)
    images, labels = few(observed, max(MEMORISED))
    frequencies = labels.bincount(minlength=len(setup.dataset.class_names)) / len(labels)
    guess = _losses(frequencies.log().clamp(min=-1e4).expand(len(labels), -1), labels)
    before = _losses(in_place(setup).forward(images).detach(), labels)
    optimizer.scale_rates(peak_scaling(setup.recipe) / HELD_RAMP)
    for step, batch in enumerate(repeated(observed, recipe.batch_size), start=1):
        optimizer.backward(loss_function(in_place(setup).forward(batch[0]), batch[1]))
        optimizer.step(0)
        if step < HELD_RAMP:
            optimizer.scale_rates((step + 1) / step)
        if step % HELD_STEPS == 0:
            after = _losses(in_place(setup).forward(images).detach(), labels)
            has_learnt = _is_lower(after, before) and _is_lower(after, guess)
            found = Held(step, before.mean().item(), after.mean().item(), has_learnt)
            if has_learnt or step == HELD_TIMES * HELD_STEPS or not found.after < LOST * found.before:
                break
    return found


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) cross-entropy of each image."""
    return F.cross_entropy(logits.float(), labels, reduction="none")


def _is_lower(losses: Tensor, others: Tensor) -> bool:
    """Whether losses of images are lower in the mean than others of the same images, by CLEAR standard errors."""
    gains = others - losses
    return bool(gains.isfinite().all() and gains.mean() > CLEAR * gains.std() / math.sqrt(len(gains)))


def check_rate(recipe: Recipe, sweep: Sweep, held: Callable[[], Held]) -> Finding:
    """Whether the recipe's rate lies where the range test says that it can train.

    held: a training at the recipe's constant rate, which decides where the range test finds something broken. That has
    small batches and few steps at each rate: a larger batch may bear more, and a small network need longer.
    """
    check, rate = "learning rate", recipe.optimizer.lr
    if not sweep.losses or sweep.losses[sweep.best] > 0.95 * sweep.losses[0]:
        read = f"no rate up to {SWEEP[1] * rate:.2g} lowers the loss in {SWEEP_STEPS} steps"
    else:
        limit = sweep.falls_apart
        lost = f"the loss is back where it started from {limit:.2g} on" if limit else ""
        end = lost or f"none up to {sweep.rates[-1]:.2g} fails"
        read = f"optimizer.lr={rate:g}; the loss falls fastest at {sweep.suggestion:.2g}, {end}"
        if not limit or rate < limit:
            is_low = rate < sweep.suggestion / 100
            return Finding(check, "suspicious" if is_low else "ok", f"very low: {read}" if is_low else read)
        read = f"far too high: {read}"
    own = held()
    if own.has_learnt:
        fall = f"{own.before:.3g} to {own.after:.3g} in {own.steps} steps"
        return Finding(check, "ok", f"optimizer.lr={rate:g} lowers the loss from {fall}; the range test is too short")
    return Finding(check, "broken", read)
