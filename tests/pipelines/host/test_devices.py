import pytest
import torch

from pipelines import recipe
from pipelines.host import devices
from pipelines.host.devices import find_device, half_dtype, number_formats

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def gpus(monkeypatch):
    """Makes torch see so many CUDA devices."""

    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


@pytest.fixture
def bfloat16(monkeypatch):
    """Makes torch see a CPU with or without bfloat16."""
    return lambda there: monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: there)


@pytest.mark.parametrize(
    ("name", "count", "local_rank", "expected"),
    [
        ("auto", 0, 0, "cpu"),
        ("auto", 1, 0, "cuda:0"),
        ("auto", 4, 3, "cuda:3"),
        ("cuda", 2, 1, "cuda:1"),
        ("cuda:1", 2, 0, "cuda:1"),
        ("cpu", 2, 1, "cpu"),
        ("cpu:0", 0, 0, "cpu"),
    ],
)
def test_devices_that_are_there(gpus, name, count, local_rank, expected):
    gpus(count)
    assert find_device(name, local_rank) == torch.device(expected)


@pytest.mark.parametrize(("asked", "expected"), [("True", "cpu"), ("False", "cuda:0")])
def test_auto_obeys_accelerate_that_was_asked_for_the_cpu(gpus, asked, expected):
    gpus(1)
    assert find_device("auto", variables={"ACCELERATE_USE_CPU": asked}) == torch.device(expected)
    assert find_device("cuda", variables={"ACCELERATE_USE_CPU": asked}) == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("name", "count", "local_rank", "message"),
    [
        ("gpu", 0, 0, "--device 'gpu': use auto, cpu, cuda or cuda:N"),
        ("", 0, 0, "--device '': use auto"),
        ("meta", 0, 0, "--device meta: Paceline trains on cpu and cuda"),
        ("cuda", 0, 0, "sees no CUDA device; use --device cpu"),
        ("cuda:5", 2, 0, "--device cuda:5: torch sees 2 CUDA devices, numbered from 0"),
    ],
)
def test_devices_that_are_not_there(gpus, name, count, local_rank, message):
    gpus(count)
    with pytest.raises(ValueError, match=message):
        find_device(name, local_rank)


def test_each_process_of_a_host_has_a_gpu_of_its_own(gpus):
    gpus(2)
    assert [find_device("auto", rank, 2, {}) for rank in range(2)] == [torch.device("cuda", rank) for rank in range(2)]
    gpus(1)
    bound = {"CUDA_VISIBLE_DEVICES": "3"}
    assert find_device("cuda", 3, 4, bound) == CUDA, "Slurm shows each process its own"


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("auto", 1, "4 processes on this host and 1 visible CUDA devices: launch 1, or use --device cpu"),
        ("cuda", 3, "4 processes on this host and 3 visible CUDA devices"),
        ("cuda:1", 8, "--device cuda:1 is one GPU, and there are 4 processes on this host: use --device cuda"),
    ],
)
def test_more_processes_than_gpus_are_refused_on_every_rank(gpus, name, count, message):
    gpus(count)
    for rank in range(4):
        with pytest.raises(ValueError, match=message):
            find_device(name, rank, 4, {})


@pytest.mark.parametrize(
    ("wanted", "device", "expected"),
    [
        ("auto", CUDA, torch.float16),
        ("float16", CUDA, torch.float16),
        ("bfloat16", CUDA, torch.bfloat16),
        ("auto", CPU, torch.bfloat16),
        ("bfloat16", CPU, torch.bfloat16),
    ],
)
def test_half_precision_by_device(bfloat16, wanted, device, expected):
    bfloat16(True)
    assert half_dtype(wanted, device) == expected


@pytest.mark.parametrize(
    ("overrides", "weights", "images"),
    [
        ([], torch.float32, torch.float32),
        (["precision=autocast"], torch.float32, torch.bfloat16),
        (["precision=half"], torch.float16, torch.float16),
        (["precision=half", "half_dtype=bfloat16"], torch.bfloat16, torch.bfloat16),
    ],
)
def test_number_formats_of_weights_and_images(overrides, weights, images):
    assert number_formats(recipe.load("digits/quick", overrides), CUDA) == (weights, images)


def test_float16_on_a_cpu_is_refused_with_a_sentence(bfloat16):
    bfloat16(True)
    with pytest.raises(ValueError, match=r"half_dtype=float16 on a CPU: .*; set half_dtype=auto"):
        half_dtype("float16", CPU)


def test_a_torch_without_onednn_has_no_fast_bfloat16(monkeypatch, bfloat16):
    bfloat16(True)
    assert devices.has_bfloat16(CPU)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not devices.has_bfloat16(CPU)


def test_the_clock_of_a_cuda_device_waits_for_it_and_takes_its_events(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)

    class Event:
        count = 0

        def __init__(self, enable_timing):
            assert enable_timing

        def record(self, stream):
            assert stream == ("stream of", CUDA), "and not that of the current device"
            Event.count += 1
            self.milliseconds = 1500 * Event.count

        def elapsed_time(self, end):
            assert len(waited) == 2, "an event is read after the device has been waited for"
            return end.milliseconds - self.milliseconds

    monkeypatch.setattr(devices.torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: ("stream of", device))
    clock = devices.make_clock(CUDA)
    with clock.lap("train"):
        pass
    assert waited == [CUDA, CUDA]
    assert clock.laps[0].device_seconds == 1.5


def test_the_clock_of_a_cpu_has_no_device_seconds():
    clock = devices.make_clock(CPU)
    with clock.lap("train"):
        pass
    assert clock.laps[0].device_seconds is None


@pytest.mark.parametrize("precision", ["tf32", "ieee"])
def test_float32_is_what_the_recipe_says(precision):
    devices.use_float32(precision)
    is_tf32 = precision == "tf32"
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == is_tf32
    assert (torch.backends.cudnn.conv.fp32_precision == "tf32") == is_tf32
    assert torch.get_float32_matmul_precision() == ("high" if is_tf32 else "highest")
