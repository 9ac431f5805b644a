"""bench/gate.py as its caller sees it: doctored records trip it, and it writes what it says it writes."""

import contextlib
import json
import re
import shutil
import sys
from xml.etree import ElementTree

import pytest

from bench import gate
from bench.command_line import jobs
from bench.training.launch import LaunchError
from results import store
from results.record import Lap
from tests.bench.conftest import ROOT
from tests.bench.test_compare import STEADY, keep
from tests.results.builders import record, throttled, trial


@pytest.fixture
def baseline(tmp_path):
    for night in (1.0, 1.002, 0.998, 1.001, 0.999):
        keep(tmp_path / "baseline", night, STEADY * 2)
    return tmp_path / "baseline"


def doctored(tmp_path, factor, name="new"):
    """A run of the same recipe all of whose laps were made longer."""
    return keep(tmp_path / name, factor, STEADY * 2)


@pytest.mark.parametrize(("factor", "status"), [(1.0, 0), (1.05, 1), (0.9, 0)])
def test_a_doctored_record_trips_it(tmp_path, baseline, factor, status, capsys):
    assert gate.main([str(baseline), "--new", str(doctored(tmp_path, factor))]) == status
    assert ("worse: without a confirmation run" in capsys.readouterr().out) == bool(status)


def test_json_has_an_object_per_verdict_and_nothing_else(tmp_path, baseline, capsys):
    assert gate.main([str(baseline), "--new", str(doctored(tmp_path, 1.05)), "--json"]) == 1
    (verdict,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (verdict["recipe"], verdict["metric"], verdict["decision"]) == ("cifar10/airnet", "time", "worse")
    assert verdict["change"] == pytest.approx(1.05, rel=0.01)
    assert verdict["low"] < verdict["change"] < verdict["high"]


def test_json_says_what_else_changed_and_in_which_lap_the_time_is(tmp_path, baseline, capsys):
    environment = {"machine_class": "NVIDIA H200", "versions": {"torch": "2.14.0"}}
    new = keep(tmp_path / "new", 1.05, STEADY * 2, environment=environment)
    assert gate.main([str(baseline), "--new", str(new), "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["notes"] == ["also changed: torch 2.13.0 → 2.14.0"]
    assert verdict["reason"] == "without a confirmation run, +5.0% of the +5.0% in train"


def test_a_missing_recipe_is_named_and_no_pass(tmp_path, baseline, capsys):
    keep(tmp_path / "baseline", 1.0, STEADY * 2, name="cifar10/other")
    assert gate.main([str(baseline), "--new", str(doctored(tmp_path, 1.0)), "--json"]) == 2
    found = {one["recipe"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert found["cifar10/airnet"]["decision"] == "passed"
    assert (found["cifar10/other"]["decision"], found["cifar10/other"]["new"]) == ("missing", None)


def test_an_improvement_is_reported(tmp_path, baseline, capsys):
    new = str(doctored(tmp_path, 0.9))
    assert gate.main([str(baseline), "--new", new, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["decision"] == "better"
    assert gate.main([str(baseline), "--new", new]) == 0
    assert "Better: cifar10/airnet time -10.0%" in " ".join(capsys.readouterr().out.split())


def test_an_entry_of_a_suite_has_limits_of_its_own(tmp_path, baseline):
    words = [str(baseline), "--new", str(doctored(tmp_path, 1.05)), "--suite", str(tmp_path / "mine.yaml")]
    (tmp_path / "mine.yaml").write_text("- {recipe: cifar10/airnet, trials: 16, fail_on: [time:8%]}\n")
    assert gate.main(words) == 0
    (tmp_path / "mine.yaml").write_text("- {recipe: cifar10/airnet, trials: 16}\n")
    assert gate.main(words) == 1


def test_a_training_gets_the_options_that_concern_it(tmp_path):
    words = [
        "baseline",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--data-dir",
        str(tmp_path),
        "--launcher",
        "accelerate launch",
    ]
    launch = gate.launch(gate.parse(words), tmp_path / "out", "--suite", "nightly")
    passed = jobs.parse(list(launch.arguments))
    assert (passed.device, passed.threads, passed.data_dir, passed.suite) == ("cpu", 1, tmp_path, "nightly")
    assert passed.out == tmp_path / "out"
    assert launch.launcher == ("accelerate", "launch")


def test_this_python_may_be_in_a_folder_with_a_space(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/Users/Jane Doe/bin/python")
    launch = gate.launch(gate.parse(["baseline"]), tmp_path)
    assert launch.launcher == ("/Users/Jane Doe/bin/python",)


def test_reports_are_written(tmp_path, baseline, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    files = ["--junit", str(tmp_path / "gate.xml"), "--benchmark-json", str(tmp_path / "gate.json")]
    assert gate.main([str(baseline), "--new", str(doctored(tmp_path, 1.05)), *files]) == 1
    assert (tmp_path / "summary.md").read_text().startswith("before\n**gate**")
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("failures") == "1"
    (entry,) = json.loads((tmp_path / "gate.json").read_text())
    assert entry["value"] == pytest.approx(1.05, rel=0.01)


@pytest.mark.parametrize("option", ["--summary", "--junit", "--benchmark-json"])
def test_the_folder_of_a_report_must_be_there_before_anything_trains(tmp_path, baseline, monkeypatch, capsys, option):
    monkeypatch.setattr(gate, "train", lambda *arguments: pytest.fail("trained"))
    file = tmp_path / "nowhere" / "report"
    assert gate.main([str(baseline), option, str(file)]) == 2
    assert f"{option} {file}: there is no folder {file.parent}: make it first" in capsys.readouterr().err


@pytest.mark.parametrize(("factor", "status"), [(1.05, 1), (1.0, 2)])
def test_a_report_that_cannot_be_written_does_not_hide_the_verdict(tmp_path, baseline, capsys, factor, status):
    (tmp_path / "gate.xml").mkdir()
    new = str(doctored(tmp_path, factor))
    assert gate.main([str(baseline), "--new", new, "--junit", str(tmp_path / "gate.xml")]) == status
    said = capsys.readouterr()
    assert "cifar10/airnet" in said.out
    assert "bench/gate.py: error: [Errno 21] Is a directory" in said.err


def test_a_report_that_cannot_be_written_holds_up_no_other(tmp_path, baseline):
    (tmp_path / "summary").mkdir()
    files = ["--summary", str(tmp_path / "summary"), "--junit", str(tmp_path / "gate.xml")]
    assert gate.main([str(baseline), "--new", str(doctored(tmp_path, 1.05)), *files]) == 1
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("failures") == "1"


@pytest.mark.parametrize(("undecided", "status"), [("fail", 2), ("ok", 0)])
def test_a_night_without_a_decision_is_a_failure_or_a_warning(tmp_path, monkeypatch, capsys, undecided, status):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    one = keep(tmp_path / "baseline", 1.0, STEADY * 2)
    words = [str(one), "--new", str(doctored(tmp_path, 1.05)), "--undecided", undecided]
    assert gate.main(words) == status
    said = capsys.readouterr().err
    assert said.startswith("::warning title=gate unstable::cifar10/airnet: time ")
    warning = "warning: no decision on cifar10/airnet; the exit status is 0 because of --undecided ok"
    assert (warning in said) == (status == 0)


def test_a_regression_fails_whatever_undecided_says(tmp_path, baseline, capsys):
    assert gate.main([str(baseline), "--new", str(doctored(tmp_path, 1.05)), "--undecided", "ok"]) == 1


@pytest.mark.parametrize(("again", "status"), [(1.05, 1), (1.0, 0)])
def test_a_suspected_regression_is_confirmed(tmp_path, baseline, monkeypatch, again, status):
    asked = []

    def train(given, out, *what):
        asked.append(what)
        shutil.copytree(doctored(tmp_path, 1.05 if what[0] == "--suite" else again, f"made{len(asked)}").parent, out)

    monkeypatch.setattr(gate, "train", train)
    (tmp_path / "mine.yaml").write_text("- {recipe: cifar10/airnet, trials: 16}\n")
    suite = str(tmp_path / "mine.yaml")
    assert gate.main([str(baseline), "--suite", suite, "--out", str(tmp_path / "runs")]) == status
    assert asked == [("--suite", suite), ("cifar10/airnet", "--trials", "16", "--seed", "16")], "other seeds"


OTHER = "cifar10/other"
"""a recipe of the suite that does not train"""


@pytest.fixture
def suite(tmp_path):
    """Two recipes, of which the baseline has runs too."""
    for night in range(5):
        keep(tmp_path / "baseline", 1 + night / 1000, STEADY * 2, name=OTHER)
    path = tmp_path / "mine.yaml"
    path.write_text("".join(f"- {{recipe: {name}, trials: 16}}\n" for name in ("cifar10/airnet", OTHER)))
    return str(path)


def decisions(capsys):
    """By recipe, as JSON has them, and what was said on standard error."""
    said = capsys.readouterr()
    return {one["recipe"]: one["decision"] for one in map(json.loads, said.out.splitlines())}, said.err


def test_a_recipe_that_does_not_train_hides_no_other_verdict(tmp_path, baseline, suite, monkeypatch, capsys):
    """It left a run of fewer trials than were asked for, and these are not judged."""

    def train(given, out, *what):
        print("a node has died, says Ray")
        keep(out, 1.05, STEADY * 2)
        if what[0] == "--suite":
            run = store.create(out, record(id="lost", recipe_name=OTHER, seeds=[0, 1]))
            run.append(trial(0, epochs=(), laps=[Lap(name="train", epoch=1, seconds=1.0)]))
            run.finish("failed", "it broke")
            raise LaunchError("bench/run.py ended with status 2")

    monkeypatch.setattr(gate, "train", train)
    assert gate.main([str(baseline), "--suite", suite, "--out", str(tmp_path / "runs"), "--json"]) == 1
    found, said = decisions(capsys)
    assert found == {"cifar10/airnet": "worse", OTHER: "missing"}
    assert "warning: bench/run.py ended with status 2\n" in said


def test_a_recipe_that_does_not_train_is_no_night_without_a_decision(tmp_path, baseline, suite, monkeypatch, capsys):
    monkeypatch.setattr(gate, "train", lambda given, out, *what: keep(out, 1.0, STEADY * 2))
    words = [str(baseline), "--suite", suite, "--out", str(tmp_path / "runs"), "--json", "--undecided", "ok"]
    assert gate.main(words) == 2
    found, said = decisions(capsys)
    assert found == {"cifar10/airnet": "passed", OTHER: "missing"}
    assert "--undecided" not in said


def test_gates_that_start_at_once_record_apart(tmp_path):
    given = gate.parse(["baseline", "--out", str(tmp_path)])
    assert gate.folder_of(given) != gate.folder_of(given)


def test_a_confirmation_run_that_fails_decides_nothing(tmp_path, baseline, suite, monkeypatch, capsys):
    def train(given, out, *what):
        if what[0] != "--suite":
            raise LaunchError("bench/run.py ended with status 2")
        keep(out, 1.05, STEADY * 2)
        keep(out, 1.0, STEADY * 2, name=OTHER)

    monkeypatch.setattr(gate, "train", train)
    assert gate.main([str(baseline), "--suite", suite, "--out", str(tmp_path / "runs"), "--json"]) == 2
    assert decisions(capsys)[0] == {"cifar10/airnet": "undecided", OTHER: "passed"}


def test_recipes_behind_one_that_ends_the_process_are_trained_by_themselves(
    tmp_path, baseline, suite, monkeypatch, capsys
):
    asked = []

    def train(given, out, *what):
        asked.append(what)
        if what[0] == "--suite":
            store.create(out, record(recipe_name="cifar10/airnet")).finish("failed", "CUDA out of memory")
            raise LaunchError("bench/run.py ended with status 3")
        keep(out, 1.05, STEADY * 2, name=what[0])

    monkeypatch.setattr(gate, "train", train)
    assert gate.main([str(baseline), "--suite", suite, "--out", str(tmp_path / "runs"), "--json"]) == 1
    assert decisions(capsys)[0] == {"cifar10/airnet": "missing", OTHER: "worse"}
    assert asked[:2] == [("--suite", suite), (OTHER, "--trials", "16")]


def test_a_suite_that_does_not_train_at_all_is_an_error(tmp_path, baseline, suite, monkeypatch, capsys):
    def train(given, out, *what):
        raise LaunchError("bench/run.py ended with status 2")

    monkeypatch.setattr(gate, "train", train)
    assert gate.main([str(baseline), "--suite", suite, "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[:-1] == ["warning: bench/run.py ended with status 2"] * 3, "the suite, and each recipe"
    assert said[-1] == f"bench/gate.py: error: --suite {suite}: no recipe could be trained"


def test_a_recipe_that_the_baseline_lacks_is_named_before_anything_trains(tmp_path, baseline, monkeypatch, capsys):
    monkeypatch.setattr(gate, "train", lambda *arguments: pytest.fail("trained"))
    (tmp_path / "mine.yaml").write_text("- {recipe: cifar10/airnet, trials: 2}\n- {recipe: mnist/base, trials: 2}\n")
    assert gate.main([str(baseline), "--suite", str(tmp_path / "mine.yaml")]) == 2
    assert "the baseline has no run of mnist/base: train it 5 times" in capsys.readouterr().err


def test_a_side_that_does_not_train_hides_no_verdict_on_the_others(tmp_path, suite, monkeypatch, capsys):
    trained = []

    @contextlib.contextmanager
    def sides(given, checkouts):
        def train(recipe, seeds, folders):
            trained.append((recipe, seeds))
            keep(folders["accepted"], 1.0, STEADY * 2, name=recipe)
            if recipe == OTHER:
                raise LaunchError("bench/run.py ended with status 3")
            keep(folders["new"], 1.05, STEADY * 2, name=recipe)

        yield train

    monkeypatch.setattr(gate, "both_sides_trained", sides)
    assert gate.main(["--against", str(ROOT), "--suite", suite, "--out", str(tmp_path / "runs"), "--json"]) == 1
    found, said = decisions(capsys)
    assert found == {"cifar10/airnet": "worse", OTHER: "missing"}
    assert "warning: bench/run.py ended with status 3\n" in said
    assert trained == [("cifar10/airnet", range(16)), ("cifar10/airnet", range(16, 32)), (OTHER, range(16))]


def test_until_decided_trains_more_of_both_sides_only_where_a_look_does_not_decide(
    tmp_path, suite, monkeypatch, capsys
):
    trained = []

    @contextlib.contextmanager
    def sides(given, checkouts):
        def train(recipe, seeds, folders):
            trained.append((recipe, len(seeds)))
            number = f"together{len(trained)}"
            times = [STEADY[seed % 8] * (1.5 if recipe == OTHER and seed % 2 else 1.0) for seed in seeds]
            for side, factor in (("accepted", 1.0), ("new", 1.0 if recipe == OTHER else 1.05)):
                times = times[::-1] if side == "new" and recipe == OTHER else times
                keep(folders[side], factor, times, name=recipe, interleaved=number)

        yield train

    monkeypatch.setattr(gate, "both_sides_trained", sides)
    words = ["--suite", suite, "--out", str(tmp_path / "runs"), "--trials", "40", "--until-decided", "--json"]
    assert gate.main(["--against", str(ROOT), *words]) == 1
    found = {one["recipe"]: one for one in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name: (one["decision"], one["trials"]) for name, one in found.items()} == {
        "cifar10/airnet": ("worse", 16),
        OTHER: ("passed", 32),
    }
    assert trained == [("cifar10/airnet", 16)] * 2 + [(OTHER, 16), (OTHER, 8), (OTHER, 8)]
    assert "stopped at look 1 of 4, 16 of 40 trials; level 0.079%" in found["cifar10/airnet"]["notes"]


def test_a_plan_needs_trials_for_two_looks(tmp_path, suite, monkeypatch, capsys):
    monkeypatch.setattr(gate, "both_sides_trained", lambda *arguments: pytest.fail("trained"))
    words = ["--against", str(ROOT), "--suite", suite, "--out", str(tmp_path / "runs"), "--until-decided"]
    assert gate.main([*words, "--trials", "7"]) == 2
    assert "--trials 7: too few for two looks: give 8 or more" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_the_accepted_side_may_be_started_differently(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("- {recipe: digits/short, trials: 3}\n")
    out, launcher = tmp_path / "runs", f"env MALLOC_ARENA_MAX=3 {sys.executable}"
    words = ["--suite", str(tmp_path / "mine.yaml"), "--threads", "1", "--out", str(out), "--json"]
    gate.main(["--against", str(ROOT), "--against-launcher", launcher, *words])
    found = {run.path.parent.name: run for run in store.find([out / "gate-*" / "*" / "*"])}
    variables = {side: run.record.environment.variables.get("MALLOC_ARENA_MAX") for side, run in found.items()}
    assert variables == {"accepted": "3", "new": None}
    (verdict,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert verdict["notes"] == ["also changed: MALLOC_ARENA_MAX 3 → unset"]


def test_a_training_that_fails_is_no_pass(tmp_path, baseline, capsys):
    (tmp_path / "mine.yaml").write_text("- {recipe: cifar10/airnet, trials: 16}\n")
    words = ["--suite", str(tmp_path / "mine.yaml"), "--launcher", "false", "--out", str(tmp_path / "runs")]
    assert gate.main([str(baseline), *words]) == 2
    assert re.search(r"false .*bench/run\.py .* ended with status 2", capsys.readouterr().err)


def test_two_files_of_one_name_are_refused(tmp_path, baseline, capsys):
    """Their records have the name alone."""
    path = tmp_path / "mine.yaml"
    path.write_text("- {recipe: a/lr.yaml, trials: 2}\n- {recipe: b/lr.yaml, trials: 2}\n")
    assert gate.main([str(baseline), "--suite", str(path)]) == 2
    assert "a/lr.yaml and b/lr.yaml are both recorded as lr: rename one" in capsys.readouterr().err


def test_a_suite_that_is_not_there_is_refused(tmp_path, baseline, capsys):
    assert gate.main([str(baseline), "--suite", "nowhere", "--out", str(tmp_path / "runs")]) == 2
    assert "bench/gate.py: error: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nowhere"], ["nowhere", "--new", "nothing"], [".", "--fail-on", "time"]])
def test_what_is_missing_is_status_2(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert gate.main(arguments) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either a baseline or --against"),
        (["baseline", "--against", "."], "give either a baseline or --against"),
        (["--against", ".", "--new", "runs"], "give one of them"),
        (["baseline", "--trials", "3"], "--trials needs --against"),
        (["baseline", "--checkout", "."], "--checkout needs --against"),
        (["baseline", "--until-decided"], "--until-decided needs --against"),
        (["--against", ".", "--accept", "run"], "--accept changes the baseline and judges nothing"),
        (["baseline", "--accept", "run", "--new", "runs"], "--accept changes the baseline and judges nothing"),
        (["baseline", "--accept", "run", "--junit", "a.xml"], "and judges nothing: leave out --junit"),
        (["baseline", "--accept", "run", "--fail-on", "time:2%"], "and judges nothing: leave out --fail-on"),
        (["baseline", "--accept", "run", "--launcher", "x"], "and judges nothing: leave out --launcher"),
        (["baseline", "--new", "runs", "--threads", "2"], "--new trains nothing: leave out --threads"),
        (["baseline", "--new", "runs", "--launcher", "x"], "--new trains nothing: leave out --launcher"),
        (["baseline", "--new", "runs", "--out", "x"], "--new trains nothing: leave out --out"),
        (["--against", ".", "--trials", "0"], "must be at least 1"),
        (["--against", ".", "--launcher", "'x"], 'argument --launcher: "\'x": No closing quotation'),
        (["baseline", "--cluster", "auto"], "--cluster needs --against"),
        (["--against", ".", "--cluster", "auto", "--launcher", "x"], "leave one of them out"),
        (["--against", ".", "--cluster", "auto", "--against-launcher", "x"], "leave one of them out"),
        (["baseline", "--against-launcher", "x"], "--against-launcher needs --against"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys, words, message):
    with pytest.raises(SystemExit) as refused:
        gate.main(words)
    assert refused.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--against", "--checkout"])
def test_another_checkout_must_be_one(tmp_path, monkeypatch, capsys, option):
    monkeypatch.setattr(gate, "Children", lambda: pytest.fail("trained"))
    words = {"--against": str(gate.ROOT)} | {option: str(tmp_path)}
    assert gate.main([word for pair in words.items() for word in pair]) == 2
    error = capsys.readouterr().err
    assert f"{option} {tmp_path}: no checkout of a Paceline whose trials can be interleaved" in error


def test_throttled_trials_can_be_left_out(tmp_path, baseline, capsys):
    folder = tmp_path / "new"
    keep(folder, 1.0, STEADY * 2)
    run = store.create(folder, record(id="hot0", seeds=[0]))
    run.append(throttled(0, epochs=(), laps=[Lap(name="train", epoch=1, seconds=9.0)]))
    arguments = [str(baseline), "--new", str(folder)]
    gate.main(arguments)
    assert "†" in capsys.readouterr().out
    assert gate.main([*arguments, "--discard-throttled"]) == 0
    said = capsys.readouterr()
    assert "†" not in said.out
    assert "1 of 1 trials are left out: throttled" in said.err
