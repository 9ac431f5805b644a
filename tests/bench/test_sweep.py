"""bench/sweep.py: how a machine is shared, what is launched, and recipes that really train at the same time."""

import json
import os
import signal
import sys
import time

import pytest

from bench import sweep
from bench.command_line import jobs
from bench.sweep import Place, places
from bench.training.events import Message, RunRecorded
from bench.training.launch import Children
from pipelines.host import runtime
from results import store
from tests.bench.conftest import ROOT, SMALL, launch, wait
from tests.results import builders

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")


def command(*arguments, cwd):
    return wait(launch(ROOT / "bench" / "sweep.py", *arguments, "--device", "cpu", cwd=cwd))


def test_cores_are_shared_equally_and_each_has_a_gpu_of_its_own():
    assert places(2, [0, 1, 2, 3], []) == [Place((0, 1)), Place((2, 3))]
    assert places(2, [4, 5, 6, 7, 8], ["GPU-a", "GPU-b", "GPU-c"]) == [Place((4, 5), "GPU-a"), Place((6, 7), "GPU-b")]


@pytest.mark.parametrize(
    ("cores", "gpus", "message"), [([0], [], "there are 1 cores"), ([0, 1, 2], ["GPU-a"], "each needs a GPU")]
)
def test_what_is_too_little_to_share_is_refused(cores, gpus, message):
    with pytest.raises(ValueError, match=message):
        places(2, cores, gpus)


def test_a_launch_is_given_every_option_that_concerns_one_recipe(tmp_path):
    words = ["digits/*", "epochs=2", "--seed", "3", "--trials", "5", "--smoke-test", "--track", "--threads", "1"]
    words += ["--protocol", "cold", "--out", str(tmp_path), "--data-dir", str(tmp_path)]
    given = sweep.parse(words)
    launches = sweep.planned(given)
    passed = [jobs.parse(list(one.arguments)) for one in launches]
    assert [one.words for one in passed] == [["digits/quick", "epochs=2"], ["digits/short", "epochs=2"]]
    shared = ("trials", "seed", "smoke_test", "track", "threads", "protocol", "out", "data_dir", "device")
    assert all(getattr(one, name) == getattr(given, name) for one in passed for name in shared)
    assert launches[0].variables == {runtime.AT_A_TIME: "2"}


def test_a_suite_says_how_many_trials(tmp_path):
    (tmp_path / "suite.yaml").write_text("- {recipe: digits/quick, trials: 4}\n")
    (one,) = sweep.planned(sweep.parse(["--suite", str(tmp_path / "suite.yaml")]))
    assert jobs.parse(list(one.arguments)).trials == 4


@pytest.mark.parametrize("option", ["--interleave", "--folds=3", "--energy", "--profile", "--quiet"])
def test_an_option_that_does_not_apply_does_not_exist(capsys, option):
    with pytest.raises(SystemExit) as leaving:
        sweep.parse(["digits/quick", option])
    assert leaving.value.code == 2
    assert f"unrecognized arguments: {option.partition('=')[0]}" in capsys.readouterr().err


def test_a_wrong_recipe_is_refused_before_anything_is_launched(capsys, monkeypatch):
    monkeypatch.setattr(Children, "start", lambda *arguments: pytest.fail("launched"))
    assert sweep.main(["digits/quick", "mnist/base", "nosuch=1", "--concurrent", "2", "--device", "cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "5"], "--timeout needs --workers or --cluster"),
        (["--workers", "2", "--cluster", "auto"], "give one of them"),
        (["--workers", "2", "--concurrent", "2"], "--concurrent does not work with"),
        (["--workers", "2", "--track"], "--track does not work with"),
        (["--cluster", "auto", "--device", "cuda:1"], "Ray chooses the GPU"),
        (["--cluster", "auto", "--gpu-share", "0.5"], "--shared allows it"),
        (["--cluster", "auto", "--shared"], "--shared needs --gpu-share"),
        (["--cluster", "auto", "--shared", "--gpu-share", "0.5", "--processes", "2"], "leave --processes out"),
    ],
)
def test_options_of_ray_that_mean_nothing_are_refused(capsys, words, message):
    with pytest.raises(SystemExit) as leaving:
        sweep.parse(["digits/quick", *words])
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err


def per_process(words, *nodes):
    return sweep.per_process(sweep.parse(["digits/quick", *words]), nodes)


