import dataclasses
import itertools
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.command_line import cli, invocation, jobs
from bench.training import events, records, run_trials, trainers
from bench.training.live_view import make_views
from pipelines import recipe, train
from pipelines.data import sources, split
from pipelines.data.dataset import Dataset
from pipelines.distributed.process_group import World
from pipelines.host import gpu_sampler
from pipelines.recipe.training import Data
from results import store
from results.writer import Writer
from tests.bench import conftest
from tests.bench.conftest import SMALL, measured, only_run

pytestmark = pytest.mark.usefixtures("one_thread")

BEFORE_FIRST = ["startup", "load", "compile"]


@pytest.fixture
def trained(tmp_path):
    """A job trained in this process, with its record under `tmp_path`."""

    def call(*arguments, **settings):
        return conftest.train(*SMALL, *arguments, "--out", str(tmp_path), **settings)

    return call


@pytest.fixture
def at_seed(monkeypatch):
    """Does something in place of the trial of one seed."""

    def set_trap(seed, action):
        def run_trial(bench, number, observers):
            return action() if number == seed else train.run_trial(bench, number, observers)

        monkeypatch.setattr(trainers, "run_trial", run_trial)

    return set_trap


def names(trial):
    return [lap.name for lap in trial.laps]


def at_hand(name):
    """Skips the test where a data set is not on this machine."""
    folder = sources.default_folder()
    if sources.source(name).find(folder) is None:
        pytest.skip(f"{name} is not in {folder}; PACELINE_DATA names the folder with the data sets")
    return folder


def test_the_record_says_what_was_run(trained):
    run = trained("--seed", "3", "--trials", "2")
    chosen = recipe.load("digits/quick", SMALL)
    record = run.record
    assert (record.recipe_name, record.recipe_hash, record.smoke_test) == ("digits/quick", chosen.hash, False)
    assert recipe.validate(record.recipe, "strict") == chosen
    assert (record.status, record.reason, record.seeds, record.world_size) == ("finished", None, [3, 4], 1)
    assert [(trial.index, trial.seed, trial.steps) for trial in run.trials] == [(0, 3, 44), (1, 4, 44)]
    assert run.warnings == ()
    assert record.environment.device == "cpu"
    assert record.environment.versions["torch"] == torch.__version__
    assert set(dict(record.environment.before)) == set(dict(record.environment.after)) == {"load_average", "gpus"}


def test_the_record_has_the_hashes_of_the_data_that_were_trained_on(trained):
    whole = trained("--trials", "1").record.data
    part = trained("--trials", "1", "data.fraction=0.5").record.data
    assert whole.is_published
    assert part.is_published
    assert whole.train_images != part.train_images
    assert whole.test_images == part.test_images


def test_black_images_are_trained_on_with_a_warning_and_the_record_says_so(trained, monkeypatch, capsys):
    load = sources.load

    def black(name, folder, **settings):
        dataset = load(name, folder, **settings)
        return dataclasses.replace(dataset, train_images=dataset.train_images * 0)

    published = trained("--trials", "1").record.data
    monkeypatch.setattr(sources, "load", black)
    found = trained("--trials", "1", view=make_views(1, is_main=True, quiet=True)[0]).record.data
    assert not found.is_published
    assert found.train_images != published.train_images
    assert found.train_labels == published.train_labels
    assert "not the published ones" in "".join(capsys.readouterr())


def test_a_warning_about_clocks_comes_before_the_first_trial(trained, monkeypatch, capsys):
    monkeypatch.setattr(gpu_sampler, "unlocked_clocks", lambda samples: "warning: clocks")
    trained("--trials", "1", view=make_views(1, is_main=True, quiet=True)[0])
    shown = "".join(capsys.readouterr())
    assert shown.count("warning: clocks") == 1
    assert shown.index("warning: clocks") < shown.index("trial 1/1")


def test_the_first_trial_alone_has_what_came_before_it(trained):
    first, second, third = trained("--trials", "3").trials
    assert names(first)[:3] == BEFORE_FIRST
    assert names(first)[-1] == "total"
    assert names(second) == names(third) == names(first)[3:-1]
    assert set(names(second)).isdisjoint([*BEFORE_FIRST, "total"])
    total = first.laps[-1].seconds
    assert total * 0.5 < sum(lap.seconds for lap in first.laps[:-1]) <= total + 1e-3


