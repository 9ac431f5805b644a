import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from pipelines import recipe
from pipelines.data.resident import Epoch
from pipelines.distributed.process_group import World
from pipelines.host.load import cpu_seconds
from pipelines.probes import loader_costs
from pipelines.probes.loader_costs import LoaderCosts
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


class DeviceEvent:
    """A CUDA event on a time line of the test's."""

    now = 0.0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self, stream):
        self.at = DeviceEvent.now

    def elapsed_time(self, end):
        return 1000 * (end.at - self.at)


def test_on_cuda_waiting_is_the_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "Event", DeviceEvent)
    monkeypatch.setattr(loader_costs, "drained", lambda state: (640, 0.5))
    costs = LoaderCosts(None)
    state = SimpleNamespace(world=World(0, 1, torch.device("cuda")), step=0, steps=4, notes={})
    costs.trial_start(state)
    for _ in range(2):
        costs.epoch_start(state)
        for wait in (0.25, 0.5):
            DeviceEvent.now += wait
            costs.batch_ready(state)
            DeviceEvent.now += 8.0  # the step
            costs.step_end(state)
            state.step += 1
        DeviceEvent.now += 4.0  # the evaluation
        costs.epoch_end(state)
    assert state.notes["loader_costs"]["waited_seconds"] == 1.5
    assert state.notes["loader_costs"]["images"] == 640