def test_every_process_has_the_same_threads_on_all_nodes():
    small, large = {"CPU": 8.0}, {"CPU": 32.0}
    gpus = {"CPU": 64.0, "GPU": 8.0}
    assert per_process(["--cluster", "auto"], {}, small, large) == (0, 8), "a trial on CPUs has the whole smallest node"
    assert per_process(["--cluster", "auto", "--processes", "2"], small, large) == (0, 4)
    assert per_process(["--workers", "2"], small) == (0, 4)
    assert per_process(["--cluster", "auto", "--threads", "3"], small) == (0, 3)
    assert per_process(["--cluster", "auto"], gpus, large) == (1, 8)
    assert per_process(["--cluster", "auto", "--device", "cpu"], gpus, large) == (0, 32)
    assert per_process(["--cluster", "auto", "--shared", "--gpu-share", "0.5"], gpus) == (0.5, 4)
    with pytest.raises(ValueError, match="no node of the cluster has a GPU"):
        per_process(["--cluster", "auto", "--device", "cuda"], small)


def test_workers_that_the_machine_has_no_room_for_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert sweep.main(["digits/quick", "--workers", "3", "--device", "cpu"]) == 2
    assert "more than the 2 cores" in capsys.readouterr().err


def test_without_ray_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert sweep.main(["digits/quick", "--workers", "1", "--device", "cpu"]) == 2
    assert "pip install -e '.[cluster]' -c constraints.txt" in capsys.readouterr().err


@pytest.fixture
def launched(monkeypatch, tmp_path):
    """Every launch records a run and returns the status that is planned for its recipe."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    statuses = {"digits/quick": 0, "digits/short": 0}

    def run(self, launch, show):
        name = launch.arguments[0]
        if not statuses[name]:
            record = builders.record(id=f"{len(name):04}", recipe_name=name, seeds=[0])
            directory = store.create(tmp_path / "runs", record)
            directory.append(builders.trial(0))
            show(Message(name, "trains"))
            show(RunRecorded(name, str(directory.path), "finished"))
        return statuses[name]

    monkeypatch.setattr(Children, "run", run)
    return statuses


def test_tables_of_all_runs_are_printed_at_the_end(launched, capsys):
    assert sweep.main(["digits/*", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "digits/quick: trains" in out
    assert out.count("record: ") == 2


def test_json_has_an_object_per_run_and_nothing_else(launched, capsys):
    assert sweep.main(["digits/*", "--device", "cpu", "--json"]) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["recipe"] for line in captured.out.splitlines()] == ["digits/quick", "digits/short"]
    assert "digits/quick: trains" in captured.err


@pytest.mark.parametrize("status", [2, 3])
def test_the_highest_status_is_returned_and_the_others_train(launched, capsys, status):
    launched["digits/quick"] = status
    assert sweep.main(["digits/*", "--device", "cpu"]) == status
    assert capsys.readouterr().out.count("record: ") == 1


def test_a_dry_run_prints_the_commands(capsys, monkeypatch):
    monkeypatch.setattr(Children, "start", lambda *arguments: pytest.fail("launched"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert sweep.main(["digits/*", "--device", "cpu", "--dry-run"]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["digits/quick", "digits/short"]


@pytest.mark.slow
@two_cores
def test_two_recipes_train_at_the_same_time_and_their_records_say_so(tmp_path):
    (tmp_path / "other.yaml").write_text("base: digits/quick\n")
    ended = command("digits/quick", "other.yaml", *SMALL, "--trials", "1", "--concurrent", "2", cwd=tmp_path)
    assert ended.status == 0, ended.err
    runs = {run.record.recipe_name: run.record for run in store.find([tmp_path / "runs"])}
    assert sorted(runs) == ["digits/quick", "other"]
    assert all(record.environment.machine_class.endswith(", 2 runs at a time") for record in runs.values())
    assert "digits/quick: trial 1/1" in ended.out
    assert ended.out.count("record: ") == 2


@pytest.mark.slow
@two_cores
def test_a_signal_ends_all_and_keeps_what_there_is(tmp_path):
    words = ("digits/quick", *SMALL, "--trials", "100", "--device", "cpu")
    process = launch(ROOT / "bench" / "sweep.py", *words, cwd=tmp_path)
    while not list(tmp_path.glob("runs/*/trials.jsonl")):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    ended = wait(process)
    assert ended.status == 143, ended.err
    (run,) = store.find([tmp_path / "runs"])
    assert run.record.status == "interrupted"


@pytest.mark.slow
@two_cores
def test_the_error_of_a_launch_is_passed_on_with_its_status(tmp_path):
    ended = wait(launch(ROOT / "bench" / "sweep.py", "digits/quick", "--device", "cuda:99", cwd=tmp_path))
    assert ended.status == 2
    assert "cuda:99" in ended.err
    assert "Traceback" not in ended.err