def test_the_total_has_no_time_in_which_the_trial_waited_for_another_code_s(trained, monkeypatch):
    long, ahead = 1e6, []
    clock = vars(time) | {"perf_counter": lambda: time.perf_counter() + long * len(ahead)}
    monkeypatch.setattr(run_trials, "time", SimpleNamespace(**clock))
    monkeypatch.setattr(events, "wait_for_permission", lambda: ahead.append("trial"))
    monkeypatch.setenv(events.INTERLEAVED, "both")
    first, _ = trained("--trials", "2").trials
    assert len(ahead) == 2
    assert names(first)[-1] == "total"
    assert first.seconds("total") < long


def test_a_second_recipe_does_not_start_with_the_time_of_the_first(main):
    """`cold` time is from the start of the process, for one recipe, and not of whatever else it trained before."""
    Path("other.yaml").write_text("base: digits/quick\ntarget: 0.5\n")
    assert main("digits/quick", "other.yaml", *SMALL, "--trials", "1").status == 0
    first, second = sorted(store.find(["runs"]), key=lambda run: run.record.created)
    assert first.trials[0].seconds("total") > second.trials[0].seconds("startup")


def test_the_same_seed_gives_the_same_trial(trained):
    first, second = trained("--seed", "1"), trained("--seed", "1")
    assert first.record.id != second.record.id
    assert [measured(trial) for trial in first.trials] == [measured(trial) for trial in second.trials]
    one, two = first.trials
    assert one.epochs[0].train_loss != two.epochs[0].train_loss, "seeds that make no difference"


def test_a_trial_does_not_depend_on_those_before_it(trained):
    (alone,) = trained("--seed", "2", "--trials", "1").trials
    assert measured(alone) == measured(trained("--seed", "0", "--trials", "3").trials[2])


def test_the_clock_on_the_wall_may_be_set_back(trained, monkeypatch):
    """By NTP, in the middle of the first trial: the trial must not be refused for its laps."""
    hour = itertools.count(time.time() + 3600, -1)
    monkeypatch.setattr(run_trials, "time", SimpleNamespace(**vars(time) | {"time": lambda: next(hour)}))
    assert len(trained().trials) == 2


def test_a_trial_that_raises_fails_the_run_and_keeps_the_others(tmp_path, trained, at_seed):
    def fail():
        raise RuntimeError("out of luck")

    at_seed(1, fail)
    with pytest.raises(
        RuntimeError, match="a trial of digits/quick failed: RuntimeError: out of luck; finished trials are kept"
    ) as raised:
        trained("--trials", "3")
    assert str(raised.value.__cause__) == "out of luck"
    run = only_run(tmp_path)
    assert (run.record.status, run.record.reason) == ("failed", "RuntimeError: out of luck")
    assert [trial.seed for trial in run.trials] == [0]
    assert run.missing_seeds == [1, 2]
    assert run.record.environment.after is not None


@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [(signal.SIGINT, KeyboardInterrupt, "Ctrl-C"), (signal.SIGTERM, cli.Terminated, "SIGTERM")],
)
def test_a_signal_interrupts_the_run_and_resume_finishes_it(tmp_path, trained, at_seed, number, error, reason):
    handler = signal.getsignal(signal.SIGTERM)
    at_seed(2, lambda: signal.raise_signal(number))
    with pytest.raises(error):
        trained("--trials", "4")
    assert signal.getsignal(signal.SIGTERM) is handler
    broken_off = only_run(tmp_path)
    assert (broken_off.record.status, broken_off.record.reason) == ("interrupted", reason)
    assert broken_off.missing_seeds == [2, 3]

    at_seed(None, None)
    resumed = resume(broken_off)
    assert (resumed.record.status, resumed.record.reason, resumed.missing_seeds) == ("finished", None, [])
    assert resumed.record.id == broken_off.record.id
    assert resumed.record.created == broken_off.record.created
    assert [(trial.index, trial.seed) for trial in resumed.trials] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert resumed.trials[:2] == broken_off.trials
    assert [names(trial)[0] for trial in resumed.trials] == ["startup", "transfer", "startup", "transfer"]
    whole = trained("--trials", "4")
    assert [measured(trial) for trial in resumed.trials] == [measured(trial) for trial in whole.trials]


