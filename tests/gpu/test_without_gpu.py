"""The helpers of the tests beside this file, where there is no GPU to run those."""

import pytest
import torch

from kernels.triton_import import triton
from pipelines.clock import Clock
from tests.gpu import kernel_checks
from tests.gpu.kernel_checks import LAYOUTS, TOLERANCE
from tests.gpu.smi import parse
from tests.gpu.trials import CPU, dataset_for, graph_breaks, graphs, in_bulk, no_waiting, relative_difference, train
from tests.gpu.workers import PLAIN, dataset, run_workers

needs_interpreter = pytest.mark.skipif(triton is None, reason="Triton is not installed")
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="Triton is not interpreted beside a GPU")


def test_a_trial_from_the_same_weights_is_the_same_trial():
    chosen = in_bulk("digits/quick", "epochs=2", "batch_size=64")
    one = train(chosen, dataset_for(chosen), CPU)
    other = train(chosen, dataset_for(chosen), CPU, one.start)
    assert one.losses == other.losses
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_trial_from_other_weights_is_another_trial():
    chosen = in_bulk("digits/quick", "epochs=1", "batch_size=64")
    one = train(chosen, dataset_for(chosen), CPU)
    changed = {name: tensor * 1.5 for name, tensor in one.start.items()}
    assert train(chosen, dataset_for(chosen), CPU, changed).losses != one.losses


def test_waiting_is_forbidden_within_the_named_laps_and_allowed_again_after_them():
    modes = []
    clock = Clock()
    with no_waiting(frozenset({"train"}), modes.append):
        with clock.lap("augment"):
            assert modes == []
        with clock.lap("train"):
            assert modes == ["error"]
        with pytest.raises(KeyError), clock.lap("train"):
            raise KeyError
    assert modes == ["error", "default"] * 2
    with clock.lap("train"):
        assert len(modes) == 4


def test_relative_difference():
    assert relative_difference(torch.tensor([3.0, 5.0]), torch.tensor([3.0, 4.0])) == pytest.approx(0.2)
    assert relative_difference(torch.zeros(2), torch.zeros(2)) == 0


def test_graphs_and_their_breaks_are_counted():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()

    def cut(values):
        torch._dynamo.graph_break()
        return values * 2

    compiled = torch.compile(lambda values: values + 1, backend="eager")
    compiled(torch.ones(2))
    assert (graphs(), graph_breaks()) == (1, {})
    compiled(torch.ones(2))
    assert graphs() == 1
    torch.compile(lambda values: cut(values + 1) + 1, backend="eager")(torch.ones(2))
    assert graphs() > 1
    assert graph_breaks()


def test_the_output_of_nvidia_smi():
    line = "GPU-0a1b, 580.95.05, 1980, 2619, 700.00\n"
    assert parse(line + "\n") == {
        "GPU-0a1b": {
            "uuid": "GPU-0a1b",
            "driver_version": "580.95.05",
            "clocks.max.sm": "1980",
            "clocks.max.memory": "2619",
            "enforced.power.limit": "700.00",
        }
    }


@needs_interpreter
@on_a_cpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_pooled", [False, True])
def test_the_check_of_ghost_norm(layout, is_pooled):
    arguments = ((10, 3, 4, 5), 4, "celu", torch.float32, layout, CPU)
    assert kernel_checks.norm(*arguments, is_pooled=is_pooled) < TOLERANCE[torch.float32]


@needs_interpreter
@on_a_cpu
def test_the_checks_of_the_other_kernels():
    assert kernel_checks.loss(20, 10, 0.2, torch.float16, CPU) < TOLERANCE[torch.float16]
    assert kernel_checks.gather(5, 2, torch.float32, CPU) == 0
    assert 0 < kernel_checks.gather(5, 2, torch.float32, CPU, side=24) < 1e-6
    assert kernel_checks.covariance(20, 2, CPU) < 1e-4


@needs_interpreter
@on_a_cpu
def test_a_kernel_that_is_wrong_is_seen(monkeypatch):
    from kernels import ghost_batch_norm

    fused = ghost_batch_norm.fused
    monkeypatch.setattr(ghost_batch_norm, "fused", lambda *arguments: fused(*arguments) * 1.01)
    arguments = ((10, 3, 4, 5), 4, "celu", torch.float32, torch.channels_last, CPU)
    assert kernel_checks.norm(*arguments, is_pooled=False) > TOLERANCE[torch.float32]


@pytest.mark.slow
def test_processes_on_one_device_train_as_one(tmp_path):
    alone = train(in_bulk("digits/quick", *PLAIN), dataset(), CPU)
    first, second = run_workers(tmp_path, "cpu", size=2)
    for name, weight in alone.weights.items():
        assert torch.equal(first[name], second[name])
        assert relative_difference(first[name], weight) < 1e-4
