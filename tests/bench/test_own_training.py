"""bench/run.py with a function of the user's own."""

import json
import sys
from pathlib import Path

import pytest

from bench.command_line import cli
from results import store
from results.files import read_sources
from results.notebook import compare
from results.protocols import seconds_to_target, total_seconds
from tests.bench.conftest import ONE_THREAD, RUN, error_of, launch, only_run, wait
from tests.pipelines.scripts.modules import forget_modules_of

TRAIN = '''
"""A file of somebody's own."""

import time


def train(run, rate: float = 0.5, fail_at: int = -1):
    """Learns nothing, slowly."""
    for epoch in run.epochs(3):
        with run.lap("train", epoch):
            time.sleep(0.002 / rate)
        run.evaluated(epoch, accuracy=0.3 * epoch, loss=1 / epoch)
    if run.seed == fail_at:
        raise KeyError("gone")
    run.samples = 300
    return 0.9
'''
OWN = ("mine.py:train", "--target", "0.6")


@pytest.fixture(autouse=True)
def _own_file(tmp_path, monkeypatch):
    """`mine.py` in the current folder, beside files called as ours are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mine.py").write_text(TRAIN)
    Path("results.py").write_text("raise RuntimeError('the wrong results')\n")
    for folder in ("bench", "configs"):
        Path(folder).mkdir()
        Path(folder, "__init__.py").write_text(f"raise RuntimeError('the wrong {folder}')\n")
    yield
    forget_modules_of(tmp_path)


def test_a_function_in_a_process_of_its_own_gives_a_run_like_any_other(tmp_path):
    ended = wait(launch(RUN, *OWN, "rate=1", "--trials", "2", *ONE_THREAD, cwd=tmp_path))
    assert (ended.status, ended.err) == (0, "")
    assert "mine.py:train: trial 2/2, seed 1: reached, 90.00%" in ended.out
    run = only_run(Path("runs"))
    assert (run.record.recipe_name, run.record.status, run.record.data) == ("mine.py:train", "finished", None)
    described = run.record.recipe
    assert (described["title"], described["entry"], described["clock"]) == (
        "Learns nothing, slowly.",
        "mine.py:train",
        "author",
    )
    assert described["arguments"] == {"rate": 1.0, "fail_at": -1}
    assert (run.path / "source" / "mine.py").read_text() == TRAIN
    first, second = run.trials
    assert [lap.name for lap in first.laps] == ["startup", "load", "train", "train", "train", "total"]
    assert [(lap.name, lap.epoch) for lap in second.laps] == [("train", 1), ("train", 2), ("train", 3)]
    assert (second.samples, second.target, second.outcome) == (300, 0.6, "reached")
    assert [result.accuracy for result in second.epochs] == pytest.approx([0.3, 0.6, 0.9])


def test_json_has_its_times(main):
    ended = main(*OWN, "--trials", "1", "--json")
    (trial,) = json.loads(ended.out)["trials"]
    assert 0 < trial["time_to_target"] < trial["total_time"], "two epochs of three"


@pytest.mark.parametrize("words", [("--trials", "1"), ("mine.py:train", "--interleave", "--trials", "1")])
def test_what_it_prints_is_no_part_of_the_json(main, words):
    Path("mine.py").write_text(TRAIN.replace("run.samples = 300", "print('learned')"))
    ended = main(*OWN, *words, "--json")
    assert all(json.loads(line)["recipe"] == "mine.py:train" for line in ended.out.splitlines())
    assert ended.out
    assert "learned\n" in ended.err


def test_two_functions_are_interleaved_and_compared(main):
    Path("other.py").write_text(TRAIN.replace("0.002", "0.02"))
    ended = main(*OWN, "other.py:train", "--interleave", "--trials", "3")
    assert ended.status == 0
    assert "comparison" in ended.out
    assert "not comparable:" not in ended.out
    first, second = store.find(["runs"])
    assert first.record.interleaved == second.record.interleaved is not None


def test_two_files_of_one_name_are_compared_and_resumed(main, monkeypatch):
    """Neither lies below the folder in which the run is started, so that both runs have the name of the file alone."""
    monkeypatch.setattr(cli, "WIDTH", 300)
    for version, seconds in (("old", "0.002"), ("new", "0.004")):
        Path(version).mkdir()
        Path(version, "mine.py").write_text(TRAIN.replace("0.002", seconds))
    monkeypatch.chdir("bench")
    ended = main("../old/mine.py:train", "../new/mine.py:train", *OWN[1:], "--interleave", "--trials", "2")
    assert "n = 2" in ended.out
    assert "not comparable:" not in ended.out
    runs = store.find(["runs"])
    assert [run.record.recipe["entry"] for run in runs] == ["../old/mine.py:train", "../new/mine.py:train"]
    ended = main(*(word for run in runs for word in ("--resume", run.path)), "--trials", "3")
    assert (ended.status, ended.err) == (0, "")
    assert [len(run.trials) for run in store.find(["runs"])] == [3, 3]


def test_two_checkouts_of_one_project_train_their_own_code_and_are_recorded_here(main):
    for version, accuracy in (("old", 0.7), ("new", 0.9)):
        Path(version).mkdir()
        Path(version, "model_of_mine.py").write_text(f"ACCURACY = {accuracy}")
        text = "import os\nfrom model_of_mine import ACCURACY\nos.chdir('/')\ndef train(run): return ACCURACY\n"
        Path(version, "train.py").write_text(text)
    ended = main("old/train.py:train", "new/train.py:train", "--interleave", "--target", "0.5", "--trials", "2")
    assert ended.status == 0, ended.err
    found = {run.record.recipe_name: [trial.accuracy for trial in run.trials] for run in store.find(["runs"])}
    assert found == {"old/train.py:train": [0.7, 0.7], "new/train.py:train": [0.9, 0.9]}


def test_a_function_beside_a_recipe_is_not_comparable_unless_asked_for(main, monkeypatch):
    monkeypatch.setattr(cli, "WIDTH", 300)
    Path("small.yaml").write_text("base: digits/quick\nepochs: 1\nmodel: {widths: [4]}\n")
    both = ("mine.py:train", "small.yaml", "--target", "0.05", "--interleave", "--trials", "2")
    ended = main(*both)
    assert ended.status == 0
    text = " ".join(ended.out.split())
    assert "not comparable: data:" in text
    assert "the author's laps" in text
    ended = main(*both, "--across", "clock", "--across", "data", "--quiet")
    assert "not comparable:" not in ended.out


def test_a_trial_that_fails_is_one_line_and_the_others_are_kept(main):
    message = error_of(main(*OWN, "fail_at=1", "--trials", "3"))
    assert "mine.py:train: line 14: KeyError: 'gone'; the traceback is in runs/" in message
    assert "finished trials are kept; continue with --resume" in message
    run = only_run(Path("runs"))
    assert (run.record.status, [trial.seed for trial in run.trials], run.missing_seeds) == ("failed", [0], [1, 2])
    assert "KeyError: 'gone'" in (run.path / "traceback.txt").read_text()


def test_an_interrupted_run_is_resumed_with_its_arguments(main):
    assert main(*OWN, "rate=0.7", "--trials", "3").status == 0
    run = only_run(Path("runs"))
    trials = run.path / "trials.jsonl"
    trials.write_text("".join(trials.read_text().splitlines(keepends=True)[:1]))
    assert main("--resume", run.path).status == 0
    run = only_run(Path("runs"))
    assert ([trial.seed for trial in run.trials], run.record.recipe["arguments"]["rate"]) == ([0, 1, 2], 0.7)


def test_a_run_is_not_resumed_with_another_text(main):
    assert main(*OWN, "--trials", "1").status == 0
    run = only_run(Path("runs"))
    Path("mine.py").write_text(TRAIN + "# changed\n")
    assert "mine.py: has changed since this run began" in error_of(main("--resume", run.path))


@pytest.mark.parametrize("words", [OWN, ("--command", "python learn.py {seed}", "--target", "0.8")])
def test_a_run_is_resumed_in_the_folder_where_it_began(main, monkeypatch, words):
    Path("learn.py").write_text(LEARN)
    assert main(*words, "--trials", "1").status == 0
    run = only_run(Path("runs")).path.resolve()
    monkeypatch.chdir("configs")
    message = error_of(main("--resume", run, "--trials", "2"))
    assert "is not there: resume in the folder where the run began" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mine.py:train",), "mine.py:train: has no target; set the accuracy to reach, such as target=0.94"),
        (("mine.py:trian", "--target", "0.6"), "mine.py: has no function 'trian'; did you mean train?"),
        (("nowhere.py:train", "--target", "0.6"), "nowhere.py: there is no such file"),
        ((*OWN, "rte=1"), "mine.py:train: there is no argument 'rte'; did you mean rate?"),
        ((*OWN, "rate=fast"), "mine.py:train: rate='fast': it should be a valid number"),
        ((*OWN, "data.name=imagenet"), "data.name='imagenet': it should be cifar10"),
        (("mine.py:train", "--target", "94"), "argument --target: '94' is not a number over 0 and under 1"),
        ((*OWN, "--batch-per-process", "8"), "--batch-per-process sets the batch of a recipe"),
        ((*OWN, "--folds", "3"), "--folds needs the images of a recipe"),
        ((*OWN, "--across", "clock"), "--across belongs to the comparison of --interleave"),
        ((*OWN, "mine.py:train", "--interleave", "--across", "time"), "--across time: use one of recipe, data"),
    ],
)
def test_what_the_caller_can_mend_is_one_line(main, words, message):
    assert message in error_of(main(*words))
    assert not Path("runs").exists()


def test_a_yaml_file_of_a_function_has_no_folds(main):
    Path("slow.yaml").write_text("entry: mine.py:train\ntarget: 0.6\ndata: {name: digits}\n")
    assert "slow.yaml: --folds needs the images of a recipe" in error_of(main("slow.yaml", "--folds", "3"))
    assert not Path("runs").exists()


def test_a_yaml_file_describes_a_function_by_its_place(main):
    Path("recipes").mkdir()
    Path("recipes/slow.yaml").write_text("entry: ../mine.py:train\ntarget: 0.6\ntitle: Slow\narguments: {rate: 2}\n")
    assert main("recipes/slow.yaml", "fail_at=7", "--trials", "1").status == 0
    run = only_run(Path("runs"))
    assert (run.record.recipe_name, run.record.recipe["title"]) == ("slow", "Slow")
    assert run.record.recipe["arguments"] == {"rate": 2.0, "fail_at": 7}


def test_an_argument_may_be_called_like_a_setting_of_paceline(main):
    Path("mine.py").write_text("def train(run, target: float):\n    return target\n")
    assert main(*OWN, "arguments.target=0.7", "--trials", "1").status == 0
    run = only_run(Path("runs"))
    assert run.record.recipe["arguments"] == {"target": 0.7}
    assert (run.trials[0].target, run.trials[0].accuracy) == (0.6, 0.7)


def test_a_smoke_test_is_one_epoch_and_means_nothing(main):
    assert main(*OWN, "--smoke-test", "--trials", "1").status == 0
    run = only_run(Path("runs"))
    assert run.record.smoke_test
    assert [result.epoch for result in run.trials[0].epochs] == [1]


def test_time_outside_the_laps_is_named(main):
    Path("mine.py").write_text(TRAIN.replace('with run.lap("train", epoch):', "if True:"))
    Path("mine.py").write_text(
        "import time\ndef train(run):\n    time.sleep(0.2)\n    with run.lap('train'): pass\n    return 0.9\n"
    )
    ended = main(*OWN, "--trials", "1")
    assert "warning: mine.py:train: 100% of its time is outside every lap, and is not counted" in ended.out


def test_its_curves_are_tracked(main):
    pytest.importorskip("tensorboard")
    pytest.importorskip("matplotlib")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert main(*OWN, "--trials", "1", "--track").status == 0
    events = EventAccumulator(str(only_run(Path("runs")).path / "tensorboard" / "seed-0"))
    events.Reload()
    assert [one.value for one in events.Scalars("accuracy/evaluation")] == pytest.approx([0.3, 0.6, 0.9])


def test_its_laps_are_the_phases_of_a_profile(main):
    ended = main(*OWN, "--trials", "1", "--profile")
    assert ended.status == 0
    folder = only_run(Path("runs")).path / "profile"
    assert list(json.loads((folder / "phases.json").read_text())["seconds"]) == ["train"]
    assert (folder / "trace.json.gz").exists()


def test_the_data_set_that_is_named_is_handed_over(main):
    Path("mine.py").write_text(
        "def train(run):\n    images = run.dataset().train_images\n    return len(images) / 10_000\n"
    )
    assert main(*OWN, "data.name=digits", "--trials", "1").status == 0
    (trial,) = only_run(Path("runs")).trials
    assert trial.accuracy == 0.1437


COMMAND = f"{sys.executable} -S learn.py {{seed}}"
LEARN = """
import json, sys, time
for epoch in (1, 2):
    time.sleep(0.02)
    print(json.dumps({"epoch": epoch, "accuracy": 0.4 * epoch, "seconds": 0.01 * epoch}), flush=True)
