"""What a run was made on: machine, versions and settings, as `pipelines/host/environment.py` captures them.

A field that could not be captured holds `Unknown` with the reason; `known` turns it into None.
"""

from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from results.json_values import MOST, Amount, Count, JsonObject, Line, Positive, Text, writable

T = TypeVar("T")


class Unknown(BaseModel):
    """A field that could not be captured."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unknown: Text
    """why"""


def known(value: T | Unknown | None) -> T | None:
    """The value, or None where it is unknown."""
    return None if isinstance(value, Unknown) else value


Str = Line | Unknown | None
Int = Annotated[int, Field(ge=-MOST, le=MOST)] | Unknown | None
Float = float | Unknown | None
Strings = list[Line] | Unknown | None


class _Part(BaseModel):
    """Fields that were never captured are None and are not written; later versions may add fields."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, Annotated[JsonValue, BeforeValidator(writable)]]

    @model_serializer(mode="wrap")
    def _only_what_was_captured(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name in self.model_fields_set}


INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512f": "AVX-512", "avx2": "AVX2"}
"""the vector instructions by which CPUs are told apart, the fastest first"""


class OperatingSystem(_Part):
    system: Str = None
    kernel: Str = None
    architecture: Str = None
    distribution: Str = None


class Cpu(_Part):
    model: Str = None
    physical_cores: Int = None
    logical_cores: Int = None
    usable_cores: Int = None
    """logical, within the process's affinity and the container's quota"""
    torch_capability: Str = None
    """the instruction set that torch's kernels use"""
    flags: Strings = None


class Threads(_Part):
    intra_op: Positive
    inter_op: Positive


class Scheduling(_Part):
    """How much of the host a process may use."""

    processes: Int = None
    """of this launch on this host"""
    cpus: Int = None
    """in the affinity of a process"""
    smt: bool | Unknown | None = None
    """whether cores run several threads at once"""
    governors: Strings = None
    """of the clocks of those CPUs"""
    cpu_quota: Float = None
    """CPUs that the container may use; None without a limit"""

    @property
    def text(self) -> str:
        """In a few words; what is not known is left out."""
        governors = known(self.governors)
        quota = known(self.cpu_quota)
        parts = [
            None if known(self.processes) is None else f"{self.processes} a host",
            None if known(self.cpus) is None else f"{self.cpus} CPUs each",
            None if known(self.smt) is None else f"SMT {'on' if self.smt else 'off'}",
            None if governors is None else f"governor {' and '.join(governors)}",
            None if quota is None else f"quota of {quota:g} CPUs",
        ]
        return ", ".join(part for part in parts if part)


class Gpu(_Part):
    """One GPU: what stays as it is (in `Environment.gpus`), or what changes (in `Telemetry.gpus`)."""

    index: Count
    uuid: Str = None
    name: Str = None
    memory_bytes: Int = None
    compute_capability: Str = None
    multiprocessors: Int = None
    driver: Str = None
    power_limit_w: Float = None
    sm_clock_max_mhz: Int = None
    memory_clock_max_mhz: Int = None
    mig: bool | Unknown | None = None
    sm_clock_mhz: Int = None
    memory_clock_mhz: Int = None
    throttle_reasons: Strings = None
    temperature_c: Int = None
    power_w: Float = None


class Telemetry(_Part):
    """What changes quickly, captured before and after the trials."""

    load_average: list[float] | Unknown | None = None
    gpus: list[Gpu] = []


class Energy(_Part):
    """Counted while trials were repeated after the timed ones."""

    mean_w: Amount
    joules_per_trial: Amount


class Communication(_Part):
    """What a process sends in a training step, in bytes: the mean over the processes."""

    bytes_per_step: Amount
    """counted"""
    formula_bytes: Amount | None = None
    """by the strategy's formula; None: it has none"""


class Environment(_Part):
    """The environment of a run: of rank 0, where there are several processes."""

    machine_id: Str = None
    """a hash that tells machines apart"""
    machine_class: Str = None
    """what one process trains on, in words, or each kind where processes differ; other classes do not compare"""
    host_hash: Str = None
    device: Str = None
    os: OperatingSystem | None = None
    cpu: Cpu | None = None
    memory_bytes: Int = None
    threads: Threads | None = None
    scheduling: Scheduling | None = None
    """since version 4"""
    gpus: list[Gpu] = []
    versions: dict[Line, Line | int | Unknown | None] = {}
    """of everything that computes or launches; None for what is not installed"""
    code: Str = None
    """of source files with uncommitted changes, in a few hexadecimal digits; None where a commit says which they are"""
    variables: dict[Text, Text | Unknown | None] = {}
    """environment variables that change how a training computes"""
    strategy: Str = None
    """how several processes shared the network"""
    gradient_bytes: Int = None
    """the gradients that a process averages with those of others in a step; 0: it averages none"""
    train_flops: Amount | Unknown | None = None
    """floating-point operations of one training, a backward pass counted as two forward passes"""
    before: Telemetry | None = None
    after: Telemetry | None = None
    energy: Energy | Unknown | None = None
    communication: Communication | None = None
    launcher: Str = None
    """process and start time of the launcher, by which a restart finds the run of the attempt before"""

    @property
    def machine(self) -> str | None:
        """The machine class; of a CPU with its vector instructions, since virtual machines name unlike CPUs alike: an
        "AMD EPYC" has AVX-512 or not. None where the class is unknown."""
        name, flags = known(self.machine_class), known(self.cpu.flags) if self.cpu else None
        if name is None or known(self.device) != "cpu":
            return name
        best = next((text for flag, text in INSTRUCTIONS.items() if flag in (flags or ())), None)
        return f"{name}, {best}" if best else name

    @property
    def host(self) -> str | None:
        """What tells its host from others; of processes on several hosts, all of them. None where one is unknown.

        The host's name tells more than systemd's machine id, which copies of one disk image share.
        """
        hashes = [known(self.host_hash), *(rank["host_hash"] for rank in self.ranks if "host_hash" in rank)]
        named = [one for one in hashes if isinstance(one, str)]
        return "+".join(sorted(set(named))) if len(named) == len(hashes) else None

    @property
    def gpu_uuids(self) -> tuple[str, ...]:
        """Of the GPUs that its process sees, those that are known."""
        return tuple(str(uuid) for gpu in self.gpus if (uuid := known(gpu.uuid)))

    ranks: list[JsonObject] = []
    """for each rank, what differs from rank 0"""
    all_reduce: list[tuple[Count, Amount]] = []
    """bytes and seconds of the all-reduces measured between the processes"""
    origin: Str = None
    """where an imported run comes from"""
    protocol: Str = None
    """the only protocol by which the time of an imported run is known"""
    dawnbench: JsonObject | None = None
    """the description of an imported DAWNBench submission"""
