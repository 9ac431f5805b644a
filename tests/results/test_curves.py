import pytest

from results.curves import elapsed
from results.protocols import PROTOCOLS, seconds_until
from results.record import Lap
from tests.results import builders


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("extra", [(), (Lap(name="total", seconds=1e6),)])
def test_every_epoch_ends_when_its_crossing_would(protocol, extra):
    trial = builders.trial(laps=(*builders.laps(), *extra))
    assert elapsed(trial, protocol) == pytest.approx([seconds_until(trial, protocol, epoch) for epoch in (1, 2, 3)])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_epochs_that_were_not_evaluated_count(protocol):
    full = builders.trial(laps=(*builders.laps(), Lap(name="total", seconds=1e6)))
    sparse = full.model_copy(update={"epochs": (full.epochs[0], full.epochs[2])})
    every = elapsed(full, protocol)
    assert elapsed(sparse, protocol) == pytest.approx([every[0], every[2]])


def test_no_time_from_the_first_epoch_without_a_lap_of_its_own():
    laps = tuple(lap for lap in builders.laps() if lap.epoch != 2)
    assert [at is None for at in elapsed(builders.trial(laps=laps), "strict")] == [False, True, True]


def test_without_total_there_is_no_cold_time():
    assert elapsed(builders.trial(), "cold") == [None, None, None]


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="protocol='fast'"):
        elapsed(builders.trial(), "fast")
