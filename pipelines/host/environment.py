"""What a run was made on: machine, versions, settings. A field that could not be captured is `{"unknown": "<why>"}`."""

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import joblib
import psutil
import torch

from pipelines.host import nvml, runtime, scheduling
from pipelines.host.git_variables import without_places
from pipelines.host.quota import within_quota
from pipelines.host.unknown import attempt, unknown

Known = TypeVar("Known", str, int)

MACHINE_ID = Path("/etc/machine-id")
CPU_INFO = Path("/proc/cpuinfo")

CODE = ("bench", "kernels", "pipelines", "results")
"""folders of the code that trains and writes the record"""
SOURCES = {".py", ".cpp", ".h"}
RECORDS = "results/measured"
"""which keep sources of their own"""

PACKAGES = ("torchvision", "numpy", "accelerate", "deepspeed")

X86_FLAGS = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"}
ARM_FLAGS = {"asimd", "sve", "sve2", "bf16", "i8mm"}
"""Instruction sets by which torch's kernels choose, as Linux spells them."""

GPU_PROPERTIES = {
    "uuid": lambda found: str(found.uuid),
    "name": lambda found: found.name,
    "memory_bytes": lambda found: found.total_memory,
    "compute_capability": lambda found: f"{found.major}.{found.minor}",
    "multiprocessors": lambda found: found.multi_processor_count,
}
"""What torch knows of a GPU, without NVML."""

VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|ONEDNN|DNNL|OPENBLAS|ATEN|CUDA|CUDNN|CUBLAS|CUBLASLT|NCCL|NVIDIA|PYTORCH|TORCH|TORCHDYNAMO"
    r"|TORCHINDUCTOR|TRITON|GLOO|ACCELERATE|DALI|MALLOC)_|(LOCAL_)?WORLD_SIZE$|LD_PRELOAD$|GLIBC_TUNABLES$"
    r"|LOKY_MAX_CPU_COUNT$"
)
"""Environment variables that change how fast or how exactly a training computes. No others are kept."""

SECRET_NAME = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|KEY|AUTH", re.IGNORECASE)
SECRET_VALUE = re.compile(r"://[^/\s]*@")


def capture(device: torch.device) -> dict[str, object]:
    """All that stays as it is during a run on this device; `telemetry` has the rest.

    `machine_id` is a hash that tells machines apart; `machine_class` says in words what one process trains on. `gpus`
    are those that torch sees, in torch's order; there are none if `device` is a CPU.
    """
    cpu, gpus = _cpu(), _gpus(device, nvml.FIXED)
    return {
        "machine_id": attempt(_machine_id),
        "machine_class": _shared(gpus[_index(device)]["name"] if gpus else _cpu_class(cpu)),
        "host_hash": attempt(lambda: _hashed(platform.node())),
        "device": str(device),
        "os": _os(),
        "cpu": cpu,
        "memory_bytes": attempt(lambda: psutil.virtual_memory().total),
        "threads": {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()},
        "scheduling": scheduling.capture(),
        "gpus": gpus,
        "versions": _versions(),
        "variables": _variables(),
    }


def telemetry(device: torch.device) -> dict[str, object]:
    """What changes quickly, to be taken before and after a run: load of the CPU; clocks, heat and power of the GPUs."""
    return {"load_average": attempt(lambda: list(psutil.getloadavg())), "gpus": _gpus(device, nvml.MOVING)}


