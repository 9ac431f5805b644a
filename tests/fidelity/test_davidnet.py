"""DavidNet in ten epochs (davidcpage/cifar10-fast, f79e8b8, new_dawn.py), step by step against our recipe."""

import pytest
import torch
import torch.nn.functional as F

from results.fidelity import fidelity
from tests.fidelity import reference
from tests.fidelity.trajectory import follow, largest_difference

NAME = "cifar10/davidnet-10"
STEPS_PER_EPOCH, EPOCHS, BATCH = 7, 2, 64
KNOTS, VALUES = (0, 0.4, 1.6), (0, 1.0, 0.1)
SMALL = (
    f"batch_size={BATCH}",
    f"epochs={EPOCHS}",
    f"schedule.epochs={list(KNOTS)}",
    "model.widths=[6,6,8,8]",
    "model.whitening.images=100",
)
EMA_EVERY, EMA_SHARE = 5, 0.99**5


def train(trajectory):
    """Rate, weights and average after each step. The loss is summed; the rate is for each image."""
    weights = reference.cloned(trajectory.start)
    average = reference.cloned(weights)
    names = reference.trained(weights, "whiten.weight")
    buffers = {name: torch.zeros_like(weights[name]) for name in names}
    factors = reference.page(KNOTS, VALUES, len(trajectory.batches), STEPS_PER_EPOCH)
    for step, ((images, labels), factor) in enumerate(zip(trajectory.batches, factors, strict=True)):
        weights = reference.watched(weights, names)
        log_probabilities = reference.davidnet(weights, images, group_size=32).log_softmax(1)
        losses = 0.8 * F.nll_loss(log_probabilities, labels, reduction="none") - 0.2 * log_probabilities.mean(1)
        gradients = reference.gradients(losses.sum(), weights, names)
        weights = reference.watched(weights, [])
        for name, gradient in gradients.items():
            scale = 64 if "bias" in name else 1
            reference.nesterov_inside(
                weights[name], gradient, buffers[name], scale * factor / BATCH, 5e-4 * BATCH / scale, 0.9
            )
        if step % STEPS_PER_EPOCH % EMA_EVERY == 0:  # the file makes a new counter in each epoch
            for name, tensor in weights.items():
                average[name] = EMA_SHARE * average[name] + (1 - EMA_SHARE) * tensor
        yield factor / BATCH, reference.cloned(weights), reference.cloned(average)


@pytest.fixture(scope="module")
def both():
    """Our trajectory, and the file's steps."""
    trajectory = follow(NAME, SMALL, STEPS_PER_EPOCH * BATCH + 9)
    return trajectory, list(train(trajectory))


def test_weights_and_rates_are_those_of_the_source(both):
    trajectory, steps = both
    statement = fidelity(NAME)
    assert len(trajectory.weights) == len(steps) == statement.steps
    for ours, rates, (rate, theirs, _) in zip(trajectory.weights, trajectory.rates, steps, strict=True):
        assert rates["filter"] == pytest.approx(rate, rel=1e-12)
        assert rates["bias"] == pytest.approx(64 * rate, rel=1e-12)
        assert largest_difference(ours, theirs) < statement.largest_difference


def test_what_is_evaluated_is_the_average_of_the_source(both):
    """Ours is kept in float32, and the statistics of the norms with it."""
    trajectory, steps = both
    for epoch, ours in enumerate(trajectory.evaluated, start=1):
        _, trained, average = steps[epoch * STEPS_PER_EPOCH - 1]
        assert largest_difference(ours, average) < 2e-6
        assert largest_difference(ours, trained) > 1e-3