def resume(run, *words):
    options = jobs.parse(["--resume", str(run.path), "--data-dir", str(sources.default_folder()), *words])
    (job,) = jobs.jobs(options)
    return run_trials.train(job, options, World(), make_views(1, is_main=False)[0])


def test_a_hole_in_the_middle_is_filled(trained):
    run = trained("--trials", "3")
    trials = run.path / "trials.jsonl"
    first, _, third = trials.read_text().splitlines()
    trials.write_text(f"{first}\n{third}\n")
    resumed = resume(run)
    assert [(trial.index, trial.seed) for trial in resumed.trials] == [(0, 0), (2, 2), (1, 1)]
    assert measured(resumed.trials[2]) == measured(run.trials[1])


def test_a_finished_run_is_not_trained_again(trained, monkeypatch):
    run = trained()
    for name in ("run_trial", "warm_up"):
        monkeypatch.setattr(trainers, name, lambda *arguments, name=name: pytest.fail(f"{name} was called"))
    resumed = resume(run)
    assert resumed.trials == run.trials
    assert resumed.record.status == "finished"


@pytest.mark.parametrize("probe", ["profile", "energy", "communication"])
def test_a_finished_run_is_warmed_up_before_it_is_probed(trained, monkeypatch, probe):
    run = trained("--trials", "1")
    order = []
    monkeypatch.setattr(trainers, "warm_up", lambda setup: order.append("warm-up"))
    for name in ("profile", "communication"):
        monkeypatch.setattr(trainers.RecipeTrainer, name, lambda trainer, seed, name=name: order.append(name))
    monkeypatch.setattr(run_trials.energy, "measure", lambda *arguments: order.append("energy"))
    for name in ("keep", "keep_energy", "keep_communication"):
        monkeypatch.setattr(run_trials.profiles, name, lambda *arguments: None)
    resume(run, f"--{probe}")
    assert order == ["warm-up", probe]


def test_a_run_that_cannot_be_set_up_leaves_no_record(tmp_path, trained):
    with pytest.raises(ValueError, match="batch_size=5000 is more than"):
        trained("batch_size=5000")
    assert list(tmp_path.iterdir()) == []


def test_only_the_main_process_writes(tmp_path, trained):
    class Other(World):
        is_main = False

        def broadcast_object(self, value):
            assert value is None
            return [0]

    run = trained("--trials", "1", world=Other())
    assert run.trials == ()
    assert list(tmp_path.iterdir()) == []


def test_only_the_main_process_downloads(monkeypatch, digits_of_twenty):
    asked = []

    def load(name, folder, *, download=True):
        asked.append((name, download))
        return digits_of_twenty

    monkeypatch.setattr(sources, "load", load)
    for rank in (0, 1):
        trainers.load_data(Data(name="digits"), sources.default_folder(), World(rank=rank))
    assert asked == [("digits", True), ("digits", False)]


@dataclasses.dataclass(frozen=True)
class RankZero(World):
    """One of two processes, and what the other answers in turn."""

    size: int = 2
    answers: Iterator[str | None] | None = None

    def gather(self, value):
        return [value, next(self.answers)]


def test_data_that_one_process_lacks_are_refused_on_all():
    world = RankZero(answers=iter([None, "no data here"]))
    with pytest.raises(ValueError, match=r"^rank 1: no data here$"):
        trainers.load_data(Data(name="digits"), sources.default_folder(), world)


def test_the_recipe_and_what_the_trainer_knows_must_be_the_same_on_all_processes():
    job, trainer = SimpleNamespace(name="a", seeds=[0, 1]), SimpleNamespace(hash="1234", facts={"data": "5678"})
    found = run_trials.facts(job, trainer)
    assert (found["recipe"], found["seeds"], found["data"]) == ("a 1234", "[0, 1]", "5678")
    assert {"commit", "code", "torch"} < found.keys()