def of_ranks(captured: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Of what every process captured, in the order of the ranks: what is not as it is on rank 0."""
    first = captured[0]
    return [
        {"rank": rank, **{key: value for key, value in theirs.items() if value != first.get(key)}}
        for rank, theirs in enumerate(captured)
    ]


def machine_class(captured: Sequence[Mapping[str, object]]) -> object:
    """Of all processes together: unlike machines are a class of their own, because the slowest decides the time."""
    classes = [theirs["machine_class"] for theirs in captured]
    not_known = next((one for one in classes if not isinstance(one, str)), None)
    return not_known or " and ".join(sorted({str(one) for one in classes}))


def code_digest(folder: Path) -> str:
    """16 hexadecimal digits of all source files of the project: what a commit does not say of a dirty tree."""
    found = (path for part in CODE for path in (folder / part).rglob("*") if is_source(path.relative_to(folder)))
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def is_source(path: Path) -> bool:
    """Whether the digest covers a file of `CODE`, by its path in the project."""
    return path.suffix in SOURCES and not path.is_relative_to(RECORDS)


def uncommitted_code(folder: Path, dirty: bool | None) -> str | None:
    """The digest of code that no commit tells from other code; None where a commit does."""
    return None if dirty is False else code_digest(folder)


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit and whether tracked files differ from it, of the repository that `folder` is a part of.

    None for what is not known: no git, no repository, nothing of the folder under version control, no commit yet, or a
    repository of another user, which git refuses to read.
    """
    if _git(folder, "ls-files", "--error-unmatch", ".") is None:
        return None, None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return _git(folder, "rev-parse", "--verify", "HEAD"), None if changes is None else bool(changes)


def git_output(folder: Path, *arguments: str, statuses: Collection[int] = (0,)) -> bytes | None:
    """What git prints in a folder; None where it cannot run, or ends with another status than these. Writes nothing."""
    environment = without_places(os.environ)
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode in statuses else None


def _git(folder: Path, *arguments: str) -> str | None:
    output = git_output(folder, *arguments)
    return None if output is None else output.decode(errors="replace").strip()


def _machine_id() -> str:
    """Of systemd's machine id where there is one, else of the host's name. Copies of one disk image may share it."""
    return _hashed((MACHINE_ID.exists() and MACHINE_ID.read_text().strip()) or platform.node())


def _hashed(name: str) -> str:
    """16 hexadecimal digits, so that a record can be public."""
    return hashlib.sha256(f"paceline {_known(name)}".encode()).hexdigest()[:16]


def _os() -> dict[str, object]:
    return {
        "system": attempt(lambda: _known(platform.system())),
        "kernel": attempt(lambda: _known(platform.release())),
        "architecture": attempt(lambda: _known(platform.machine())),
        "distribution": attempt(lambda: platform.freedesktop_os_release()["PRETTY_NAME"]),
    }


def _cpu() -> dict[str, object]:
    return {
        "model": attempt(_cpu_model),
        "physical_cores": attempt(lambda: _known(psutil.cpu_count(logical=False))),
        "logical_cores": attempt(lambda: _known(psutil.cpu_count())),
        "usable_cores": attempt(lambda: within_quota(joblib.cpu_count())),  # logical, within affinity and quota
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "flags": attempt(lambda: sorted((X86_FLAGS | ARM_FLAGS) & set(_cpu_info("flags", "Features").split()))),
    }


def _cpu_class(cpu: Mapping[str, object]) -> object:
    """What tells CPUs apart that are not of one class: the model and how many cores a run may use."""
    for part in (cpu["model"], cpu["usable_cores"]):
        if isinstance(part, dict):
            return part
    return f"{cpu['model']}, {cpu['usable_cores']} core{'s' * (cpu['usable_cores'] != 1)}"


def _shared(kind: object) -> object:
    """A machine that other runs were on at the same time is of a class of its own."""
    count = os.environ.get(runtime.AT_A_TIME)
    return f"{kind}, {count} runs at a time" if count and isinstance(kind, str) else kind


def _cpu_model() -> str:
    """Where Linux names none, as on ARM, the numbers of maker and model."""
    if platform.system() != "Linux":
        return _known(platform.processor())
    try:
        return _cpu_info("model name")
    except ValueError:
        return f"ARM implementer {_cpu_info('CPU implementer')} part {_cpu_info('CPU part')}"


def _cpu_info(*keys: str) -> str:
    for line in CPU_INFO.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys and value.strip():
            return value.strip()
    raise ValueError(f"{CPU_INFO} has no line {' or '.join(keys)}")


def _known(value: Known | None) -> Known:
    """`value`, unless it is what the standard library and psutil say when they do not know."""
    if value is None or value == "":
        raise ValueError("the system does not say")
    return value


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _gpus(device: torch.device, fields: Mapping[str, nvml.Read]) -> list[dict[str, object]]:
    if device.type != "cuda":
        return []
    return [_gpu(index, fields) for index in range(torch.cuda.device_count())]


def _gpu(index: int, fields: Mapping[str, nvml.Read]) -> dict[str, object]:
    found = attempt(lambda: torch.cuda.get_device_properties(index))
    if isinstance(found, dict):
        return {"index": index, **dict.fromkeys([*GPU_PROPERTIES, *fields], found)}
    properties = {name: read(found) for name, read in GPU_PROPERTIES.items()}
    return {"index": index, **properties, **nvml.read(str(found.uuid), fields)}


def _versions() -> dict[str, object]:
    """Of everything that computes or launches; None for what is not installed or not in this build of torch."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": attempt(torch.backends.cudnn.version),
        "nccl": attempt(_nccl),
        **{name: _installed(name) for name in PACKAGES},
        "nvidia-dali": _installed(_dali()),
    }


def _nccl() -> str | None:
    if not (torch.distributed.is_available() and torch.distributed.is_nccl_available()):
        return None
    return ".".join(map(str, torch.cuda.nccl.version()))


def _dali() -> str:
    """The name under which DALI is installed, which ends with the CUDA version that it is for."""
    names = (distribution.name or "" for distribution in metadata.distributions())
    return next((name for name in names if name.lower().startswith("nvidia-dali-cuda")), "nvidia-dali")


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _variables() -> dict[str, object]:
    return {
        name: unknown("withheld: looks like a secret")
        if SECRET_NAME.search(name) or SECRET_VALUE.search(value)
        else value
        for name, value in sorted(os.environ.items())
        if VARIABLES.match(name)
    }
