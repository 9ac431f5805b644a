"""Every lap has its own power of ten or two in the builder, so that a sum tells which laps are in it."""

import pytest

from results.protocols import (
    PROTOCOLS,
    elapsed,
    epoch_reaching,
    find_protocol,
    parse,
    seconds_to_target,
    total_seconds,
)
from results.record import EpochResult, Lap
from tests.results.builders import laps, missed, trial

TRANSFER, PREPROCESS, BUILD, WHITEN, FINAL = 2, 4, 8, 16, 64
AUGMENT, TRAIN = 1000, 2000


def epochs(count: int) -> int:
    return (AUGMENT + TRAIN) * sum(10**epoch for epoch in range(count))


@pytest.mark.parametrize(
    ("protocol", "set_up", "end"),
    [
        ("dawnbench", TRANSFER + PREPROCESS + WHITEN + BUILD, 0),
        ("airbench", PREPROCESS + WHITEN, FINAL),
        ("strict", TRANSFER + PREPROCESS + BUILD + WHITEN, FINAL),
    ],
)
def test_what_is_in_the_time(protocol, set_up, end):
    assert total_seconds(trial(), protocol) == set_up + epochs(3) + end
    assert seconds_to_target(trial(), protocol) == set_up + epochs(2)


def test_cold_is_the_total_of_the_first_trial_alone():
    first = trial(laps=(*laps(), Lap(name="total", seconds=1e6)))
    assert total_seconds(first, "cold") == 1e6
    assert seconds_to_target(first, "cold") == 1e6 - FINAL - 100 * (1000 + 2000 + 4000)
    assert total_seconds(trial(), "cold") is None
    assert seconds_to_target(trial(), "cold") is None


def test_an_unknown_protocol_is_refused_by_name():
    with pytest.raises(ValueError, match="protocol='mlperf' is unknown: use one of dawnbench, airbench, strict, cold"):
        total_seconds(trial(), "mlperf")
    with pytest.raises(ValueError, match="protocol='mlperf'"):
        seconds_to_target(missed(), "mlperf")


def test_the_crossing_is_the_first_epoch_at_or_over_the_target():
    assert epoch_reaching(trial()) == 2
    assert epoch_reaching(trial(target=0.95)) == 3
    assert epoch_reaching(missed()) is None
    unmeasured = (EpochResult(epoch=1), EpochResult(epoch=4, accuracy=0.94), EpochResult(epoch=5, accuracy=0.2))
    assert epoch_reaching(trial(epochs=unmeasured)) == 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("changes", [{"outcome": "diverged", "reason": "loss"}, {"outcome": "failed", "reason": "x"}])
def test_what_did_not_train_to_its_end_has_no_time(protocol, changes):
    ended = trial(laps=(*laps(), Lap(name="total", seconds=1e6)), **changes)
    assert total_seconds(ended, protocol) is None
    assert seconds_to_target(ended, protocol) is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_miss_has_no_time_to_target_even_if_it_was_over_it_once(protocol):
    whole = (*laps(), Lap(name="total", seconds=1e6))
    once_over = trial(outcome="missed", accuracy=0.93, laps=whole)
    assert epoch_reaching(once_over) == 2
    assert seconds_to_target(once_over, protocol) is None
    assert total_seconds(once_over, protocol) == total_seconds(trial(laps=whole), protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("epochs_of_train", [[None], [2], [1, 3], []])
def test_a_crossing_whose_epochs_were_not_all_timed_is_not_known(protocol, epochs_of_train):
    some = [Lap(name="train", epoch=epoch, seconds=1) for epoch in epochs_of_train]
    total = Lap(name="total", seconds=10)
    assert seconds_to_target(trial(laps=(*some, total)), protocol) is None


@pytest.mark.parametrize("protocol", ["dawnbench", "airbench", "strict"])
def test_without_training_there_is_no_time(protocol):
    assert total_seconds(trial(laps=[Lap(name="build", seconds=1)]), protocol) is None


def test_laps_of_several_parts_of_an_epoch_are_all_counted():
    parts = [Lap(name="train", epoch=epoch, seconds=1) for epoch in (1, 1, 2, 2, 3)]
    assert seconds_to_target(trial(laps=parts), "strict") == 4
    assert total_seconds(trial(laps=parts), "strict") == 5


def test_the_end_of_each_epoch():
    set_up = TRANSFER + PREPROCESS + BUILD + WHITEN
    assert elapsed(trial(), "strict") == {epoch: set_up + epochs(epoch) for epoch in (1, 2, 3)}
    later = {1: 7000 * 110, 2: 7000 * 100, 3: 0}
    first = trial(laps=(*laps(), Lap(name="total", seconds=1e6)))
    assert elapsed(first, "cold") == {epoch: 1e6 - FINAL - seconds for epoch, seconds in later.items()}
    assert elapsed(trial(), "cold") == dict.fromkeys((1, 2, 3))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_epochs_that_were_not_evaluated_count(protocol):
    full = trial(laps=(*laps(), Lap(name="total", seconds=1e6)))
    sparse = full.model_copy(update={"epochs": (full.epochs[0], full.epochs[2])})
    every = elapsed(full, protocol)
    assert elapsed(sparse, protocol) == pytest.approx({1: every[1], 3: every[3]})


def test_no_time_from_the_first_epoch_without_a_lap_of_its_own():
    some = tuple(lap for lap in laps() if lap.epoch != 2)
    assert [at is None for at in elapsed(trial(laps=some), "strict").values()] == [False, True, True]


def test_the_old_name_of_a_protocol_is_accepted_with_one_line(capsys):
    assert parse("record") == "strict"
    assert capsys.readouterr().err == "note: the protocol 'record' is now called 'strict'\n"
    assert find_protocol("record") is PROTOCOLS["strict"]
    assert parse("strict") == "strict"
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="protocol='mlperf' is unknown"):
        parse("mlperf")
