"""The measurement of the all-reduce."""

import time
from dataclasses import dataclass, field

import pytest
import torch

from pipelines.distributed.all_reduce import REPEATS, SIZES, all_reduce_seconds
from pipelines.distributed.process_group import World
from tests.pipelines.processes import in_processes


@dataclass(frozen=True)
class Counting(World):
    """One of two processes, of which the other one takes 100 seconds longer."""

    sizes: list = field(default_factory=list)

    def sum(self, values):
        self.sizes.append(values.nbytes)
        return values

    def maximum(self, values):
        return values + 100

    def barrier(self):
        pass


def test_one_process_has_nothing_to_reduce():
    assert all_reduce_seconds(World()) == []


def test_each_size_is_reduced_once_to_connect_and_then_several_times():
    world = Counting(0, 2)
    measured = all_reduce_seconds(world)
    assert [size for size, _ in measured] == list(SIZES)
    assert world.sizes == [size for size in SIZES for _ in range(1 + REPEATS)]
    assert all(seconds >= 100 for _, seconds in measured), "as long as on the slowest process"


def measure(world):
    started = time.perf_counter()
    measured = all_reduce_seconds(world)
    return measured, time.perf_counter() - started, torch.get_num_threads()


@pytest.mark.slow
def test_two_processes_measure_the_same(tmp_path):
    (first, elapsed, _), (second, _, _) = in_processes(tmp_path, measure)
    assert first == second
    assert 0 < sum(seconds for _, seconds in first) < elapsed
