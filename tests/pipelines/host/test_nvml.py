"""Every field of a GPU is captured or says why not: with fakes of the libraries' real names; a misspelt one fails."""

import ast
from pathlib import Path
from types import SimpleNamespace

import psutil
import pynvml
import pytest
import torch

from pipelines.host import environment, nvml
from pipelines.host.unknown import attempt, unknown

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)
UUIDS = ["00000000-1111-2222-3333-444444444444", "ffffffff-eeee-dddd-cccc-bbbbbbbbbbbb"]

FAKES = {
    "nvmlInit": lambda: None,
    "nvmlShutdown": lambda: None,
    "nvmlDeviceGetHandleByUUID": lambda uuid: {f"GPU-{UUIDS[0]}": "gpu0", f"GPU-{UUIDS[1]}": "gpu1"}[uuid],
    "nvmlSystemGetDriverVersion": lambda: "570.86.15",
    "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: {"gpu0": 700_000, "gpu1": 350_000}[gpu],
    "nvmlDeviceGetMaxClockInfo": lambda gpu, clock: {pynvml.NVML_CLOCK_SM: 1980, pynvml.NVML_CLOCK_MEM: 3201}[clock],
    "nvmlDeviceGetMigMode": lambda gpu: [pynvml.NVML_DEVICE_MIG_DISABLE, pynvml.NVML_DEVICE_MIG_ENABLE],
    "nvmlDeviceGetClockInfo": lambda gpu, clock: {pynvml.NVML_CLOCK_SM: 1755, pynvml.NVML_CLOCK_MEM: 2619}[clock],
    "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: (
        pynvml.nvmlClocksEventReasonSwPowerCap | pynvml.nvmlClocksEventReasonHwThermalSlowdown
    ),
    "nvmlDeviceGetTemperature": lambda gpu, sensor: {pynvml.NVML_TEMPERATURE_GPU: 64}[sensor],
    "nvmlDeviceGetPowerUsage": lambda gpu: 698_512,
}
OF_TORCH = {"index", "uuid", "name", "memory_bytes", "compute_capability", "multiprocessors"}


