"""The CPUs that control groups allow, from files as Linux shows them."""

import joblib
import pytest
import torch

from pipelines.host import environment, quota, runtime


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Plants a control group, and the limits of it and its parents, by file."""

    def plant(own, limits):
        (tmp_path / "own").write_text(own)
        for name, text in limits.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    monkeypatch.setattr(quota, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(quota, "OWN_CGROUP", tmp_path / "own")
    return plant


@pytest.mark.parametrize(
    ("own", "limits", "cpus"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        (
            "0::/system.slice/train.service\n",
            {"system.slice/cpu.max": "400000 100000\n", "system.slice/train.service/cpu.max": "max 100000\n"},
            4.0,
        ),
        (
            "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        ("5:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("", {}, None),
    ],
)
def test_the_strictest_limit_of_a_group_and_its_parents_counts(groups, own, limits, cpus):
    groups(own, limits)
    assert quota.cpu_quota() == cpus


def test_a_quota_limits_the_threads_and_is_in_the_record(groups, monkeypatch):
    groups("0::/system.slice/train.service\n", {"system.slice/train.service/cpu.max": "250000 100000\n"})
    monkeypatch.setattr(joblib, "cpu_count", lambda only_physical_cores=False: 8)
    assert runtime.cores() == 3
    captured = environment.capture(torch.device("cpu"))
    assert captured["cpu"]["usable_cores"] == 3
    assert captured["scheduling"]["cpu_quota"] == 2.5


def test_a_quota_that_is_larger_or_unreadable_changes_nothing(groups):
    groups("0::/\n", {"cpu.max": "1200000 100000\n"})
    assert quota.within_quota(8) == 8
    groups("0::/\n", {"cpu.max": "no number\n"})
    assert quota.within_quota(8) == 8
