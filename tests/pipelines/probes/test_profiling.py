import importlib.util
import json
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

from bench.training.profiles import energy_line, phases_table, write
from pipelines.distributed.process_group import World
from pipelines.probes.profiling import STEPS, busy_share, covered, profile_training
from pipelines.recipe import load
from pipelines.train import run_trial, set_up
from tests.pipelines.processes import in_processes


@pytest.fixture(scope="module")
def setup(digits):
    return set_up(load("digits/quick", ["model.widths=[4]", "epochs=4"]), digits, World())


@pytest.fixture(scope="module")
def profile(setup):
    return profile_training(setup, seed=0)


def test_it_is_a_few_steps_and_one_evaluation(setup, profile):
    assert profile.steps == STEPS < setup.recipe.steps(len(setup.dataset.train_images))
    assert set(profile.phases) == {"augment", "forward", "backward", "optimizer", "other", "evaluate"}
    assert all(seconds > 0 for seconds in profile.phases.values())


def test_the_trace_names_the_phases(profile):
    counts = {event.key: event.count for event in profile.trace.key_averages()}
    assert counts["forward"] == counts["forward and backward"] == counts["optimizer"] == STEPS


def test_one_process_on_a_cpu_exchanges_nothing_and_has_no_idle_device(profile):
    assert (profile.communication, profile.device_busy) == (0, None)


def test_a_trial_after_it_is_the_one_before_it(setup):
    before = run_trial(setup, seed=1)
    profile_training(setup, seed=0)
    after = run_trial(setup, seed=1)
    assert [result.train_loss for result in after.epochs] == [result.train_loss for result in before.epochs]


def test_trace_operations_and_phases_are_kept(profile, tmp_path):
    place = write(profile, tmp_path)
    assert json.loads((place / "phases.json").read_text())["seconds"] == profile.phases
    assert "optimizer" in (place / "operations.txt").read_text()
    assert (place / "trace.json.gz").stat().st_size > 1000


def test_the_shares_of_the_phases_add_up(profile):
    table = phases_table("digits/quick", profile)
    shares = [float(row[2][:-1]) for row in table.rows if row[2].endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize(
    ("spans", "seconds"),
    [
        ([], 0),
        ([(1, 1)], 0),
        ([(0, 1)], 1),
        ([(0, 1), (3, 4)], 2),
        ([(3, 4), (0, 2), (1, 2), (0, 1)], 3),
        ([(0, 4), (1, 2)], 4),
    ],
)
def test_overlapping_spans_count_once(spans, seconds):
    assert covered(spans) == seconds


def test_busy_is_what_some_kernel_covers():
    def event(start, end, kind=DeviceType.CUDA, annotation=False):
        place = SimpleNamespace(start=start, end=end)
        return SimpleNamespace(device_type=kind, time_range=place, is_user_annotation=annotation)

    kernels = [event(0, 1), event(3, 4), event(0, 100, DeviceType.CPU), event(0, 4, annotation=True)]
    assert busy_share(SimpleNamespace(events=lambda: kernels)) == 0.5
    assert busy_share(SimpleNamespace(events=list)) == 0


def profiles(world, dataset, strategies):
    """Of a few steps under each strategy: seconds of the phases and of the communication."""
    torch.set_num_threads(1)
    setups = [set_up(load("digits/quick", ["model.widths=[4]", *options]), dataset, world) for options in strategies]
    found = [profile_training(setup, seed=0) for setup in setups]
    return [(profile.phases, profile.communication) for profile in found]


STRATEGIES = [[], ["parallel.strategy=fsdp2"]]
if importlib.util.find_spec("deepspeed"):
    STRATEGIES += [["parallel.strategy=deepspeed", f"parallel.zero_stage={stage}"] for stage in (1, 3)]


@pytest.mark.slow
def test_several_processes_communicate_under_every_strategy(tmp_path, digits):
    for by_strategy in in_processes(tmp_path, profiles, digits, STRATEGIES):
        for phases, communication in by_strategy:
            assert all(phases[name] > 0 for name in ("forward", "backward", "optimizer"))
            assert communication > 0


def test_energy_as_a_person_reads_it():
    measured = {"joules_per_trial": 1234.56, "mean_w": 412.3, "trials": 21}
    assert energy_line(measured) == "1235 J per trial, 412.3 W on average (over 21 further trials)"
    assert energy_line({"unknown": "nobody counts"}) == "unknown, because nobody counts"