if sys.argv[1] == "1":
    sys.exit("out of luck")
"""


def test_a_command_gives_a_run_whose_trials_have_an_outcome_each(main):
    Path("learn.py").write_text(LEARN)
    ended = main("--command", COMMAND, "--target", "0.8", "--trials", "3", "data.name=digits")
    assert ended.status == 0
    run = only_run(Path("runs"))
    assert (run.record.recipe_name, run.record.recipe["clock"]) == ("learn.py", "command")
    assert run.record.recipe["command"] == COMMAND
    assert (run.path / "source" / "learn.py").read_text() == LEARN
    assert [trial.outcome for trial in run.trials] == ["reached", "failed", "reached"]
    assert run.trials[1].reason == "ended with status 1: out of luck"
    for trial in run.trials:
        assert [lap.name for lap in trial.laps] == ["command", "train", "train"]
        assert total_seconds(trial, "airbench") is None
    assert seconds_to_target(run.trials[0], "strict") == pytest.approx(0.02)
    assert total_seconds(run.trials[0], "strict") == run.trials[0].seconds("command") > 0.04


def test_files_of_one_name_are_kept_beside_each_other(main):
    for folder, text in (("a", LEARN), ("b", "SIZE = 3\n")):
        Path(folder).mkdir()
        Path(folder, "learn.py").write_text(text)
    asked = f"{sys.executable} -S a/learn.py {{seed}} --config b/learn.py"
    assert main("--command", asked, "--target", "0.8", "--trials", "1").status == 0
    run = only_run(Path("runs"))
    kept = {"a_learn.py": LEARN, "b_learn.py": "SIZE = 3\n"}
    assert read_sources(run.path).items() >= kept.items()
    assert list(run.record.recipe["files"]) == ["a/learn.py", "b/learn.py"]
    assert main("--resume", run.path, "--trials", "2").status == 0
    assert {name: text for name, text in read_sources(run.path).items() if "learn" in name} == kept


def test_a_command_is_interleaved_with_a_function(main, monkeypatch):
    monkeypatch.setattr(cli, "WIDTH", 300)
    Path("learn.py").write_text(LEARN)
    shared = ("--target", "0.6", "--trials", "1", "--interleave")
    ended = main("mine.py:train", "--command", COMMAND, *shared)
    assert "clock: the author's laps → the whole command" in " ".join(ended.out.split())
    assert len(store.find(["runs"])) == 2


def test_a_command_is_resumed_and_not_with_another_file(main):
    Path("learn.py").write_text(LEARN)
    assert main("--command", COMMAND, "--target", "0.8", "--trials", "3").status == 0
    run = only_run(Path("runs"))
    trials = run.path / "trials.jsonl"
    trials.write_text("".join(trials.read_text().splitlines(keepends=True)[:1]))
    assert main("--resume", run.path).status == 0
    assert len(only_run(Path("runs")).trials) == 3
    Path("learn.py").write_text(LEARN + "# changed\n")
    assert "learn.py: has changed since this run began" in error_of(main("--resume", run.path))


def test_a_file_that_a_command_writes_does_not_keep_it_from_being_resumed(main):
    Path("learn.py").write_text(f"open('model.txt', 'w').write('weights')\n{LEARN}")
    assert main("--command", f"{COMMAND} model.txt", "--target", "0.8", "--trials", "1").status == 0
    run = only_run(Path("runs")).path
    assert (main("--resume", run, "--trials", "2").status, len(only_run(Path("runs")).trials)) == (0, 2)
    assert main("--command", f"{COMMAND} model.txt", "--target", "0.8", "--trials", "1").status == 0
    run = store.find(["runs"])[-1].path
    Path("model.txt").write_text("other weights")
    assert "put {seed} into the name of a file that the command writes" in error_of(main("--resume", run))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--command", "python learn.py"), "python learn.py: has no target"),
        (("--command", "nowhere-to-be-found x", "--target", "0.5"), "there is no program 'nowhere-to-be-found'"),
        (("--command", "python 'x", "--target", "0.5"), "No closing quotation"),
        (("--command", "true", "--target", "0.5", "lr=1"), "lr: there is no such option"),
        (("--command", "true", "--target", "0.5", "--track"), "--track and --profile look into a training"),
        (("--command", "true", "--target", "0.5", "--metrics", "acc"), "argument --metrics: 'acc': has no group"),
        (("--command", "true", "--interleave", "--target", "0.5"), "--interleave needs two recipes or more"),
    ],
)
def test_what_is_wrong_with_a_command_is_one_line(main, words, message):
    assert message in error_of(main(*words))
    assert not Path("runs").exists()


@pytest.mark.slow
def test_two_processes_keep_the_laps_of_the_slower_one(tmp_path):
    Path("mine.py").write_text(TRAIN.replace("time.sleep(0.002 / rate)", "time.sleep(0.3 * run.rank)"))
    two = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0)
    ended = wait(launch(*two, RUN, *OWN, "--device", "cpu", "--trials", "2", cwd=tmp_path))
    assert ended.status == 0, ended.err
    run = only_run(Path("runs"))
    assert (run.record.world_size, len(run.trials)) == (2, 2)
    assert all(lap.seconds >= 0.3 for lap in run.trials[1].laps)


def test_a_recipe_trains_on_arrays_of_one_s_own_and_compares_by_their_content(main):
    import numpy as np

    def write(name, seed):
        draw = np.random.default_rng(seed).integers
        parts = {f"{part}_images": draw(256, size=(64, 8, 8, 1), dtype=np.uint8) for part in ("train", "test")}
        np.savez(name, **parts, train_labels=np.arange(64) % 4, test_labels=np.arange(64) % 4)

    for name, seed in (("a.npz", 0), ("b.npz", 0), ("c.npz", 1)):
        write(name, seed)
        small = ("model.widths=[4]", "epochs=1", "target=0.1", "--trials", "2", "--out", name.removesuffix(".npz"))
        ended = main("digits/quick", "data.name=arrays", f"data.path={name}", *small)
        assert (ended.status, ended.err) == (0, "")
        assert "not the published ones" not in ended.out
    same = compare("a", "b")
    assert not any("data" in row.reason for row in same.rows)
    other = compare("a", "c")
    assert len(same.rows) == len(other.rows) > 0
    assert all(row.reason.startswith("data hash: ") for row in other.rows)
