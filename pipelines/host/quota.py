"""CPUs that control groups allow a process, in versions 1 and 2 of Linux's interface. Imports no torch."""

import math
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")


def within_quota(cpus: int) -> int:
    """So many CPUs, or fewer where the quota is smaller.

    joblib reads the quota of the outermost group. That is a container's own, unless the container shares the host's
    view of the groups, and never that of a systemd service.
    """
    try:
        quota = cpu_quota()
    except (OSError, ValueError):  # the record says why it is not known
        return cpus
    return cpus if quota is None else min(cpus, math.ceil(quota))


def cpu_quota() -> float | None:
    """CPUs that the control group of this process may use, the strictest of its parents included. None: no limit."""
    found = [quota for folder in _cgroups() if (quota := _quota(folder)) is not None]
    return min(found, default=None)


def _cgroups() -> list[Path]:
    """The folders of this process's control group and its parents."""
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
