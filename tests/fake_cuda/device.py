"""A CUDA device without hardware, for programs whose tensors are all fake.

`build` compiles `device.cpp`, and `pretend` makes the process that calls it believe in one GPU of compute capability
9.0. `pretend` has to be called before anything imports torch, and holds for the rest of the process.
"""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

SOURCE = Path(__file__).with_name("device.cpp")
VERSIONS = ("2.13",)
"""releases of torch with which all of this has been run; it depends on private parts of FakeTensorMode"""
COMPILER = "g++"
_kept: list[object] = []
"""what must live as long as the process"""


def missing() -> str | None:
    """Why there can be no fake device here; None where there can."""
    version = importlib.metadata.version("torch")
    if ".".join(version.split(".")[:2]) not in VERSIONS:
        return f"made for torch {' and '.join(VERSIONS)}, and this is {version}"
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "made for Linux on x86-64"
    if not shutil.which(COMPILER):
        return f"needs a C++ compiler, and there is no {COMPILER}"
    return None


def build() -> Path:
    """The compiled library, kept in the temporary folder for each source and release of torch."""
    torch = Path(importlib.util.find_spec("torch").origin).parent
    key = SOURCE.read_bytes() + importlib.metadata.version("torch").encode() + str(torch).encode()
    library = Path(tempfile.gettempdir(), f"paceline-fake-cuda-{os.getuid()}-{hashlib.sha256(key).hexdigest()[:16]}.so")
    if not library.exists():
        fresh = library.with_suffix(f".{os.getpid()}")
        options = ["-std=c++20", "-O1", "-fPIC", "-shared", f"-I{torch / 'include'}", f"-L{torch / 'lib'}"]
        libraries = ["-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch / 'lib'}"]
        subprocess.run([COMPILER, *options, SOURCE, *libraries, "-o", fresh], check=True)
        fresh.replace(library)
    return library


def pretend(library: Path) -> None:
    """Give this process, which must not have imported torch yet, the device of the compiled library."""
    os.environ.pop("TRITON_INTERPRET", None)  # its programs are recorded, not run
    handle = ctypes.CDLL(str(library))
    import torch._dynamo  # lists torch's functions, before they are replaced

    handle.set_pretended_guard()
    _pretend_runtime(torch)
    _pretend_modules(torch)


class Event:
    """An event that takes no time."""

    def __init__(self, **options: object) -> None:
        pass

    def record(self, *arguments: object) -> None:
        pass

    def elapsed_time(self, other: "Event") -> float:
        return 0.0


def _pretend_runtime(torch: ModuleType) -> None:
    """What of `torch.cuda` asks the driver."""
    cuda = torch.cuda
    cuda._lazy_init = lambda: None
    cuda.is_available = cuda.is_initialized = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda._is_in_bad_fork = cuda.is_current_stream_capturing = lambda: False
    cuda.set_device = cuda.synchronize = cuda.reset_peak_memory_stats = cuda.current_stream = lambda *device: None
    cuda.manual_seed = cuda.manual_seed_all = lambda seed: None
    cuda.get_rng_state = cuda.set_rng_state = lambda *state: None  # it lies on the host, as that of a real one does
    cuda.max_memory_allocated = lambda *device: 0
    cuda.get_device_capability = lambda *device: (9, 0)
    cuda.get_device_properties = lambda *device: SimpleNamespace(name="fake", uuid="00000000")
    cuda.get_device_name = lambda *device: "fake"
    cuda.is_bf16_supported = lambda **including_emulation: True
    cuda.Event = Event


def _pretend_modules(torch: ModuleType) -> None:
    """What FakeTensorMode and its tensors cannot do as of the releases in `VERSIONS`."""
    from torch._subclasses import fake_tensor

    fake_tensor.init_gpu_context = lambda device: None  # it makes a real tensor
    fake_tensor.FakeTensorMode.avoid_device_init = property(lambda mode: True)

    def clone_of(tensor: torch.Tensor, memo: dict) -> torch.Tensor:
        """Copying the storage, as torch does, frees a weak reference twice."""
        if id(tensor) not in memo:
            with torch.no_grad():
                copy = tensor.detach().clone()
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            memo[id(tensor)] = torch.nn.Parameter(copy, tensor.requires_grad) if is_parameter else copy
        return memo[id(tensor)]

    def replaced(module: torch.nn.Module, function: Callable, recurse: bool = True) -> torch.nn.Module:
        """`Module._apply`; torch's swaps a parameter in place, which fails because the mode keeps a weak reference."""
        for child in module.children() if recurse else ():
            child._apply(function)
        for name, parameter in module._parameters.items():
            if parameter is not None:
                with torch.no_grad():
                    applied = function(parameter)
                module._parameters[name] = torch.nn.Parameter(applied, parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = function(buffer)
        return module

    # a torch without CUDA composes these of several operations, where CUDA has a kernel
    library = torch.library.Library("aten", "IMPL", "CUDA")
    for name in ("silu_backward", "mish_backward"):
        library.impl(name, lambda gradient, values: torch.empty_like(values))
    _kept.append(library)
    fake_tensor.FakeTensor.__deepcopy__ = clone_of
    torch.nn.Module._apply = replaced


if __name__ == "__main__":
    if reason := missing():
        raise SystemExit(f"fake CUDA: {reason}")
    build()
