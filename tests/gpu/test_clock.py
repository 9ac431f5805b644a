"""The two clocks of a lap, and what NVML says of the card."""

import shutil
import subprocess

import pytest
import torch

from pipelines import recipe as recipes
from pipelines.distributed.process_group import World
from pipelines.host import nvml
from pipelines.host.devices import make_clock
from pipelines.host.gpu_sampler import sampled, summary, uuid_of
from pipelines.train import run_trial, set_up
from tests.gpu.smi import QUERY, parse
from tests.gpu.trials import CUDA, dataset_for

pytestmark = pytest.mark.gpu


def test_events_agree_with_the_wall_clock():
    clock = make_clock(CUDA)
    matrix = torch.randn(4096, 4096, device=CUDA)
    matrix @ matrix
    for _ in range(5):
        with clock.lap("products"):
            for _ in range(50):
                matrix @ matrix
    agree = [lap.device_seconds == pytest.approx(lap.seconds, rel=0.05, abs=2e-3) for lap in clock.laps]
    assert any(agree), clock.laps  # in the others the host had something else to do


def test_a_lap_ends_when_the_device_has_done_its_work():
    clock = make_clock(CUDA)
    with clock.lap("sleep"):
        torch.cuda._sleep(200_000_000)
    assert clock.laps[0].seconds > 0.05


def test_every_lap_of_a_trial_has_both_times():
    recipe = recipes.load("mnist/base", ["epochs=1"])
    trial = run_trial(set_up(recipe, dataset_for(recipe), World(0, 1, CUDA)), 0)
    for lap in trial.laps:
        assert 0 <= lap.device_seconds <= lap.seconds + 5e-3, lap


def test_what_the_gpu_did_is_recorded():
    recipe = recipes.load("mnist/base", ["epochs=1"])
    trial = run_trial(set_up(recipe, dataset_for(recipe), World(0, 1, CUDA)), 0)
    (gpu,) = trial.gpus
    assert gpu.samples >= 1
    assert 0 < gpu.sm_clock_mhz.min <= gpu.sm_clock_mhz.median


def test_sampling_takes_little_of_a_second():
    with sampled(CUDA, hertz=5) as samples:
        torch.cuda._sleep(2_000_000_000)
        torch.cuda.synchronize()
    found = summary(samples)
    assert found.sampling_seconds / found.samples < 0.02


@pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="there is no nvidia-smi")
def test_nvml_says_what_nvidia_smi_says():
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    by_uuid = parse(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    uuid = uuid_of(CUDA)
    theirs, ours = by_uuid[f"GPU-{uuid}"], nvml.read(uuid, nvml.FIXED)
    assert ours["driver"] == theirs["driver_version"]
    assert ours["sm_clock_max_mhz"] == float(theirs["clocks.max.sm"])
    assert ours["memory_clock_max_mhz"] == float(theirs["clocks.max.memory"])
    assert ours["power_limit_w"] == pytest.approx(float(theirs["enforced.power.limit"]), abs=0.5)
