import contextlib
import itertools
import threading

import pynvml
import pytest
import torch

from pipelines.distributed.process_group import World
from pipelines.host import nvml
from pipelines.host.gpu_sampler import Samples
from pipelines.host.machine import machine
from pipelines.probes import energy
from pipelines.probes.energy import Counter, added_up, counters, measure, packages
from tests.pipelines.host.test_nvml import UUIDS, gpus  # noqa: F401  a fixture


def zone(root, name, joules, wraps_at=1000.0, called=None):
    """A zone of powercap, as Linux shows it."""
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{called or name.replace('intel-rapl:', 'package-')}\n")
    (folder / "energy_uj").write_text(f"{round(1e6 * joules)}\n")
    (folder / "max_energy_range_uj").write_text(f"{round(1e6 * wraps_at)}\n")


def test_packages_count_and_what_is_part_of_them_does_not(tmp_path):
    zone(tmp_path, "intel-rapl:0", 12.5)
    zone(tmp_path, "intel-rapl:0:0", 4.0)
    zone(tmp_path, "intel-rapl:1", 3.0)
    zone(tmp_path, "intel-rapl:2", 40.0, called="psys")  # both packages, and the rest of a laptop
    assert [(counter.name, counter.read(), counter.wraps_at) for counter in packages(tmp_path)] == [
        ("package-0", 12.5, 1000),
        ("package-1", 3.0, 1000),
    ]
    assert packages(tmp_path / "nowhere") == []


def test_a_counter_that_began_again_went_on():
    assert Counter("one", lambda: 0.0, wraps_at=1000).between(998.0, 3.0) == pytest.approx(5)
    assert Counter("one", lambda: 0.0).between(3.0, 998.0) == 995


def test_a_counter_that_begins_again_and_again_is_read_meanwhile(monkeypatch):
    monkeypatch.setattr(energy, "INTERVAL", 0.001)
    readings, ready = [], threading.Event()

    def read():
        readings.append(300.0 * len(readings))
        if len(readings) == 10:
            ready.set()
        return readings[-1] % 1000

    with added_up([Counter("one", read, wraps_at=1000)]) as joules:
        assert ready.wait(60)
    assert joules == [pytest.approx(readings[-1])]


def test_a_reading_that_fails_is_made_up_for_by_the_next(monkeypatch):
    monkeypatch.setattr(energy, "INTERVAL", 0.001)
    failed, answers = threading.Event(), iter([2.0])

    def read():
        if failed.is_set():
            return 7.0
        if (answer := next(answers, None)) is None:
            failed.set()
            raise OSError
        return answer

    with added_up([Counter("one", read)]) as joules:
        assert failed.wait(60)
    assert joules == [5.0]


def test_zones_that_a_container_hides_are_left_out(tmp_path):
    zone(tmp_path, "intel-rapl:0", 12.5)
    (tmp_path / "intel-rapl:1").symlink_to(tmp_path / "hidden")
    assert [counter.name for counter in packages(tmp_path)] == ["package-0"]


def test_trials_are_repeated_until_there_are_enough_seconds(monkeypatch):
    clock, meters = itertools.count(step=10.0), [itertools.count(100, 50), itertools.count(7, 10)]
    monkeypatch.setattr(energy.time, "perf_counter", lambda: next(clock))
    trials = []
    fakes = [Counter(f"meter {index}", lambda meter=meter: float(next(meter))) for index, meter in enumerate(meters)]
    monkeypatch.setattr(energy, "counters", lambda device: fakes)
    found = measure(World(), lambda: trials.append(3), enough=25)
    assert trials == [3, 3, 3]
    assert (found["trials"], found["seconds"]) == (3, 30)
    assert found["joules_per_trial"] == pytest.approx(60 / 3)
    assert found["mean_w"] == pytest.approx(60 / 30)
    assert found["during"] == []


def test_processors_count_once_a_machine_and_gpus_once_a_process(monkeypatch):
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(energy.time, "perf_counter", lambda: next(clock))

    def joules(device, *others):
        class Several(World):
            def gather(self, value):
                return [value] * 4 if isinstance(value, bool) else [value, *others]

        meter = itertools.count(100, 50)
        monkeypatch.setattr(energy, "counters", lambda device: [Counter("meter", lambda: float(next(meter)))])
        monkeypatch.setattr(energy, "sampled", lambda device, hertz: contextlib.nullcontext(Samples()))
        return measure(Several(device=torch.device(device)), lambda: None, enough=5)["joules_per_trial"]

    assert joules("cpu", (machine(), 50.0), ("another", 30.0), ("another", 30.0)) == 80
    assert joules("cuda:0", ("rank 1", 50.0), ("rank 2", 30.0), ("rank 3", 30.0)) == 160


def test_without_a_counter_the_energy_is_unknown_and_nothing_is_trained(monkeypatch):
    monkeypatch.setattr(energy, "POWERCAP", None)
    monkeypatch.setattr(energy, "counters", lambda device: [])
    assert "no energy counter" in measure(World(), lambda: pytest.fail("trained"))["unknown"]


def test_a_counter_that_may_not_be_read_is_none(monkeypatch):
    def refused():
        raise PermissionError("only root")

    monkeypatch.setattr(energy, "packages", lambda: [Counter("package-0", refused), Counter("package-1", lambda: 1.0)])
    assert [counter.name for counter in counters(torch.device("cpu"))] == ["package-1"]


def test_a_gpu_is_read_by_its_uuid(gpus, monkeypatch):  # noqa: F811
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", {"gpu0": 5000, "gpu1": 123_456}.get)
    assert nvml.energy_joules(UUIDS[1]) == pytest.approx(123.456)
    (counter,) = counters(torch.device("cuda", 1))
    assert counter.read() == pytest.approx(123.456)
