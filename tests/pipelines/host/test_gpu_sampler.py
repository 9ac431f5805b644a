import threading
import time
from types import SimpleNamespace

import pynvml
import pytest
import torch

from pipelines.distributed.process_group import World
from pipelines.host import gpu_sampler
from pipelines.host.gpu_sampler import Samples, of_all_processes, sampled, summary, unlocked_clocks
from pipelines.host.unknown import unknown
from pipelines.trial import GpuActivity, Spread
from tests.pipelines.host.test_nvml import gpus, raising  # noqa: F401  a fixture

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


def sample(clock, *reasons, power=300.0):
    return {
        "sm_clock_mhz": clock,
        "memory_clock_mhz": 2619,
        "throttle_reasons": list(reasons),
        "temperature_c": 60,
        "power_w": power,
    }


def test_a_gpu_is_sampled_from_start_to_end(gpus):  # noqa: F811
    with sampled(CUDA, hertz=200) as samples:
        while len(samples.values) < 3:
            time.sleep(0.001)
    count = len(samples.values)
    assert samples.values[0]["power_w"] == pytest.approx(698.512)
    assert "gpu sampler" not in {thread.name for thread in threading.enumerate()}
    time.sleep(0.02)
    assert len(samples.values) == count


def test_the_shortest_trial_has_a_sample(gpus):  # noqa: F811
    with sampled(CUDA, hertz=0.001) as samples:
        pass
    assert len(samples.values) == 1


def test_a_trial_that_fails_ends_the_sampling(gpus):  # noqa: F811
    with pytest.raises(KeyError), sampled(CUDA):
        raise KeyError
    assert "gpu sampler" not in {thread.name for thread in threading.enumerate()}


def test_a_cpu_has_no_thread(monkeypatch):
    monkeypatch.setattr(gpu_sampler.threading, "Thread", None)
    with sampled(CPU) as samples:
        pass
    assert samples.values == []


def test_the_library_is_opened_once(gpus, monkeypatch):  # noqa: F811
    opened = []
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: opened.append(1))
    with sampled(CUDA, hertz=500) as samples:
        while len(samples.values) < 5:
            time.sleep(0.001)
    assert opened == [1]


def test_what_a_slow_library_costs_is_stated(gpus, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", lambda gpu: time.sleep(0.02) or 1000)
    with sampled(CUDA, hertz=1000) as samples:
        while len(samples.values) < 3:
            time.sleep(0.001)
    assert summary(samples).sampling_seconds >= 0.06


def test_without_nvml_the_reason_is_noted(gpus, monkeypatch):  # noqa: F811
    error = pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
    monkeypatch.setattr(pynvml, "nvmlInit", raising(error))
    with sampled(CUDA) as samples:
        pass
    assert summary(samples) == GpuActivity(0, 0.0, error=f"{type(error).__name__}: {error}")


def test_the_summary_of_a_trial():
    found = summary(Samples([sample(1980, "sw_power_cap"), sample(1400, power=700.0), sample(1755)], seconds=0.5))
    assert found.sm_clock_mhz == Spread(1400, 1755, 1980)
    assert found.memory_clock_mhz == Spread(2619, 2619, 2619)
    assert found.power_w == Spread(300.0, 300.0, 700.0)
    assert found.temperature_c == Spread(60, 60, 60)
    assert found.throttle_reasons == {"sw_power_cap": pytest.approx(1 / 3)}
    assert (found.samples, found.sampling_seconds, found.error) == (3, 0.5, None)


def test_what_a_gpu_does_not_tell_is_left_out():
    silent = sample(1980) | {"power_w": unknown("not supported"), "throttle_reasons": unknown("not supported")}
    found = summary(Samples([silent]))
    assert (found.power_w, found.throttle_reasons) == (None, {})


def test_every_process_has_an_entry():
    world = SimpleNamespace(device=CUDA, gather=lambda one: [one, one])
    assert of_all_processes(Samples([sample(1980)]), world) == (summary(Samples([sample(1980)])),) * 2
    assert of_all_processes(Samples(), World()) == ()


@pytest.mark.parametrize(
    ("samples", "is_warned"),
    [
        ([sample(1980), sample(1755)], True),
        ([sample(1410), sample(1410)], False),
        ([sample(345, "gpu_idle"), sample(1410), sample(1410)], False),
        ([sample(1410, "applications_clocks_setting"), sample(1395)], False),
        ([sample(unknown("not supported"))], False),
        ([], False),
    ],
)
def test_clocks_that_move_under_load_are_not_locked(samples, is_warned):
    warning = unlocked_clocks(Samples(samples))
    assert (warning is not None) == is_warned
    if warning:
        assert "1755 to 1980 MHz" in warning
        assert "\n" not in warning
