"""How busy other processes keep the CPUs of a run, from planted counters."""

import os
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest

from pipelines.distributed.process_group import World
from pipelines.host import load
from pipelines.host.load import Reading, Stretch
from pipelines.host.machine import machine


class Times(NamedTuple):
    """Of a CPU, as psutil has them."""

    user: float
    idle: float


@dataclass(frozen=True)
class Planted(World):
    """Rank 0, and what the others answer."""

    others: tuple = ()

    def gather(self, value):
        return [value, *self.others]


@pytest.fixture
def foreign(monkeypatch):
    """The foreign load of ten seconds, in which this process and the others were busy for so long."""

    def after(busy, own, *others, seconds=10.0, before=None):
        first = Reading(0.0, before or dict.fromkeys(busy, 0.0), 0.0)
        monkeypatch.setattr(load, "read", lambda: Reading(seconds, busy, own))
        return load.foreign_load(first, Planted(others=others))

    return after


def test_what_other_processes_use_is_foreign(foreign):
    assert foreign({0: 10.0, 1: 5.0}, 12.0) == pytest.approx(3 / 20)
    assert foreign({0: 10.0, 1: 5.0}, 16.0) == 0, "the kernel's counts are rounded"


def test_processes_on_the_same_cpus_count_once(foreign):
    other = machine(), Stretch(10.0, {0: 10.0, 1: 10.0}, 9.0)
    assert foreign({0: 10.0, 1: 10.0}, 9.0, other) == pytest.approx(2 / 20)


def test_processes_that_are_bound_to_cpus_of_their_own_see_each_other_s_load(foreign):
    """Each uses its own CPU. Another process uses half of the first one, or of the second one."""
    assert foreign({0: 10.0}, 5.0, (machine(), Stretch(10.0, {1: 10.0}, 10.0))) == pytest.approx(5 / 20)
    assert foreign({0: 10.0}, 10.0, (machine(), Stretch(10.0, {1: 10.0}, 5.0))) == pytest.approx(5 / 20)
    assert foreign({0: 10.0}, 10.0, (machine(), Stretch(10.0, {1: 10.0}, 10.0))) == 0


def test_of_several_machines_the_busiest_counts(foreign):
    """A step lasts as long as on the slowest one. CPUs of different machines have the same numbers."""
    idle, busy = Stretch(10.0, {0: 10.0}, 10.0), Stretch(10.0, {0: 10.0, 1: 4.0}, 10.0)
    assert foreign({0: 10.0}, 5.0, ("another", idle), ("a third", None)) == pytest.approx(5 / 10)
    assert foreign({0: 10.0}, 10.0, ("another", busy), ("a third", idle)) == pytest.approx(4 / 20)
    assert foreign({0: 10.0}, 10.0, ("another", busy), ("another", None)) == 0


def test_a_run_waits_until_every_machine_is_quiet():
    quiet, loads = Stretch(1.0, {0: 0.0}, 0.0), iter([0.5, 0.2, 0.0])

    class Two(World):
        def gather(self, value):
            return [(machine(), quiet), ("another", Stretch(1.0, {0: next(loads)}, 0.0))]

    load.wait_for_quiet(60, 0.1, Two(), interval=0.0)
    assert next(loads, None) is None


def test_what_is_not_known_is_none(foreign, monkeypatch):
    assert foreign({0: 10.0}, 5.0, (machine(), None)) is None
    assert foreign({0: 0.1}, 0.1, seconds=load.SHORTEST / 2) is None
    assert foreign({1: 10.0}, 5.0, before={0: 0.0}) is None, "this process may use other CPUs than before"
    assert load.foreign_load(None, World()) is None


def test_cpus_that_are_offline_have_no_counters(monkeypatch, tmp_path):
    """CPU 1 is offline: the system counts CPU 0 and CPU 2, and psutil lists two."""
    (tmp_path / "stat").write_text("cpu  9 0 0 0\ncpu0 1 0 0 0\ncpu2 8 0 0 0\nintr 5\n")
    times = [Times(user=1.0, idle=5.0), Times(user=8.0, idle=5.0)]
    monkeypatch.setattr(load.sys, "platform", "linux")
    monkeypatch.setattr(load, "COUNTERS", tmp_path / "stat")
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: times)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {2}, raising=False)
    assert load.read().busy == {2: 8.0}
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)
    assert load.read() is None


def test_what_a_hypervisor_gives_to_others_is_foreign():
    """Time of guests of this machine is in that of the user already."""

    class Linux(NamedTuple):
        user: float = 3.0
        idle: float = 5.0
        iowait: float = 1.0
        steal: float = 2.0
        guest: float = 1.0

    assert load._busy(Linux()) == 3.0 + 2.0


def test_what_a_living_child_s_children_used_is_own(monkeypatch):
    """A worker of torch.compile lives on, and the compilers that it started have ended."""

    class Worker(NamedTuple):
        user: float = 1.0
        system: float = 2.0
        children_user: float = 40.0
        children_system: float = 8.0
        iowait: float = 100.0

    class Ended:
        def cpu_times(self):
            raise psutil.NoSuchProcess(2)

    below = []
    monkeypatch.setattr(psutil.Process, "children", lambda process, recursive: below)
    before = load.cpu_seconds()
    below += [SimpleNamespace(cpu_times=Worker), Ended()]
    assert load.cpu_seconds() - before == pytest.approx(1 + 2 + 40 + 8, abs=1)


def test_this_process_uses_cpus_that_are_counted():
    before = load.read()
    if before is None:
        pytest.skip("this system does not say")
    after = load.read()
    assert after.busy.keys() == before.busy.keys()
    assert after.own >= before.own > 0
