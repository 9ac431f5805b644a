"""When a comparison is decided: at looks alone, once, and not while more trials may help."""

import io

import pytest
from rich.console import Console

from bench.training.live_view import TrialLines
from bench.training.looks import Looks
from pipelines.distributed.process_group import World
from results import store
from results.record import Lap, Plan
from tests.results import builders


class TwoRuns:
    """Two runs of so many trials, the second of which takes `factor` times as long, and the looks at them."""

    def __init__(self, folder, factor=1.0, limits=None, trials=(16, 16)):
        plan = Plan(looks=(16, 24, 40), limits=limits or {})
        self.shown = io.StringIO()
        view = TrialLines(Console(file=self.shown, width=200))
        self.looks = Looks(plan, "strict", ["recipe"], World(), view)
        self.directories = []
        for number, (slower, count) in enumerate(zip((1.0, factor), trials, strict=True)):
            given = {"id": f"abcd123{number}", "interleaved": "both", "plan": plan, "seeds": list(range(40))}
            directory = store.create(folder, builders.record(recipe_name=f"of{number}", **given))
            for seed in range(count):
                seconds = slower * (1 + 0.001 * ((number + 1) * seed % 5))
                laps = tuple(Lap(name="train", epoch=epoch, seconds=seconds) for epoch in (1, 2, 3))
                accuracy = 0.95 + 0.0001 * (seed % 3)
                directory.append(builders.trial(seed, laps=laps, accuracy=accuracy, steps=1, samples=1))
            self.looks.opened(directory)
            self.directories.append(directory)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "same"), (1.1, "worse"), (0.9, "better")])
def test_training_ends_at_a_look_that_decides_everything(tmp_path, factor, verdict):
    runs = TwoRuns(tmp_path, factor)
    assert runs.looks.is_over(16)
    assert runs.shown.getvalue() == (
        f"of0 → of1: look 1 of 3, 16 of 40 trials; level 0.079%: time {verdict}, time-to-target {verdict}, "
        "accuracy same; training ends\n"
    )


def test_one_metric_that_is_undecided_keeps_training_on(tmp_path):
    runs = TwoRuns(tmp_path, 1.0195)
    assert not runs.looks.is_over(16)
    assert "accuracy same\n" in runs.shown.getvalue()
    assert TwoRuns(tmp_path / "named", 1.0195, {"accuracy": 0.001}).looks.is_over(16)


def test_the_limits_of_the_plan_count(tmp_path):
    assert TwoRuns(tmp_path, 1.0195, {"time": 0.05}).looks.is_over(16)


def test_a_metric_that_a_side_has_not_yet_may_still_come(tmp_path):
    assert not TwoRuns(tmp_path, limits={"energy": 0.05}).looks.is_over(16)


def test_it_is_looked_at_planned_looks_only_and_once(tmp_path):
    runs = TwoRuns(tmp_path, 2.0, trials=(24, 24))
    assert [trials for trials in range(-4, 41) if runs.looks.is_over(trials)] == [24]
    assert runs.looks.is_over(24)
    assert runs.shown.getvalue().count("look 2 of 3, 24 of 40 trials") == runs.shown.getvalue().count("look ") == 1


def test_resumed_runs_of_unequal_trials_are_past_the_look(tmp_path):
    runs = TwoRuns(tmp_path, 2.0, trials=(17, 16))
    assert not runs.looks.is_over(16)
    assert runs.shown.getvalue() == ""


def test_a_run_that_stopped_asks_for_no_more_trials(tmp_path):
    first, _ = TwoRuns(tmp_path).directories
    first.stop()
    first.finish("finished")
    found = store.read(first.path)
    assert (found.record.seeds, found.missing_seeds, found.record.status) == (list(range(16)), [], "finished")
