"""airbench94, 95, 96 and 96_faster (KellerJordan/cifar10-airbench, f1c599c), step by step against our recipes."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F

from pipelines import recipe
from results.fidelity import fidelity
from tests.fidelity import reference
from tests.fidelity.trajectory import follow, largest_difference

STEPS_PER_EPOCH, EPOCHS, BATCH = 3, 4, 64


@dataclass(frozen=True)
class Source:
    """The hyperparameters of a file, in its own units."""

    lr: float
    """for each 1,024 examples"""
    weight_decay: float
    warm_up: float
    """share of the steps"""
    end: float
    norm_momentum: float
    epochs: float
    depth: int = 2
    freezes: bool = True
    """the whitening bias after three epochs"""


SOURCES = {
    "cifar10/airbench94": Source(11.5, 0.0153, 0.23, 0.07, 1 - 0.6, 9.9),
    "cifar10/airbench95": Source(10.0, 0.0153, 0.23, 0.07, 1 - 0.6, 15),
    "cifar10/airbench96": Source(9.0, 0.012, 0.1, 0, 0.1, 37, depth=3),
    "cifar10/airbench96-faster": Source(9.0, 0.012, 0.1, 0, 0.1, 45, depth=3, freezes=False),
}
MOMENTUM, BIAS_SCALER, SMOOTHING = 0.85, 64, 0.2
KILOSTEP_SCALE = 1024 * (1 + 1 / (1 - MOMENTUM))


def small(name, source):
    """Overrides that keep the source's step for each example: 64 images a batch, 3 batches an epoch, thin layers."""
    chosen = recipe.load(name)
    steps = STEPS_PER_EPOCH * EPOCHS
    overrides = [
        f"batch_size={BATCH}",
        f"epochs={EPOCHS}",
        f"optimizer.lr={chosen.optimizer.lr * BATCH / 1024}",
        f"schedule.epochs=[0,{int(steps * source.warm_up) / STEPS_PER_EPOCH},{EPOCHS}]",
        "model.widths=[8,12,12]",
        "model.whitening.images=100",
    ]
    if chosen.techniques.batch_selection:
        overrides += [f"techniques.batch_selection.proxy.{one}" for one in ("widths=[6,8,8]", "whitening.images=100")]
    return overrides


class Optimizer:
    """The files' SGD: two groups, whose decay is decoupled from the rate."""

    def __init__(self, weights, source, frozen=()):
        self.lr = source.lr / KILOSTEP_SCALE
        self.decay = source.weight_decay * BATCH / KILOSTEP_SCALE
        self.names = reference.trained(weights, "whiten.weight", *frozen)
        self.buffers = {name: torch.zeros_like(weights[name]) for name in self.names}

    def step(self, weights, gradients, factor):
        for name, gradient in gradients.items():
            lr = self.lr * (BIAS_SCALER if "norms" in name else 1)
            reference.nesterov(weights[name], gradient, self.buffers[name], lr * factor, self.decay / lr, MOMENTUM)


def losses_of(logits, labels):
    return F.cross_entropy(logits, labels, label_smoothing=SMOOTHING, reduction="none")


def train(source, trajectory):
    """Rates and weights after each step, as the file has them."""
    weights, proxy = reference.cloned(trajectory.start), reference.cloned(trajectory.proxy_start)
    optimizer, slow = Optimizer(weights, source), reference.cloned(weights)
    proxy_optimizer = Optimizer(proxy, source) if proxy else None
    steps = len(trajectory.batches)
    factors = reference.triangle(steps, int(steps * source.warm_up), source.end)
    for step, ((images, labels), factor) in enumerate(zip(trajectory.batches, factors, strict=True)):
        if proxy_optimizer:
            proxy = reference.watched(proxy, proxy_optimizer.names)
            losses = losses_of(
                reference.airbench_network(proxy, images, momentum=source.norm_momentum, scale=1 / 9), labels
            )
            mask = torch.zeros(len(images), dtype=torch.bool)
            mask[losses.argsort()[-BATCH // 2 :]] = True
            gradients = reference.gradients((losses * mask).sum(), proxy, proxy_optimizer.names)
            proxy = reference.watched(proxy, [])
            if step % 4 == 0:
                proxy_optimizer.step(proxy, gradients, factor)
            images, labels = images[mask], labels[mask]
        is_frozen = source.freezes and step >= 3 * STEPS_PER_EPOCH
        names = [name for name in optimizer.names if not (is_frozen and name == "whiten.bias")]
        weights = reference.watched(weights, names)
        logits = reference.airbench_network(
            weights, images, momentum=source.norm_momentum, scale=1 / 9, depth=source.depth
        )
        gradients = reference.gradients(losses_of(logits, labels).sum(), weights, names)
        weights = reference.watched(weights, [])
        optimizer.step(weights, gradients, factor)
        done = step + 1
        if done % 5 == 0:
            reference.lookahead(slow, weights, 0.95**5 * (done / steps) ** 3)
        if done == steps:
            reference.lookahead(slow, weights, 1.0)
        yield factor * optimizer.lr, dict(weights)


def followed(name):
    """What a recipe did."""
    return follow(name, tuple(small(name, SOURCES[name])), STEPS_PER_EPOCH * BATCH + 9)


@pytest.mark.parametrize("name", SOURCES)
def test_weights_and_rates_are_those_of_the_source(name):
    statement, source, trajectory = fidelity(name), SOURCES[name], followed(name)
    assert len(trajectory.weights) == statement.steps
    for ours, rates, (rate, theirs) in zip(
        trajectory.weights, trajectory.rates, train(source, trajectory), strict=True
    ):
        assert rates["filter"] == pytest.approx(rate, rel=1e-12)
        assert rates["bias"] == pytest.approx(BIAS_SCALER * rate, rel=1e-12)
        assert largest_difference(ours, theirs) < statement.largest_difference


def test_the_proxy_chooses():
    """Without it the weights are others: what it does is seen by the comparison."""
    name = "cifar10/airbench96-faster"
    overrides = (one for one in small(name, SOURCES[name]) if "batch_selection" not in one)
    without = follow(name, (*overrides, "techniques.batch_selection=null"), STEPS_PER_EPOCH * BATCH + 9)
    assert largest_difference(followed(name).weights[-1], without.weights[-1]) > 1e-3
