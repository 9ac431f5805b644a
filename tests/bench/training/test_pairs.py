"""Pairs of trials over a cluster: a pair that fails ends the others."""

import pytest

from bench.command_line.jobs import Job
from bench.training import pairs
from bench.training.launch import LaunchError
from bench.training.tasks import Failure, TrialTask
from pipelines import recipe


class FakeCluster:
    """Every pair fails."""

    is_left = False

    def train(self, tasks):
        try:
            for task in tasks:
                yield task, Failure(2, "it broke")
        finally:
            self.is_left = True


def test_a_pair_that_fails_ends_the_others(tmp_path):
    cluster = FakeCluster()
    checkouts = (tmp_path / "a", tmp_path / "b")
    tasks = [pairs.PairTask(TrialTask(("digits/quick",), seed, tmp_path), checkouts) for seed in range(2)]
    job = Job("digits/quick", recipe.load("digits/quick"), (0, 1))
    with pytest.raises(LaunchError, match="digits/quick: seed 0: it broke"):
        pairs.train(cluster, job, tasks, checkouts, ["bench/gate.py"], print)
    assert cluster.is_left
