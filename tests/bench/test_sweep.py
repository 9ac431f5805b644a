"""bench/sweep.py: what each trial is given, where trials fit, and trials that really train."""

import json
import signal
import sys
from pathlib import Path

import pytest

from bench import gate, sweep
from bench.command_line import jobs
from bench.training import cluster, resources
from bench.training.tasks import Failure, Trained, TrialTask
from pipelines.host import environment
from results import store
from results.record import Run
from tests.bench.conftest import ROOT, SMALL, launch, wait, wait_for_a_trial
from tests.results import builders


def command(*arguments, cwd):
    return wait(launch(ROOT / "bench" / "sweep.py", *arguments, "--device", "cpu", cwd=cwd))


def test_a_trial_is_given_every_option_that_concerns_it(tmp_path, capsys):
    words = [
        "digits/*",
        "epochs=2",
        "--seed",
        "3",
        "--trials",
        "2",
        "--smoke-test",
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    assert sweep.main([*words, "--out", str(tmp_path), "--data-dir", str(tmp_path), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    passed = [jobs.parse(line.split()[2:]) for line in lines]
    assert [(one.words, one.seed) for one in passed] == [
        ([name, "epochs=2"], seed) for name in ("digits/quick", "digits/short") for seed in (3, 4)
    ]
    for one in passed:
        assert (one.trials, one.smoke_test, one.threads, one.device) == (1, True, 1, "cpu")
        assert (one.out, one.data_dir) == (tmp_path, tmp_path)


def test_each_value_that_varies_is_passed_on_and_names_a_run(capsys):
    words = ["digits/quick", "batch_size=16", "--vary", "epochs=1|2", "--trials", "1", "--device", "cpu"]
    assert [job.name for _, job in sweep.wanted(sweep.parse(words))] == [f"digits/quick+epochs={n}" for n in (1, 2)]
    assert sweep.main([*words, "--dry-run"]) == 0
    passed = [jobs.parse(line.split()[2:]).words for line in capsys.readouterr().out.splitlines()]
    assert passed == [["digits/quick", "batch_size=16", f"epochs={n}"] for n in (1, 2)]


def test_a_suite_says_how_many_trials(tmp_path):
    (tmp_path / "suite.yaml").write_text("- {recipe: digits/quick, trials: 4}\n")
    ((_, job),) = sweep.wanted(sweep.parse(["--suite", str(tmp_path / "suite.yaml")]))
    assert job.seeds == (0, 1, 2, 3)


@pytest.mark.parametrize("option", ["--interleave", "--folds=3", "--energy", "--track", "--quiet"])
def test_an_option_that_does_not_apply_does_not_exist(capsys, option):
    with pytest.raises(SystemExit) as leaving:
        sweep.parse(["digits/quick", option])
    assert leaving.value.code == 2
    assert f"unrecognized arguments: {option.partition('=')[0]}" in capsys.readouterr().err


def test_a_wrong_recipe_is_refused_before_anything_is_trained(capsys, monkeypatch):
    monkeypatch.setattr(TrialTask, "train", lambda *arguments: pytest.fail("trained"))
    assert sweep.main(["digits/quick", "mnist/base", "nosuch=1", "--device", "cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_launcher_of_old_is_now_ray(capsys):
    assert sweep.parse(["digits/quick", "--concurrent", "2"]).workers == 2
    assert capsys.readouterr().err == "bench/sweep.py: note: --concurrent is now --workers\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2", "--cluster", "auto"], "give one of them"),
        (["--cluster", "auto", "--gpu-share", "0.5"], "--shared allows it"),
        (["--cluster", "auto", "--shared"], "--shared needs --gpu-share"),
        (["--shared", "--gpu-share", "0.5"], "add --workers or --cluster"),
        (["--cluster", "auto", "--shared", "--gpu-share", "0.5", "--processes", "2"], "leave --processes out"),
    ],
)
def test_options_of_ray_that_mean_nothing_are_refused(capsys, words, message):
    with pytest.raises(SystemExit) as leaving:
        sweep.parse(["digits/quick", *words])
    assert leaving.value.code == 2
    assert message in capsys.readouterr().err


def test_every_process_has_the_same_threads_on_all_nodes():
    def per_process(*nodes, **wanted):
        return resources.per_process(resources.Wanted(**wanted), nodes)

    small, large = {"CPU": 8.0}, {"CPU": 32.0}
    gpus = {"CPU": 64.0, "GPU": 8.0}
    assert per_process({}, small, large) == (0, 8), "a trial on CPUs has the whole smallest node"
    assert per_process(small, large, processes=2) == (0, 4)
    assert per_process(small, workers=2) == (0, 4)
    assert per_process(small, threads=3) == (0, 3)
    assert per_process(gpus, large) == (1, 8)
    assert per_process(gpus, large, device="cpu") == (0, 32)
    assert per_process(gpus, gpu_share=0.5) == (0.5, 4)
    assert per_process(gpus, gpu_share=0.4) == (0.4, 4), "two trials on a GPU, not two and a half"
    with pytest.raises(ValueError, match="no node of the cluster has a GPU"):
        per_process(small, device="cuda")


@pytest.mark.parametrize("command", [sweep, gate], ids=lambda module: module.__name__)
def test_ray_chooses_the_gpu(command, capsys, tmp_path):
    words = {sweep: ["digits/quick"], gate: ["--against", str(ROOT)]}
    assert command.main([*words[command], "--cluster", "auto", "--device", "cuda:1"]) == 2
    assert "--device cuda:1: Ray chooses the GPU of each trial: use --device cuda" in capsys.readouterr().err


@pytest.fixture
def machine(monkeypatch):
    """Sets the cores that this process may use, and the GPUs."""

    def has(cores, gpus=0):
        monkeypatch.setattr(resources.runtime, "cores", lambda: cores)
        monkeypatch.setattr(resources.nvml, "visible", lambda variables: list(range(gpus)))

    return has


def test_workers_that_the_machine_has_no_room_for_are_refused(machine, capsys):
    machine(cores=2)
    assert sweep.main(["digits/quick", "--workers", "3", "--device", "cpu"]) == 2
    assert "more than the 2 cores" in capsys.readouterr().err


def test_a_share_of_a_gpu_lies_on_one_gpu(machine, capsys):
    machine(cores=8, gpus=2)
    words = ["digits/quick", "--workers", "3", "--shared", "--gpu-share"]
    assert sweep.main([*words, "0.6"]) == 2
    assert "--workers 3: they need 3 GPUs, and there are 2" in capsys.readouterr().err
    want = resources.Wanted(workers=3, gpu_share=0.4)
    assert resources.room_here(want)["gpus"] == 2


def test_a_dry_run_starts_no_ray(machine, monkeypatch, capsys):
    machine(cores=8)
    monkeypatch.setattr(cluster, "joined", lambda *given, **room: pytest.fail("started"))
    assert sweep.main(["digits/quick", "--workers", "2", "--trials", "1", "--dry-run"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert jobs.parse(line.split()[2:]).threads == 4


def test_without_ray_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert sweep.main(["digits/quick", "--workers", "1", "--device", "cpu"]) == 2
    assert "pip install -e '.[cluster]' -c constraints.txt" in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch):
    """No trial trains. Those of the recipes in this set fail, and the others are recorded."""
    names = set()

    def train(self):
        print("a node has died, says Ray")
        name, *_ = self.arguments
        if name in names:
            return Failure(3, "it broke")
        recipe_hash = jobs.load_any(name, []).hash
        record = builders.record(recipe_name=name, recipe_hash=recipe_hash, seeds=[self.seed])
        return Trained(Run(record, (builders.trial(self.seed, index=0),), Path("elsewhere")), {})

    monkeypatch.setattr(TrialTask, "train", train)
    monkeypatch.setattr(environment, "git_state", lambda folder: ("f" * 40, False))  # as the builders' records
    return names


@pytest.fixture
def sweep_both(failing, tmp_path):
    return lambda *words: sweep.main(["digits/*", "--trials", "2", "--out", str(tmp_path), "--device", "cpu", *words])


def test_tables_of_all_runs_are_printed_at_the_end(sweep_both, capsys):
    assert sweep_both() == 0
    out = capsys.readouterr().out
    assert "digits/quick: trial 2/2, seed 1" in out
    assert out.count("record: ") == 2


def test_json_has_an_object_per_run_and_nothing_else(sweep_both, capsys):
    assert sweep_both("--json") == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["recipe"] for line in captured.out.splitlines()] == ["digits/quick", "digits/short"]
    assert "digits/quick: trial 1/2" in captured.err


def test_the_highest_status_is_returned_and_the_others_train(sweep_both, failing, capsys):
    failing.add("digits/quick")
    assert sweep_both() == 3
    captured = capsys.readouterr()
    assert captured.out.count("record: ") == 1
    assert captured.err.count("bench/sweep.py: error: digits/quick: seed") == 2


def test_what_is_missing_is_resumed_without_ray_too(sweep_both, failing, tmp_path):
    sweep_both()
    for trials in tmp_path.glob("*/trials.jsonl"):
        first, _ = trials.read_text().splitlines()
        trials.write_text(first + "\n")
    assert sweep_both("--resume") == 0
    assert [[trial.seed for trial in run.trials] for run in store.find([tmp_path])] == [[0, 1]] * 2


def test_a_recipe_that_was_finished_is_not_trained_again_with_the_others(sweep_both, tmp_path, capsys):
    sweep_both()
    (trials,) = tmp_path.glob("*short*/trials.jsonl")
    trials.write_text("")
    assert sweep_both("--resume") == 0
    assert [len(run.trials) for run in store.find([tmp_path])] == [2, 2]
    assert capsys.readouterr().out.count("record: ") == 4, "of both, each time"
    assert sweep_both("--resume") == 0
    assert len(store.find([tmp_path])) == 4, "nothing was broken off"


def test_what_other_code_has_finished_is_trained_again(sweep_both, tmp_path):
    sweep_both()
    (quick,) = tmp_path.glob("*quick*/run.json")
    quick.write_text(quick.read_text().replace("f" * 40, "e" * 40))
    (trials,) = tmp_path.glob("*short*/trials.jsonl")
    trials.write_text("")
    assert sweep_both("--resume") == 0
    names = [run.record.recipe_name for run in store.find([tmp_path])]
    assert sorted(names) == ["digits/quick", "digits/quick", "digits/short"]


def test_a_dry_run_shows_what_is_missing_and_changes_no_record(sweep_both, tmp_path, capsys):
    sweep_both()
    for trials in tmp_path.glob("*/trials.jsonl"):
        first, _ = trials.read_text().splitlines()
        trials.write_text(first + "\n")
    records = {path: path.read_bytes() for path in tmp_path.glob("*/run.json")}
    capsys.readouterr()
    assert sweep_both("--resume", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [jobs.parse(line.split()[2:]).seed for line in lines] == [1, 1]
    assert {path: path.read_bytes() for path in records} == records
    assert {run.record.status for run in store.find([tmp_path])} == {"finished"}


@pytest.mark.slow
@pytest.mark.parametrize("by", [(), ("--workers", "1")], ids=["alone", "ray"])
def test_a_signal_ends_all_and_keeps_what_there_is(tmp_path, by):
    if by:
        pytest.importorskip("ray", reason="the extra cluster is not installed")
    words = ("digits/quick", *SMALL, "--trials", "100", "--device", "cpu", *by)
    process = launch(ROOT / "bench" / "sweep.py", *words, cwd=tmp_path)
    wait_for_a_trial(tmp_path, process)
    process.send_signal(signal.SIGTERM)
    ended = wait(process)
    assert ended.status == 143, ended.err
    (run,) = store.find([tmp_path / "runs"])
    assert (run.record.status, run.record.reason) == ("interrupted", "SIGTERM")
    assert "at a time" not in run.record.environment.machine_class


@pytest.mark.slow
def test_the_error_of_a_launch_is_passed_on_with_its_status(tmp_path):
    ended = wait(launch(ROOT / "bench" / "sweep.py", "digits/quick", "--device", "cuda:99", cwd=tmp_path))
    assert ended.status == 2
    assert "cuda:99" in ended.err
    assert "Traceback" not in ended.err
