import subprocess
import sys
import time

import pytest
import torch

from pipelines import recipe
from pipelines.data.resident import Epoch
from pipelines.distributed.process_group import World
from pipelines.probes.loader_costs import cpu_seconds
from pipelines.train import run_trial, set_up

SPINNING = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ntime.sleep(60)"


def trial_of(digits, *overrides):
    setup = set_up(recipe.load("digits/quick", ["epochs=1.5", *overrides]), digits, World())
    trial = run_trial(setup, seed=0)
    return trial, {name: tensor.clone() for name, tensor in setup.network.state_dict().items()}


def test_it_notes_what_the_loader_costs_and_changes_nothing(digits):
    trial, weights = trial_of(digits, "techniques.loader_costs={}")
    without, same_weights = trial_of(digits)
    noted = trial.notes["loader_costs"]
    assert noted["images"] == 22 * 64  # an epoch's whole batches of the 1,437 images
    assert noted["seconds"] > 0
    assert noted["cpu_seconds"] > 0
    assert 0 < noted["waited_seconds"] < sum(lap.seconds for lap in trial.laps if lap.name in ("augment", "train"))
    assert "loader_costs" not in without.notes
    assert all(torch.equal(weights[name], same_weights[name]) for name in weights)
    assert [(lap.name, lap.epoch) for lap in trial.laps] == [(lap.name, lap.epoch) for lap in without.laps]


def test_waiting_is_the_time_from_a_step_to_the_next_batch(digits, monkeypatch):
    pause = 0.02
    fast = Epoch.__iter__

    def slow(self):
        for batch in fast(self):
            time.sleep(pause)
            yield batch

    monkeypatch.setattr(Epoch, "__iter__", slow)
    trial, _ = trial_of(digits, "techniques.loader_costs={}")
    noted = trial.notes["loader_costs"]
    assert noted["waited_seconds"] >= pause * trial.steps
    assert noted["seconds"] >= pause * trial.steps / 1.5


@pytest.mark.parametrize("is_alive", [True, False])
def test_cpu_time_counts_the_processes_below(is_alive):
    before = cpu_seconds()
    child = subprocess.Popen([sys.executable, "-c", SPINNING], stdout=subprocess.PIPE)
    child.stdout.readline()
    if not is_alive:
        child.kill()
        child.wait()
    spent = cpu_seconds() - before
    child.kill()
    child.wait()
    child.stdout.close()
    assert spent >= 0.25
