"""How much of the host a process may use: its CPUs, the container's quota, clock governor and simultaneous threads."""

import os
from pathlib import Path

from pipelines.host import quota, runtime
from pipelines.host.unknown import attempt

CPUS = Path("/sys/devices/system/cpu")


def capture() -> dict[str, object]:
    """What runs must have in common for their times to compare.

    processes: of this launch on this host. cpus: in the affinity of this process. smt: whether cores run several
    threads at once. governors: of the clocks of those CPUs. cpu_quota: CPUs that the container may use, null without a
    limit.
    """
    return {
        "processes": runtime.processes_on_host(),
        "cpus": attempt(lambda: len(_affinity())),
        "smt": attempt(lambda: (CPUS / "smt/active").read_text().strip() == "1"),
        "governors": attempt(_governors),
        "cpu_quota": attempt(quota.cpu_quota),
    }


def _affinity() -> set[int]:
    if not hasattr(os, "sched_getaffinity"):
        raise OSError("the system does not say")
    return os.sched_getaffinity(0)


def _governors() -> list[str]:
    files = [CPUS / f"cpu{number}/cpufreq/scaling_governor" for number in _affinity()]
    return sorted({file.read_text().strip() for file in files})
