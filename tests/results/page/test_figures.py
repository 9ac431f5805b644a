"""Figures: what plotly is given, from planted runs."""

import pytest

from results.page import figures
from results.page.chart import BY_PROTOCOL, compact, merged, plain, resolved
from results.page.history import thinned
from results.protocols import PROTOCOLS, total_seconds
from results.record import Lap, Run
from results.scaling import curves as scaling_curves
from tests.results import builders
from tests.results.page.planted import HOSTILE, processes, run

COLOURS = {"c0": "#000000", "line": "#eeeeee"}


def test_a_figure_is_resolved_for_one_protocol_and_one_theme():
    value = {"y": {BY_PROTOCOL: {"strict": [1, None], "cold": [2]}}, "line": {"color": "var(--c0)"}, "name": "var(x)"}
    assert resolved(value, "strict", COLOURS) == {"y": [1, None], "line": {"color": "#000000"}, "name": "var(x)"}
    assert resolved(value, "dawnbench", COLOURS)["y"] is None


def test_groups_are_merged_and_other_values_replaced():
    assert merged({"a": {"x": 1, "y": 2}, "b": [1]}, {"a": {"y": 3}, "b": [2], "c": 4}) == {
        "a": {"x": 1, "y": 3},
        "b": [2],
        "c": 4,
    }


def test_plotly_reads_no_markup_in_a_name():
    assert not set("<>%$") & set(plain(HOSTILE))
    assert plain("a & b") == "a &#38; b"


def test_a_curve_is_a_line_a_trial_with_its_first_epoch_at_the_target_marked():
    (first, second) = figures.curves(run(trials=2), ["strict", "dawnbench"])
    assert first["y"] == [50.0, 94.0, 95.0]
    assert first["customdata"] == [1, 2, 3]
    assert first["marker"]["size"] == [3, 7, 3]
    assert set(first["x"][BY_PROTOCOL]) == {"strict", "dawnbench"}
    assert (first["style"], first["showlegend"], second["showlegend"]) == ("trial", True, False)


def test_three_trials_have_a_median_curve():
    traces = figures.curves(run(trials=3), ["strict"])
    assert [trace["style"] for trace in traces] == ["faint"] * 3 + ["middle"]
    assert traces[-1]["x"] == traces[0]["x"]
    assert traces[-1]["y"] == traces[0]["y"]


def test_trials_that_were_evaluated_at_other_epochs_have_none():
    short = builders.trial(2, epochs=builders.trial().epochs[:2])
    one = run(trials=2)
    traces = figures.curves(Run(one.record, (*one.trials, short), one.path), ["strict"])
    assert [trace["style"] for trace in traces] == ["trial"] * 3


@pytest.mark.parametrize("trials", [1, 3])
def test_an_unknown_time_is_left_out_of_a_curve(trials):
    traces = figures.curves(run(trials=trials), list(PROTOCOLS))
    assert traces
    for trace in traces:
        assert "cold" not in trace["x"][BY_PROTOCOL]


def test_laps_are_means_over_the_trials_that_have_them():
    first, second = run().trials
    second = second.model_copy(update={"laps": tuple(lap for lap in second.laps if lap.name != "load")})
    laps = figures.laps([first, second])
    assert laps["load"] == [1, "1.000"]
    assert laps["train"] == [222_000, "222,000"]
    assert "total" not in laps


def test_the_lap_of_a_command_is_what_is_left_beside_the_laps_it_reported():
    one = builders.trial(laps=[Lap(name="command", seconds=60.0), Lap(name="train", epoch=1, seconds=50.0)])
    assert figures.laps([one]) == {"command": [10, "10.00"], "train": [50, "50.00"]}


@pytest.mark.parametrize(
    ("lap", "protocol", "shape"),
    [
        ("train", "strict", ""),
        ("compile", "strict", "/"),
        ("compile", "cold", ""),
        ("command", "strict", ""),
        ("command", "airbench", "/"),
    ],
)
def test_what_the_protocol_leaves_out_is_hatched(lap, protocol, shape):
    bar = resolved(figures.lap_bars()[figures.LAPS.index(lap)], protocol, COLOURS)
    assert (bar["name"], bar["marker"]["pattern"]["shape"]) == (lap, shape)


def test_a_waterfall_leaves_out_steps_without_a_time():
    steps = [("a/00-a", "start"), ("a/01-b", "<b>"), ("a/02-c", "last")]
    figure = figures.waterfall(steps, {BY_PROTOCOL: {"strict": [8.0, None, 2.0], "cold": [None, None, 2.0]}}, "total s")
    (trace,) = resolved(figure, "strict", COLOURS)["data"]
    assert trace["y"] == [8.0, -6.0, 2.0]
    assert trace["measure"] == ["absolute", "relative", "total"]
    assert trace["text"] == ["8.000", "-75.0%", "2.000"]
    assert resolved(figure, "strict", COLOURS)["layout"]["xaxis"]["ticktext"] == ["00-a", "02-c", "all steps"]
    assert resolved(figure, "cold", COLOURS)["data"][0]["y"] is None, "one time is no waterfall"


def test_scaling_draws_medians_trials_and_proportion_of_each_kind():
    runs = [processes(0, 1), processes(1, 2), processes(2, 2, batch=1024)]
    figure = resolved(figures.scaling(scaling_curves(runs))["total"], "strict", COLOURS)
    names = [trace["name"] for trace in figure["data"] if "name" in trace]
    assert names == ["strong, DDP", "weak, DDP"]
    medians, trials, ideal = figure["data"][:3]
    assert medians["x"] == ideal["x"] == [1, 2]
    assert medians["y"][0] == pytest.approx(total_seconds(runs[0].trials[0], "strict"), rel=1e-4)
    assert ideal["y"][1] == pytest.approx(medians["y"][0] / 2, rel=1e-4)
    assert trials["x"] == [1, 1, 2, 2]


def test_samples_are_thinned_to_evenly_spaced_order_statistics():
    assert thinned([3, 1, 2], 5) == [3, 1, 2]
    assert thinned([9, 0, 5, 1, 7, 3, 8, 2, 6, 4, 10], 3) == [0, 5, 10]


def test_what_is_alike_under_every_protocol_is_written_once():
    both = {"x": {"$protocol": {"strict": [1], "cold": [1]}}, "y": {"$protocol": {"strict": [1], "cold": [2]}}}
    assert compact(both) == {"x": [1], "y": both["y"]}