@pytest.fixture
def digits_of_twenty():
    whole: Dataset = sources.load("digits", sources.default_folder())
    return split.limit(whole, 20)


def test_a_limit_holds_for_every_part():
    dataset = trainers.load_data(Data(name="digits", limit=50), sources.default_folder(), World())
    assert (len(dataset.train_images), len(dataset.test_images), len(dataset.pool_images)) == (50, 50, 0)


def test_a_tenth_of_mnist_is_labelled_and_the_rest_is_the_pool():
    folder = at_hand("mnist")
    dataset = trainers.load_data(recipe.load("mnist/base").data, folder, World())
    assert dataset.train_images.shape == (6_000, 28, 28, 1)
    assert dataset.pool_images.shape == (54_000, 28, 28, 1)
    assert dataset.test_images.shape == (10_000, 28, 28, 1)
    assert np.bincount(dataset.train_labels).min() > 500


@pytest.mark.slow
def test_the_base_case_of_mnist_learns_what_it_should(tmp_path):
    folder = at_hand("mnist")
    run = conftest.train("mnist/base", "--trials", "1", "--data-dir", str(folder), "--out", str(tmp_path))
    (trial,) = run.trials
    assert (trial.steps, trial.samples) == (1880, 60_000)
    assert trial.accuracy == trial.accuracy_plain
    assert 0.95 < trial.accuracy < 0.985


@pytest.mark.slow
def test_mnist_is_learnt_at_a_moderate_rate(tmp_path):
    arguments = ("mnist/base", "optimizer.lr=0.001", "epochs=4", "--trials", "1")
    (trial,) = conftest.train(*arguments, "--data-dir", str(at_hand("mnist")), "--out", str(tmp_path)).trials
    assert 0.96 < trial.accuracy < 0.99
    assert trial.epochs[-1].train_accuracy > trial.accuracy


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["mnist/base", "--out", "/home/ada/runs", "--trials", "3"], ["mnist/base", "--trials", "3"]),
        (["--data-dir=/home/ada/data", "epochs=2", "--smoke-test"], ["epochs=2", "--smoke-test"]),
        (["--resume", "/home/ada/runs/x"], []),
        (["digits/quick", "--cluster", "192.0.2.1:6379"], ["digits/quick"]),
    ],
)
def test_the_record_s_command_names_no_folder(arguments, kept):
    assert invocation.recorded("bench/run.py", arguments) == ["bench/run.py", *kept]


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        (["--communication"], "--communication"),
        (["--profile"], "--profile"),
        (["--energy"], "--energy"),
        (["--wait-for-quiet", "9"], "--wait-for-quiet"),
        (["--smoke-test"], "--smoke-test"),
        (["digits/short", "--interleave"], "recipes"),
        (["--quiet", "--json", "--threads", "3", "--timeout", "9", "--track", "--data-dir", "elsewhere"], None),
    ],
)
def test_the_processes_take_part_in_the_same(options, differing):
    def facts(*more):
        given = jobs.parse(["digits/quick", *more])
        return run_trials.facts_of_command(given, jobs.jobs(given))

    mine, theirs = facts(), facts(*options)
    assert next((name for name, value in theirs.items() if value != mine[name]), None) == differing


def test_a_process_that_torchrun_started_anew_goes_on_with_the_run(trained, at_seed, tmp_path, monkeypatch):
    """Also where its count of restarts is 0, as on a machine none of whose processes has failed."""
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "1"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as before:
        before.setattr(records.writer, "this_process", lambda: Writer(host="another", pid=1, started=1.0))
        at_seed(1, lambda: 1 / 0)
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            trained("--trials", "2")
    at_seed(None, None)
    run = trained("--trials", "2")
    assert only_run(tmp_path).record.id == run.record.id
    assert [trial.seed for trial in run.trials] == [0, 1]
    again = trained("--trials", "2")
    assert again.record.id != run.record.id, "a second run of the process itself"
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "0")
    monkeypatch.setattr(store, "find", lambda *places, **options: pytest.fail("reads all runs"))
    assert trained("--trials", "1").record.status == "finished"
