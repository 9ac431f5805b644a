"""The bytes of real collectives between two processes."""

import contextlib
import importlib.util
import threading

import pytest
import torch
import torch.distributed as dist

from pipelines import recipe
from pipelines.distributed.process_group import World
from pipelines.probes import communication
from pipelines.train import set_up
from tests.pipelines.processes import in_processes
from tests.pipelines.strategies.test_model_parallel import enlarged

PIPELINE = "parallel.strategy=pipeline"
MICRO_BATCHES = ("accumulation=4", "drop_last=true")
HIDDEN = "model.hidden=12"
COLUMNS = ["model={name: alexnet, kernel_size: 3, stride: 1, hidden: 100}", "parallel.strategy=columns"]
STRATEGIES = {
    "ddp": [],
    "fp16": ["parallel.compression=fp16"],
    "power_sgd": ["parallel.compression=power_sgd", "parallel.power_sgd_rank=2"],
    "local_sgd": ["parallel.strategy=local_sgd", "parallel.local_sgd_start=50"],
    "fsdp2": ["parallel.strategy=fsdp2"],
    "fsdp2, mostly head": ["parallel.strategy=fsdp2", "model.widths=[4]"],
    "fsdp2, micro-batches": ["parallel.strategy=fsdp2", *MICRO_BATCHES],
    "GPipe": [PIPELINE, "parallel.schedule=gpipe", *MICRO_BATCHES],
    "1F1B": [PIPELINE, *MICRO_BATCHES],
    "interleaved": [
        "parallel={strategy: pipeline, schedule: interleaved, stages_per_process: 2}",
        HIDDEN,
        *MICRO_BATCHES,
    ],
    "model": ["parallel.strategy=model"],
    "tensor": ["parallel.strategy=tensor", HIDDEN],
    "tensor, one layer": ["parallel.strategy=tensor"],
    "tensor, autocast": ["parallel.strategy=tensor", HIDDEN, "precision=autocast"],
    "columns": COLUMNS,
    "alone": ["parallel.sync_gradients=false"],
}
MESHES = {
    "HSDP": ["parallel={strategy: fsdp2, size: 2}"],
    "HSDP, micro-batches": ["parallel={strategy: fsdp2, size: 2}", *MICRO_BATCHES],
    "pipeline": ["parallel={strategy: pipeline, size: 2}", *MICRO_BATCHES],
    "model": ["parallel={strategy: model, size: 2}"],
    "tensor": ["parallel={strategy: tensor, size: 2}", HIDDEN],
    "columns": [*COLUMNS, "parallel.size=2"],
}
"""on four processes"""
if importlib.util.find_spec("deepspeed") is not None:
    STRATEGIES |= {
        f"zero-{stage}": ["parallel.strategy=deepspeed", f"parallel.zero_stage={stage}"] for stage in range(4)
    }
OTHERWISE = {"zero-1": 3 / 2, "zero-2": 3 / 2, "zero-3": 2 / 3}
"""times the formula: between CPUs DeepSpeed 0.19.8 reduces gradients to all processes and gathers the weights after the
step; under stage 3 it keeps the weights of so small a network from the forward to the backward pass"""


def collectives(world):
    """What each of some operations on 10 numbers of 4 bytes counts."""
    numbers, other, share = torch.ones(10), torch.ones(10), torch.ones(5)
    operations = {
        "all_reduce": lambda: dist.all_reduce(numbers),
        "broadcast": lambda: dist.broadcast(numbers, 0),
        "all_gather": lambda: dist.all_gather([other.clone(), other.clone()], numbers),
        "all_gather_into_tensor": lambda: dist.all_gather_into_tensor(other, share),
        "reduce_scatter": lambda: dist.reduce_scatter_tensor(share, numbers),
        "send": lambda: dist.send(numbers, 1) if world.is_main else dist.recv(other, 0),
        "functional": lambda: (
            torch.distributed._functional_collectives.all_reduce(numbers, "sum", dist.group.WORLD) + 0
        ),
    }
    found = {}
    for name, operation in operations.items():
        with communication.BytesSent() as sent:
            operation()
        found[name] = sent.total
    return found


@pytest.mark.slow
def test_what_a_process_sends_in_each_collective(tmp_path):
    first, last = in_processes(tmp_path, collectives)
    assert first.pop("send") == 40
    assert last.pop("send") == 0
    assert (
        first
        == last
        == {
            "all_reduce": 40,
            "broadcast": 20,
            "all_gather": 40,
            "all_gather_into_tensor": 20,
            "reduce_scatter": 20,
            "functional": 40,
        }
    )


def reduce_under(mode):
    with mode:
        dist.all_reduce(torch.ones(10))


def reduced_in_a_thread(world):
    """What is counted of 10 numbers of 4 bytes that another thread sends: one that the mode does not see, such as
    gloo's, and one that it sees, such as autograd's for a GPU, to which it is passed on."""
    found = []
    for is_seen in (False, True):
        sent = communication.BytesSent()
        with sent.in_all_threads():
            thread = threading.Thread(target=reduce_under, args=(sent if is_seen else contextlib.nullcontext(),))
            thread.start()
            thread.join()
        found.append(sent.total)
    return found


def test_what_another_thread_sends_is_counted_once(tmp_path):
    assert in_processes(tmp_path, reduced_in_a_thread) == [[40, 40]] * 2


def measured(world, strategies, dataset):
    found = {}
    for name, overrides in strategies.items():
        widths = [] if name == "columns" else ["model.widths=[100,120]"]
        chosen = recipe.load("digits/quick", [*widths, "channels_last=false", *overrides])
        setup = set_up(chosen, enlarged(dataset) if name == "columns" else dataset, world)
        counted = communication.measure(setup, seed=0)
        found[name] = counted.bytes_per_step, counted.formula_bytes
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("size", "strategies"), [(2, STRATEGIES), (4, MESHES)])
def test_a_step_sends_what_the_formula_of_its_strategy_says(tmp_path, digits, size, strategies):
    found = in_processes(tmp_path, measured, strategies, digits, size=size)[0]
    for name, (counted, formula) in found.items():
        assert counted == pytest.approx(OTHERWISE.get(name, 1) * formula, rel=0.05, abs=8), name


@pytest.mark.parametrize("name", ["ddp", "pipeline", "tensor"])
def test_alone_a_process_sends_nothing(digits, name):
    chosen = recipe.load("digits/quick", [f"parallel.strategy={name}"])
    traffic = set_up(chosen, digits, World()).strategy.traffic
    assert (traffic.gradient_bytes, traffic.sent_bytes) == (4 * 21_386, 0)
