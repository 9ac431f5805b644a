"""How much of the host a process may use: its CPUs, the container's quota, clock governor and simultaneous threads."""

import os
from pathlib import Path

from pipelines.host import runtime
from pipelines.host.unknown import attempt

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


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
        "cpu_quota": attempt(cpu_quota),
    }


def cpu_quota() -> float | None:
    """CPUs that the control group of this process may use, the strictest of its parents included. None: no limit."""
    found = [quota for folder in _cgroups() if (quota := _quota(folder)) is not None]
    return min(found, default=None)


def _affinity() -> set[int]:
    if not hasattr(os, "sched_getaffinity"):
        raise OSError("the system does not say")
    return os.sched_getaffinity(0)


def _governors() -> list[str]:
    files = [CPUS / f"cpu{number}/cpufreq/scaling_governor" for number in _affinity()]
    return sorted({file.read_text().strip() for file in files})


def _cgroups() -> list[Path]:
    """The folders of this process's control group and its parents, in version 2 of the interface and in version 1."""
    folders = [CGROUPS, CGROUPS / "cpu"]
    for line in OWN_CGROUP.read_text().splitlines() if OWN_CGROUP.exists() else []:
        _, controllers, own = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            root = CGROUPS if controllers == "" else CGROUPS / "cpu"
            path = root / own.lstrip("/")
            folders += [path, *(parent for parent in path.parents if parent.is_relative_to(root))]
    return list(dict.fromkeys(folders))


def _quota(folder: Path) -> float | None:
    unified, quota, period = folder / "cpu.max", folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"
    if unified.is_file():
        limit, length = unified.read_text().split()
    elif quota.is_file() and period.is_file():
        limit, length = quota.read_text().strip(), period.read_text().strip()
    else:
        return None
    return None if limit in ("max", "-1") else int(limit) / int(length)
