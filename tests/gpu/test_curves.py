"""A CPU and a GPU train the same, up to float32's rounding.

A maximum of two values that are almost the same picks another one after a change of 1e-6, and a gradient takes another
way. Weights may therefore differ by what such a change of the first weights does on the CPU.
"""

import pytest

from tests.gpu.trials import CPU, CUDA, dataset_for, in_bulk, nudge, relative_difference, train

pytestmark = pytest.mark.gpu

FLOAT32 = ["precision=float32", "epochs=2", "augment.crop=0", "compile=false"]
SMALL = [*FLOAT32, "batch_size=64", "evaluation.batch_size=64"]
DAVIDNET = [*SMALL, "model.norm.group_size=16", "optimizer.lr=0.02", "schedule={name: constant}"]
RECIPES = {
    "digits/quick": FLOAT32,
    "mnist/base": FLOAT32,
    "cifar10/davidnet-10": DAVIDNET,
    "cifar10/airbench94": [*SMALL, "optimizer.lr=0.02", "schedule={name: constant}"],
}


@pytest.mark.parametrize("kernels", ["reference", "auto"])
@pytest.mark.parametrize("name", RECIPES)
def test_loss_curves_are_those_of_the_cpu(name, kernels):
    chosen = in_bulk(name, *RECIPES[name], f"kernels={kernels}")
    dataset = dataset_for(chosen)
    cpu = train(chosen, dataset, CPU)
    nudged = train(chosen, dataset, CPU, nudge(cpu.start))
    cuda = train(chosen, dataset, CUDA, cpu.start)
    assert cuda.losses == pytest.approx(cpu.losses, rel=2e-3)
    for key, weight in cpu.weights.items():
        if weight.is_floating_point():
            chaos = relative_difference(nudged.weights[key], weight)
            assert relative_difference(cuda.weights[key], weight) < max(0.02, 5 * chaos), key


def test_muon_trains_as_on_the_cpu():
    """Its directions are computed in bfloat16, so that the weights agree less closely."""
    chosen = in_bulk("cifar10/airbench94-muon", *SMALL, "optimizer.lr=0.01", "optimizer.head_lr=10")
    dataset = dataset_for(chosen)
    cpu = train(chosen, dataset, CPU)
    cuda = train(chosen, dataset, CUDA, cpu.start)
    assert cuda.losses == pytest.approx(cpu.losses, rel=0.02)


def test_tf32_is_less_exact_than_float32():
    """On cards that have it. So the option does something."""
    outcomes = {}
    for precision in ("ieee", "tf32"):
        chosen = in_bulk("cifar10/davidnet-10", *DAVIDNET, f"float32_precision={precision}")
        dataset = dataset_for(chosen)
        cpu = train(chosen, dataset, CPU)
        outcomes[precision] = abs(train(chosen, dataset, CUDA, cpu.start).losses[0] - cpu.losses[0])
    import torch

    if torch.cuda.get_device_capability() >= (8, 0):
        assert outcomes["ieee"] < outcomes["tf32"]