def raising(error):
    def function(*arguments, **options):
        raise error

    return function


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs, which torch sees and NVML answers for. `setattr` refuses names that pynvml does not have."""
    for name, fake in FAKES.items():
        monkeypatch.setattr(pynvml, name, fake)
    properties = [
        SimpleNamespace(name=name, total_memory=143 * 10**9, major=9, minor=0, multi_processor_count=132, uuid=uuid)
        for name, uuid in zip(("NVIDIA H200", "NVIDIA H100 PCIe"), UUIDS, strict=True)
    ]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties[index])
    return properties


def test_the_fake_of_torch_has_only_names_that_torch_has(gpus):
    stub = ast.parse((Path(torch.__file__).parent / "_C" / "__init__.pyi").read_text())
    (real,) = (node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "_CudaDeviceProperties")
    assert set(vars(gpus[0])) <= {node.target.id for node in real.body if isinstance(node, ast.AnnAssign)}


def test_what_stays_of_a_gpu(gpus):
    captured = environment.capture(CUDA)
    assert captured["gpus"][1] == {
        "index": 1,
        "uuid": UUIDS[1],
        "name": "NVIDIA H100 PCIe",
        "memory_bytes": 143 * 10**9,
        "compute_capability": "9.0",
        "multiprocessors": 132,
        "driver": "570.86.15",
        "power_limit_w": 350.0,
        "sm_clock_max_mhz": 1980,
        "memory_clock_max_mhz": 3201,
        "mig": False,
    }
    assert captured["gpus"][0]["power_limit_w"] == 700.0
    assert captured["machine_class"] == "NVIDIA H100 PCIe"
    assert environment.capture(torch.device("cuda"))["machine_class"] == "NVIDIA H200"


def test_what_changes_of_a_gpu(gpus):
    measured = environment.telemetry(CUDA)["gpus"][0]
    assert {name: value for name, value in measured.items() if name not in OF_TORCH} == {
        "sm_clock_mhz": 1755,
        "memory_clock_mhz": 2619,
        "throttle_reasons": ["sw_power_cap", "hw_thermal_slowdown"],
        "temperature_c": 64,
        "power_w": 698.512,
    }


@pytest.mark.parametrize("name", sorted(set(FAKES) - {"nvmlInit", "nvmlShutdown", "nvmlDeviceGetHandleByUUID"}))
def test_one_field_that_a_gpu_does_not_support_is_unknown_and_the_others_are_not(gpus, monkeypatch, name):
    def all_fields():
        both = environment.capture(CUDA)["gpus"][1] | environment.telemetry(CUDA)["gpus"][1]
        return {field: value for field, value in both.items() if isinstance(value, dict)}

    assert all_fields() == {}
    monkeypatch.setattr(pynvml, name, raising(pynvml.NVMLError_NotSupported()))
    lost = all_fields()
    assert 1 <= len(lost) <= 2  # two clocks come from one function
    assert set(map(str, lost.values())) == {"{'unknown': 'NVMLError_NotSupported: Not Supported'}"}


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("nvmlInit", pynvml.NVMLError_LibraryNotFound(), "NVMLError_LibraryNotFound: NVML Shared Library Not Found"),
        ("nvmlInit", pynvml.NVMLError_DriverNotLoaded(), "NVMLError_DriverNotLoaded: Driver Not Loaded"),
        ("nvmlInit", pynvml.NVMLError_LibRmVersionMismatch(), "NVMLError_LibRmVersionMismatch: RM has detected"),
        ("nvmlDeviceGetHandleByUUID", pynvml.NVMLError_NotFound(), "NVMLError_NotFound: Not Found"),
        ("nvmlDeviceGetHandleByUUID", pynvml.NVMLError_GpuIsLost(), "NVMLError_GpuIsLost: GPU is lost"),
        ("nvmlShutdown", pynvml.NVMLError_Unknown(), "NVMLError_Unknown: Unknown Error"),
    ],
)
def test_without_nvml_torch_still_names_the_gpu(gpus, monkeypatch, name, error, reason):
    monkeypatch.setattr(pynvml, name, raising(error))
    for captured in (environment.capture(CUDA)["gpus"][1], environment.telemetry(CUDA)["gpus"][1]):
        assert captured["name"] == "NVIDIA H100 PCIe"
        lost = [value for field, value in captured.items() if field not in OF_TORCH]
        assert len(lost) == 5
        assert all(value["unknown"].startswith(reason) for value in lost)


def test_nvml_is_let_go_after_an_error(gpus, monkeypatch):
    calls = []
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: calls.append("shutdown"))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", raising(pynvml.NVMLError_NotFound()))
    nvml.read(UUIDS[0], nvml.FIXED)
    assert calls == ["shutdown"]


def test_a_part_of_a_gpu_is_reported_with_the_clocks_of_the_whole(gpus, monkeypatch):
    def find(uuid):
        if uuid != f"MIG-{UUIDS[1]}":
            raise pynvml.NVMLError_NotFound()
        return "part"

    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", find)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetDeviceHandleFromMigDeviceHandle", lambda part: {"part": "gpu0"}[part])
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMigMode", lambda gpu: [pynvml.NVML_DEVICE_MIG_ENABLE] * 2)
    captured = nvml.read(UUIDS[1], nvml.FIXED)
    assert captured["mig"] is True
    assert captured["power_limit_w"] == 700.0
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", lambda gpu: 5000)
    with pytest.raises(pynvml.NVMLError_NotFound):  # its counter has the energy of all parts
        nvml.energy_joules(UUIDS[1])


def test_an_old_driver_has_the_reasons_under_their_old_name(gpus, monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksEventReasons", raising(pynvml.NVMLError_FunctionNotFound()))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCurrentClocksThrottleReasons", lambda gpu: 1)
    assert nvml.read(UUIDS[0], nvml.MOVING)["throttle_reasons"] == ["gpu_idle"]


def test_every_documented_reason_has_a_name():
    assert nvml.decode(0) == []
    names = nvml.decode(pynvml.nvmlClocksEventReasonAll)
    assert len(names) == pynvml.nvmlClocksEventReasonAll.bit_count() == len(set(names))
    assert not any(name.startswith("0x") for name in names)
    assert nvml.decode(1 << 40 | pynvml.nvmlClocksEventReasonHwSlowdown) == ["hw_slowdown", hex(1 << 40)]


def test_a_misspelt_name_fails(gpus):
    with pytest.raises(AttributeError):
        nvml.read(UUIDS[0], {"clock": lambda gpu: pynvml.nvmlDeviceGetClokInfo(gpu)})
    with pytest.raises(AttributeError):
        attempt(lambda: psutil.cpu_cuont())


def test_a_gpu_that_torch_lost_is_unknown(gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", raising(RuntimeError("CUDA error: device lost")))
    captured = environment.capture(CUDA)
    assert captured["gpus"][0] == {"index": 0} | dict.fromkeys(
        [*OF_TORCH - {"index"}, *nvml.FIXED], unknown("RuntimeError: CUDA error: device lost")
    )
    assert captured["machine_class"] == unknown("RuntimeError: CUDA error: device lost")


def test_a_cpu_asks_no_gpu(gpus, monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlInit", raising(AssertionError()))
    assert environment.capture(CPU)["gpus"] == environment.telemetry(CPU)["gpus"] == []


def test_the_gpus_that_a_process_may_use(gpus, monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: 2)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", lambda gpu: f"GPU-{UUIDS[gpu]}")
    assert nvml.visible({}) == [f"GPU-{uuid}" for uuid in UUIDS]
    assert nvml.visible({"CUDA_VISIBLE_DEVICES": "3,1"}) == ["3", "1"]
    assert nvml.visible({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert nvml.visible({"CUDA_VISIBLE_DEVICES": "-1"}) == []
    assert nvml.visible({"CUDA_VISIBLE_DEVICES": "2,-1,3"}) == ["2"]
    assert nvml.visible({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}) == []
    assert nvml.visible({"CUDA_VISIBLE_DEVICES": f"0, GPU-{UUIDS[1]}, MIG-{UUIDS[0]}"})[1:] == [
        f"GPU-{UUIDS[1]}",
        f"MIG-{UUIDS[0]}",
    ]
    monkeypatch.setattr(pynvml, "nvmlInit", raising(pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)))
    assert nvml.visible({}) == []
