"""Compiles the C++ of `csrc/` at its first use, or ahead: `python -m kernels.cpu.build`."""

import hashlib
import importlib.machinery
import importlib.util
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import time
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch
from filelock import FileLock

NAME = "paceline_cpu"
SOURCES = Path(__file__).with_name("csrc")
FLAGS = ["-O3", "-std=c++20", "-fopenmp", "-fno-math-errno", "-mtune=native"]
FAILURES = (OSError, RuntimeError, ImportError, ValueError)
"""of compiling and of loading; ValueError: of a CXX whose quotation does not end"""


class Instructions(NamedTuple):
    """What the kernels can be compiled for."""

    name: str
    """of the folder in `csrc/`, and in records"""
    needs: frozenset[str]
    """what Linux calls the instructions that all kernels use"""
    flags: tuple[str, ...]
    """of the compiler"""

    def compiler_flags(self) -> list[str]:
        return [*FLAGS, *self.flags, f"-I{SOURCES}", f"-I{SOURCES / self.name}"]

    def sources(self) -> list[Path]:
        return sorted([*SOURCES.glob("*.cpp"), *(SOURCES / self.name).glob("*.cpp")])

    def headers(self) -> list[Path]:
        return sorted([*SOURCES.glob("*.h"), *(SOURCES / self.name).glob("*.h")])


INSTRUCTIONS = (
    # whether AMX's tiles, which fewer CPUs have, run is decided when the library is loaded
    Instructions(
        "avx512_bf16",
        frozenset({"avx512_bf16"}),
        (*(f"-mavx512{part}" for part in ("f", "bw", "dq", "vl", "bf16")), "-mfma", "-mamx-tile", "-mamx-bf16"),
    ),
    Instructions("avx2", frozenset({"avx2", "fma"}), ("-mavx2", "-mfma")),
)
"""the fastest first"""
NOT_POSSIBLE = "this CPU has neither avx2 with fma nor avx512_bf16: it would run none of the kernels"


def built() -> ModuleType | None:
    """The compiled kernels, if this machine has compiled them. None, after one line on stderr, where loading fails."""
    try:
        return load(path()) if path().exists() else None
    except FAILURES as error:
        return _without(reason_of(error))


@cache
def library() -> ModuleType | None:
    """The compiled kernels, compiled now if they are not yet. None, after one line on stderr, where that fails."""
    try:
        if reason := obstacle():
            return _without(reason)
        return load(build())
    except FAILURES as error:
        return _without(reason_of(error))


def _without(reason: str) -> None:
    print(f"kernels.cpu: plain PyTorch runs instead of the CPU kernels: {reason}", file=sys.stderr)


def reason_of(error: Exception) -> str:
    """One line: the compiler's first error, where a message has one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line for line in lines if " error: " in line), lines[0])


def instructions() -> Instructions | None:
    """The fastest that this CPU has; None if the kernels are written for none of its instructions."""
    return next((each for each in INSTRUCTIONS if each.needs <= cpu_flags()), None)


def is_possible() -> bool:
    """Whether this CPU has instructions that the kernels are written for."""
    return instructions() is not None


def obstacle() -> str | None:
    """Why the kernels can be neither found nor compiled here, and what to do about it."""
    if path().exists():
        return None
    if compiler() is None:
        return "no C++ compiler was found; install g++ or set CXX"
    from torch.utils import cpp_extension  # warns where torch is built for CUDA and there is no GPU

    if not cpp_extension.is_ninja_available():
        return "ninja is not on PATH: pip install ninja, in an active environment"
    return None


def build() -> Path:
    """Compile unless that is done, one process at a time. Returns the library's path. RuntimeError with the compiler's
    message, and OSError for a cache that cannot be written."""
    target, chosen = path(), instructions()
    if target.exists():
        return target
    assert chosen
    from torch.utils import cpp_extension

    building = target.parent / "building"
    building.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent.with_suffix(".lock")):
        if target.exists():
            return target
        started = time.perf_counter()
        print("kernels.cpu: compiling the CPU kernels, once for this machine …", end=" ", file=sys.stderr, flush=True)
        (building / "lock").unlink(missing_ok=True)  # cpp_extension's own, of a build that was killed
        cpp_extension.load(
            NAME,
            [str(source) for source in chosen.sources()],
            extra_cflags=chosen.compiler_flags(),
            extra_ldflags=["-fopenmp"],
            build_directory=str(building),
        )
        (building / target.name).replace(target)  # at once: other processes load it as soon as it is there
        print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    return target


@cache
def load(library_path: Path) -> ModuleType:
    """Import the compiled extension."""
    loader = importlib.machinery.ExtensionFileLoader(NAME, str(library_path))
    spec = importlib.util.spec_from_file_location(NAME, library_path, loader=loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@cache
def path() -> Path:
    """Where the library of these sources, this torch, C library and CPU lies, whatever compiles it."""
    key, chosen = hashlib.sha256(), instructions()
    assert chosen
    for file in (*chosen.sources(), *chosen.headers()):
        key.update(file.name.encode() + file.read_bytes())
    parts = (
        *FLAGS,
        *chosen.flags,
        torch.__version__,
        sysconfig.get_config_var("SOABI"),
        *platform.libc_ver(),
        *sorted(cpu_flags()),
    )
    key.update("\n".join(map(str, parts)).encode())
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "paceline" / "kernels" / key.hexdigest()[:16] / f"{NAME}.so"


def compiler() -> list[str] | None:
    """The command of the C++ compiler that torch calls, in words. None if it is not installed."""
    command = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    return command if shutil.which(command[0]) else None


@cache
def cpu_flags() -> frozenset[str]:
    """The instruction sets that Linux reports; none on other systems."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return frozenset()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return frozenset(next((line.split(":")[1] for line in lines if line.startswith("flags")), "").split())


def main() -> int:
    """Build ahead. 2, after one line on stderr, where that is not possible."""
    try:
        reason = obstacle() if is_possible() else NOT_POSSIBLE
        if not reason:
            library_path = build()
            print(f"{library_path} ({library_path.stat().st_size / 2**20:.1f} MiB)")
            return 0
    except FAILURES as error:
        reason = reason_of(error)
    print(f"kernels.cpu: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
