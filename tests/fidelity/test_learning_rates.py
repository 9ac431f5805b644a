"""Learning rate and weight decay of every step of the real trainings, in the units of the sources."""

from math import ceil

import pytest

from pipelines import models, recipe
from pipelines.optim.optimizers import make_optimizer
from tests.fidelity import reference

IMAGES, AIRBENCH_STEPS, DAVIDNET_STEPS = 50_000, 48, 97
KILOSTEP_SCALE = 1024 * (1 + 1 / (1 - 0.85))


def rates_and_decays(name):
    """For each step and role: learning rate, and what the decay takes off a weight of 1."""
    chosen = recipe.load(name, ["precision=float32"])
    network = models.build_network(chosen.model, (3, 32, 32), 10)
    steps = chosen.steps(IMAGES)
    per_epoch = chosen.steps_per_epoch(IMAGES)
    batch_size = chosen.batch_size
    optimizer = make_optimizer(network, chosen, local_batch_size=batch_size, steps=steps, steps_per_epoch=per_epoch)
    groups = [group for one in optimizer.optimizers for group in one.param_groups]
    found = []
    for step in range(steps):
        optimizer.step(step)
        found.append({group["role"]: (group["lr"], group["lr"] * group["weight_decay"]) for group in groups})
    return found


@pytest.mark.parametrize(
    ("name", "epochs", "warm_up", "end", "lr", "decay", "bias_scaler"),
    [
        ("cifar10/airbench94", 9.9, 0.23, 0.07, 11.5, 0.0153, 64),
        ("cifar10/airbench95", 15, 0.23, 0.07, 10.0, 0.0153, 64),
        ("cifar10/airbench96", 37, 0.1, 0, 9.0, 0.012, 64),
        ("cifar10/airbench96-faster", 45, 0.1, 0, 9.0, 0.012, 64),
        ("cifar10/ladder/40-airnet", 45, 0.2, 0, 10.0, 0.0153, 1),
        ("cifar10/ladder/41-airnet-whitening", 21, 0.2, 0, 10.0, 0.0153, 1),
        ("cifar10/ladder/42-airnet-dirac", 18, 0.2, 0, 10.0, 0.0153, 1),
        ("cifar10/ladder/43-airnet-fast-biases", 13.5, 0.2, 0, 10.0, 0.0153, 64),
        ("cifar10/ladder/44-airnet-freeze-bias", 13.5, 0.2, 0, 10.0, 0.0153, 64),
        ("cifar10/ladder/45-airnet-lookahead", 12, 0.23, 0.07, 11.5, 0.0153, 64),
        ("cifar10/ladder/46-airnet-crops", 10.8, 0.23, 0.07, 11.5, 0.0153, 64),
        ("cifar10/ladder/47-airnet-alternating-flip", 9.9, 0.23, 0.07, 11.5, 0.0153, 64),
    ],
)
def test_airbench(name, epochs, warm_up, end, lr, decay, bias_scaler):
    """KellerJordan/cifar10-airbench and its ablations in KellerJordan/cifar10-zoo, main0 to main7."""
    found = rates_and_decays(name)
    steps = ceil(AIRBENCH_STEPS * epochs)
    assert len(found) == steps
    for ours, factor in zip(found, reference.triangle(steps, int(steps * warm_up), end), strict=True):
        rate, taken = factor * lr / KILOSTEP_SCALE, factor * decay * 1024 / KILOSTEP_SCALE
        assert ours["filter"] == pytest.approx((rate, taken), rel=1e-9)
        assert ours["bias"][1] == pytest.approx(taken, rel=1e-9)
        # without the whitening layer, the first convolution has a bias that is no norm's
        assert ours["bias"][0] == pytest.approx(bias_scaler * rate, rel=1e-9)


@pytest.mark.parametrize("name", [f"cifar10/ladder/{number}" for number in ("40-airnet", "44-airnet-freeze-bias")])
def test_norms_of_the_first_ablations(name):
    assert recipe.load(name).model.norm.momentum == pytest.approx(1 - 0.9)


@pytest.mark.parametrize(
    ("name", "epochs", "knots", "peak", "floor"),
    [
        ("cifar10/davidnet-10", 10, (0, 2, 8), 1.0, 0.1),
        ("cifar10/ladder/20-davidnet-on-device", 24, (0, 5, 24), 0.4, 0),
        ("cifar10/ladder/21-pool-first", 25, (0, 5, 25), 0.4, 0),
        ("cifar10/ladder/22-label-smoothing", 23, (0, 23 / 5, 23), 0.4, 0),
        ("cifar10/ladder/23-celu", 20, (0, 20 / 5, 20), 0.4, 0),
        ("cifar10/ladder/24-ghost-batch-norm", 18, (0, 18 / 5, 18), 0.6, 0),
        ("cifar10/ladder/25-frozen-scales", 17, (0, 17 / 5, 17), 0.6, 0),
        ("cifar10/ladder/26-whitening", 15, (0, 15 / 5, 15), 0.6, 0),
        ("cifar10/ladder/27-higher-rate", 14, (0, 14 / 5, 14), 1.0, 0),
        ("cifar10/ladder/28-ema", 13, (0, 13 / 5, 11), 1.0, 0.1),
        ("cifar10/ladder/29-flip-tta", 13, (0, 13 / 5, 11), 1.0, 0.1),
        ("cifar10/ladder/30-ten-epochs", 10, (0, 10 / 5, 8), 1.0, 0.1),
    ],
)
def test_davidnet(name, epochs, knots, peak, floor):
    """davidcpage/cifar10-fast, bag_of_tricks.ipynb and new_dawn.py."""
    found = rates_and_decays(name)
    values = (0, peak, floor * peak)
    factors = reference.page(knots, values, epochs * DAVIDNET_STEPS, DAVIDNET_STEPS)
    for ours, factor in zip(found, factors, strict=True):
        assert ours["filter"] == pytest.approx((factor / 512, factor * 5e-4), rel=1e-9, abs=1e-15)
