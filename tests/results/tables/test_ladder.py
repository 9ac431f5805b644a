"""A ladder: the gain of each step over the one before, and the published figures beside it."""

from pathlib import Path

import pytest

from results.literature import published
from results.record import Lap, Run
from results.tables.ladder import gains, ladder_table
from tests.results.builders import missed, record, trial


def step(name, seconds, make=trial, trials=3, machine="NVIDIA H200", **recipe):
    laps = [Lap(name="train", epoch=epoch, seconds=seconds) for epoch in (1, 2, 3)]
    given = {"epochs": 3.0, "change": f"change of {name}"} | recipe
    made = record(recipe_name=name, recipe=given, environment={"machine_class": machine})
    return Run(made, tuple(make(seed, laps=laps) for seed in range(trials)), Path("runs"))


def rows(*runs):
    table = ladder_table(runs, "strict")
    return table.headers, [list(row) for row in table.rows]


def test_each_step_shows_its_change_times_and_gain():
    headers, (first, second) = rows(step("a/ladder/00-a", 2.0), step("a/ladder/01-b", 1.0))
    assert headers[:5] == ("step", "change", "epochs", "accuracy %", "reached")
    assert headers[5:9] == ("total s", "gain", "s per epoch", "gain")
    assert first[:9] == [
        "a/ladder/00-a",
        "change of a/ladder/00-a",
        "3",
        "95.00",
        "3 of 3",
        "6.000",
        "–",
        "2.000",
        "–",
    ]
    assert second[5:9] == ["3.000", "-50.0%", "1.000", "-50.0%"]


def test_a_step_that_misses_its_target_has_the_time_of_an_epoch_alone():
    _, (first, second, third) = rows(
        step("a/ladder/00-a", 2.0), step("a/ladder/01-b", 1.0, make=missed), step("a/ladder/02-c", 0.5)
    )
    assert first[5] == "6.000"
    assert second[4:9] == ["0 of 3", "–", "–", "1.000", "-50.0%"]
    assert third[5:9] == ["1.500", "–", "0.5000", "-50.0%"]


def test_a_step_on_part_of_the_images_shows_how_many_and_no_accuracy():
    _, (part, whole) = rows(
        step("a/ladder/00-a", 2.0, make=missed, data={"limit": 2048}), step("a/ladder/01-b", 1.0, data={"limit": None})
    )
    assert part[3:9] == ["–", "–", "–", "–", "2.000 (2,048 images)", "–"]
    assert whole[3:5] == ["95.00", "3 of 3"]
    assert whole[7:9] == ["1.000", "–"]


def test_published_figures_stand_beside_it_as_their_source_gives_them():
    name = "cifar10/ladder/02-preprocess-once"
    figure = published()[name]
    _, (ours, none) = rows(step(name, 1.0), step("a/ladder/00-a", 1.0))
    assert ours[9:11] == [f"{100 * figure.accuracy:g}", f"{figure.seconds:g} ({figure.hardware})"]
    assert none[9:11] == ["–", "–"]
    assert ours[11] == record().commit[:7]


def test_a_step_without_a_trial_or_epochs_is_a_row_of_dashes():
    _, (row,) = rows(step("a/ladder/00-a", 1.0, trials=0, epochs=None))
    assert row[2:9] == ["–"] * 7


def test_gains_need_both_values():
    assert gains([2.0, 1.0, None, 4.0, 5.0], [None] * 5) == ["–", "-50.0%", "–", "–", "+25.0%"]


def test_gains_need_the_same_conditions():
    assert gains([2.0, 1.0, 3.0, 6.0], [2048, 2048, None, None]) == ["–", "-50.0%", "–", "+100.0%"]


def test_steps_on_unlike_machines_have_no_gain():
    machines = ("NVIDIA H200", "NVIDIA A100", "NVIDIA A100")
    _, shown = rows(*(step(f"a/ladder/0{n}", 2.0 - n / 2, machine=machine) for n, machine in enumerate(machines)))
    assert [row[6] for row in shown] == [row[8] for row in shown] == ["–", "–", "-33.3%"]


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="unknown"):
        ladder_table([step("a/ladder/00-a", 1.0)], "none")
