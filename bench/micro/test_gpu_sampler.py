"""What sampling a GPU beside the training costs the host, apart from NVML: with a library that answers at once."""

import time
from statistics import median

import pynvml
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from pipelines.host import gpu_sampler, nvml

ANSWERS = {
    "nvmlInit": lambda: None,
    "nvmlShutdown": lambda: None,
    "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
    "nvmlDeviceGetClockInfo": lambda gpu, clock: 1755,
    "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: pynvml.nvmlClocksEventReasonSwPowerCap,
    "nvmlDeviceGetTemperature": lambda gpu, sensor: 64,
    "nvmlDeviceGetPowerUsage": lambda gpu: 698_512,
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, answer in ANSWERS.items():
        monkeypatch.setattr(pynvml, name, answer)
    monkeypatch.setattr(gpu_sampler, "uuid_of", lambda device: "GPU")


def test_a_sample(benchmark: BenchmarkFixture, gpu: None) -> None:
    """All fields of one GPU, once."""
    benchmark(nvml.fields_of, "GPU", nvml.MOVING)


def test_the_thread(benchmark: BenchmarkFixture, gpu: None) -> None:
    """CPU time of the sampling thread, its waking up included: of a sample, and of a second as trials are sampled."""
    seconds_each = []

    def sampled() -> None:
        started = time.process_time()
        with gpu_sampler.sampled(torch.device("cuda", 0), hertz=500) as samples:
            time.sleep(0.5)
        seconds_each.append((time.process_time() - started) / len(samples.values))

    benchmark.pedantic(sampled, rounds=11, warmup_rounds=1)
    each = median(seconds_each)
    benchmark.extra_info |= {"cpu_seconds_per_sample": each, "share_of_a_core": gpu_sampler.HERTZ * each}
