"""What NVIDIA's management library knows of a GPU, found by its UUID.

Torch's numbers follow CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER and NVML's do not, so that a number would report
another GPU than the one that trains.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pynvml

from pipelines.host.unknown import attempt, unknown

Read = Callable[[Any], object]

FIXED: dict[str, Read] = {
    "driver": lambda gpu: pynvml.nvmlSystemGetDriverVersion(),
    "power_limit_w": lambda gpu: pynvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
    "sm_clock_max_mhz": lambda gpu: pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "memory_clock_max_mhz": lambda gpu: pynvml.nvmlDeviceGetMaxClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
    "mig": lambda gpu: pynvml.nvmlDeviceGetMigMode(gpu)[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
}
MOVING: dict[str, Read] = {
    "sm_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM),
    "memory_clock_mhz": lambda gpu: pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_MEM),
    "throttle_reasons": lambda gpu: decode(_clocks_event_reasons(gpu)),
    "temperature_c": lambda gpu: pynvml.nvmlDeviceGetTemperature(gpu, pynvml.NVML_TEMPERATURE_GPU),
    "power_w": lambda gpu: pynvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
}

REASONS = {
    pynvml.nvmlClocksEventReasonGpuIdle: "gpu_idle",
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "applications_clocks_setting",
    pynvml.nvmlClocksEventReasonSwPowerCap: "sw_power_cap",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hw_slowdown",
    pynvml.nvmlClocksEventReasonSyncBoost: "sync_boost",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "sw_thermal_slowdown",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hw_thermal_slowdown",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "hw_power_brake_slowdown",
    pynvml.nvmlClocksEventReasonDisplayClockSetting: "display_clock_setting",
}
"""Why a GPU may run under its highest clock, bit by bit: nvml.h, "NvmlClocksEventReasons"."""

DEVICE_NAME = re.compile(r"\d|GPU-|MIG-")
"""how a valid name in CUDA_VISIBLE_DEVICES begins"""


def visible(variables: Mapping[str, str]) -> list[str]:
    """The GPUs that a process with these variables may use, as CUDA_VISIBLE_DEVICES names them; none without NVML.

    CUDA ignores what follows an invalid name, such as the -1 that hides all GPUs, or Slurm's NoDevFiles.
    """
    if "CUDA_VISIBLE_DEVICES" in variables:
        names = (name.strip() for name in variables["CUDA_VISIBLE_DEVICES"].split(","))
        return list(itertools.takewhile(DEVICE_NAME.match, names))
    try:
        with _library():
            handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
            return [pynvml.nvmlDeviceGetUUID(handle) for handle in handles]
    except pynvml.NVMLError:
        return []


def read(uuid: str, fields: Mapping[str, Read]) -> dict[str, object]:
    """These fields (`FIXED` or `MOVING`) of the GPU with this UUID, as torch writes it; each may be unknown."""
    try:
        with opened(uuid) as gpu:
            return fields_of(gpu, fields)
    except pynvml.NVMLError as error:
        return dict.fromkeys(fields, unknown(f"{type(error).__name__}: {error}"))


@contextmanager
def opened(uuid: str) -> Iterator[Any]:
    """The GPU's handle, for `fields_of`. Raises pynvml.NVMLError without NVML or such a GPU."""
    with _library():
        yield _find(uuid)


def fields_of(gpu: Any, fields: Mapping[str, Read]) -> dict[str, object]:
    """These fields of an opened GPU; each may be unknown."""
    return {name: attempt(lambda field=field: field(gpu)) for name, field in fields.items()}


def energy_joules(uuid: str) -> float:
    """What a whole GPU has used since its driver was loaded.

    Raises pynvml.NVMLError where it does not count, and for a part of a GPU (MIG): the counter is of all parts.
    """
    with _library():
        whole = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        return pynvml.nvmlDeviceGetTotalEnergyConsumption(whole) / 1000


def decode(bits: int) -> list[str]:
    """The names of clocks-event reasons; a bit that is newer than this list is named by its number."""
    return [REASONS.get(1 << place, hex(1 << place)) for place in range(bits.bit_length()) if bits >> place & 1]


@contextmanager
def _library() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _find(uuid: str) -> Any:
    """The GPU of this UUID; of a part of a GPU (MIG) the whole, which alone has clocks and power."""
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
        part = pynvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
        return pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)


def _clocks_event_reasons(gpu: Any) -> int:
    try:
        return pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)
    except pynvml.NVMLError_FunctionNotFound:  # drivers before 535 have the same bits under the old name
        return pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
