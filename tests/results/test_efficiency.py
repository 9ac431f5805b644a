from pathlib import Path

import pytest

from results.efficiency import efficiency, is_known, peak_of, peaks
from results.record import Lap, Run
from tests.results.builders import missed, record, trial

LAPS = [Lap(name="train", epoch=epoch, seconds=1.0) for epoch in (1, 2, 3)]
ENERGY = {"mean_w": 500.0, "joules_per_trial": 2000.0}


def of(machine="NVIDIA H200", world_size=1, precision="half", trials=None, **environment):
    environment = {"machine_class": machine, "train_flops": 9e14} | environment
    changes = {"environment": environment, "recipe": {"precision": precision}, "world_size": world_size}
    return Run(record(**changes), tuple(trials or [trial(laps=LAPS)]), Path("runs"))


def test_utilisation_is_operations_over_what_the_device_could_have_done():
    found = efficiency(of(), "strict")
    assert found.flops == pytest.approx(3e14)
    assert found.mfu == pytest.approx(3e14 / 9.89e14)


def test_of_several_devices_together():
    assert efficiency(of(world_size=2), "strict").mfu == pytest.approx(3e14 / (2 * 9.89e14))


def test_of_float32_by_its_own_peak():
    assert efficiency(of(precision="float32"), "strict").mfu == pytest.approx(3e14 / 4.94e14)


def test_an_unknown_device_has_no_utilisation():
    found = efficiency(of(machine="AMD EPYC, 2 cores"), "strict")
    assert (found.mfu, found.flops) == (None, pytest.approx(3e14))


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090, 2 runs at a time", "RTX 4090"),
        ("Tesla V100-SXM2-16GB", "V100-SXM2"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA GB200", None),
        ("NVIDIA L400", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
    ],
)
def test_a_peak_is_of_the_device_that_has_its_name_in_whole_words(machine, name):
    found = peak_of(machine)
    assert (found and found.name) == name


def test_a_part_of_a_gpu_has_no_peak():
    assert efficiency(of(gpus=[{"index": 0, "mig": True}]), "strict").mfu is None
    assert efficiency(of(gpus=[{"index": 0, "mig": False}]), "strict").mfu is not None


def test_more_than_the_device_can_do_is_refused():
    with pytest.raises(ValueError, match=r"run abcd1234: .* 1\.0. times what NVIDIA H200 can do"):
        efficiency(of(train_flops=3.1e15), "strict")


def test_energy_to_the_target_is_of_the_time_to_it():
    found = efficiency(of(energy=ENERGY), "strict")
    assert (found.watts, found.joules, found.joules_to_target) == (500, 2000, 1000)
    assert efficiency(of(energy=ENERGY, trials=[missed(laps=LAPS)]), "strict").joules_to_target is None


def test_energy_that_is_unknown_is_no_number():
    found = efficiency(of(energy={"unknown": "no counter"}), "strict")
    assert (found.watts, found.joules, found.joules_to_target) == (None, None, None)


def test_it_is_shown_where_something_is_known():
    assert is_known([of()])
    assert is_known([of(machine="a CPU", energy=ENERGY)])
    assert not is_known([of(machine="a CPU")])
    assert not is_known([])


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla V100-SXM2-16GB", "V100-SXM2"),
    ],
)
def test_names_as_nvml_says_them(name, peak):
    assert peak_of(name).name == peak


def test_single_precision_is_no_faster_than_half():
    assert all(peak.single < peak.half for peak in peaks())
    assert peak_of(None) is peak_of("AMD EPYC, 2 cores") is None
