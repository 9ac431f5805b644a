import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import search
from pipelines import recipe
from pipelines.data.sources import digits
from pipelines.host import runtime
from pipelines.recipe import yaml_reader
from tests.bench.conftest import launch, wait

optuna = pytest.importorskip("optuna")
from bench.searching import search_cluster, search_study  # noqa: E402  they import Optuna
from bench.searching.search_study import Plan  # noqa: E402
from bench.training import trainers  # noqa: E402
from bench.training.tasks import Failure  # noqa: E402

CPU = torch.device("cpu")
SMALL = ("digits/quick", "optimizer.lr=log:1e-3..1", "model.widths=[4]", "epochs=1", "--threads", "1")
STUDY = Path("runs/search/digits-quick.journal")


@pytest.fixture
def find(call):
    """`bench/search.py …` in this process; the study goes to `tmp_path`/runs/search."""
    return partial(call, search, "--device", "cpu")


def studies():
    return studies_of("digits-quick")


def studies_of(name):
    backend = search_study.JournalFileBackend(f"runs/search/{name}.journal")
    storage = search_study.JournalStorage(backend)
    return [optuna.load_study(study_name=stage, storage=storage) for stage in search_study.STAGES]


def values(studies):
    return [(trial.params, trial.value) for study in studies for trial in study.trials]


def test_a_search_ends_with_its_tables_and_a_recipe_that_runs(find):
    ended = find(*SMALL, "--trials", "4", "--sampler-seed", "0")
    assert (ended.status, ended.err) == (0, "")
    coarse, refined = studies()
    assert [len(study.trials) for study in (coarse, refined)] == [4, 4]
    low, high = (coarse.best_params["optimizer.lr"] * 10 ** (sign * 0.75) for sign in (-1, 1))
    assert all(low <= trial.params["optimizer.lr"] <= high for trial in refined.trials)
    winner = recipe.load("runs/search/digits-quick.yaml")
    best = search_study.best_of([coarse, refined])
    assert winner.optimizer.lr == best.params["optimizer.lr"]
    assert (winner.model.widths, winner.epochs, winner.data) == ((4,), 1, recipe.load("digits/quick").data)
    assert "best trials" in ended.out
    assert "importance" in ended.out
    assert f"{100 * best.value:.2f}" in ended.out


def test_a_search_goes_on_where_it_was(find):
    find(*SMALL, "--trials", "2", "--sampler-seed", "0")
    before = values(studies())
    assert find(*SMALL, "--trials", "2").status == 0
    assert values(studies()) == before
    find(*SMALL, "--trials", "3")
    assert [len(study.trials) for study in studies()] == [3, 3]


def test_a_journal_of_another_space_is_refused(find):
    find(*SMALL, "--trials", "1")
    ended = find("digits/quick", "optimizer.lr=0.1..0.2", "--trials", "1")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "is a search of another space: give another --study" in ended.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["epochs=2"], "with fixed ['epochs=1', 'model.widths=[4]'], not ['epochs=2', 'model.widths=[4]']"),
        (["--validation", "0.2"], "with validation 0.1, not 0.2"),
        (["--seeds", "2"], "with seeds 1, not 2"),
        (["--sampler", "grid"], "with points None, not 4"),
    ],
)
def test_a_journal_of_other_settings_is_refused(find, words, message):
    find(*SMALL, "--trials", "1")
    ended = find(*SMALL, "--trials", "1", *words)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert f"{STUDY} is a search {message}: give another --study" in ended.err


def test_a_journal_of_another_recipe_is_refused(find):
    Path("mine.yaml").write_text("base: digits/quick\ntitle: Mine\n")
    find(*SMALL, "--trials", "1")
    ended = find("mine.yaml", *SMALL[1:], "--trials", "1", "--study", STUDY)
    assert (ended.status, "with recipe digits/quick, not mine.yaml" in ended.err) == (2, True)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_that_goes_on_draws_other_values(find, sampler):
    words = (*SMALL, "--sampler", sampler, "--sampler-seed", "0", "--pruner", "none")
    find(*words, "--trials", "2")
    find(*words, "--trials", "4")
    drawn = [{trial.params["optimizer.lr"] for trial in study.trials} for study in studies()]
    assert [*map(len, drawn)] == [4] * len(search_study.STAGES)


def test_a_grid_visits_every_point_once(find):
    words = ("optimizer.nesterov=true|false", "--sampler", "grid", "--points", "2")
    assert find(*SMALL, *words).status == 0
    coarse, refined = studies()
    visited = {(trial.params["optimizer.lr"], trial.params["optimizer.nesterov"]) for trial in coarse.trials}
    assert visited == {(lr, nesterov) for lr in (1e-3, 1.0) for nesterov in (True, False)}
    assert (len(coarse.trials), len(refined.trials)) == (4, 2), "the second stage keeps the better choice"


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_choices_may_be_lists_and_groups(find, recwarn, sampler):
    words = ("digits/quick", "model.widths=[4]|[4, 8]", "augment={crop: 1}|{crop: 0}", "epochs=1", "--sampler", sampler)
    for trials in (1, 2):
        assert find(*words, "--trials", trials, "--threads", "1").status == 0
    assert [str(warning.message) for warning in recwarn if "Choices" in str(warning.message)] == []
    best = search_study.best_of(studies())
    winner = recipe.load("runs/search/digits-quick.yaml")
    assert list(winner.model.widths) == best.params["model.widths"]


def test_a_point_of_a_grid_that_was_broken_off_is_tried_again(find, monkeypatch):
    whole, calls = search_study.score, []

    def score(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(search_study, "score", score)
    words = (*SMALL, "--sampler", "grid", "--points", "3")
    assert find(*words).status == 130
    assert find(*words).status == 0
    coarse, _ = studies()
    assert sorted(trial.state.name for trial in coarse.trials) == ["COMPLETE"] * 3 + ["FAIL"]
    visited = [trial.params["optimizer.lr"] for trial in coarse.trials if trial.state.name == "COMPLETE"]
    assert sorted(visited) == search_study.Range(1e-3, 1, log=True).points(3)


def test_a_space_may_lie_in_a_file(find):
    Path("space.yaml").write_text("optimizer.lr: log:1e-3..1\nepochs: 1\nmodel.widths: [4]\nscaling: null\n")
    assert find("digits/quick", "--space", "space.yaml", "--trials", "1").status == 0
    assert len(studies()[0].trials) == 1


def test_scrambled_test_labels_give_the_same_search(tmp_path, one_thread):
    """What the search scores, and all it keeps, comes from the training set."""
    whole = digits.read(Path())
    scrambled = replace(whole, test_labels=np.roll(whole.test_labels, 7), test_images=whole.test_images[::-1])
    plan = Plan(
        "digits/quick",
        {"optimizer.lr": search_study.Range(1e-3, 1, log=True)},
        ("model.widths=[4]", "epochs=1"),
        trials=3,
        sampler_seed=0,
    )
    found = [
        values(
            search_study.run(
                plan,
                tmp_path / f"{number}.journal",
                partial(search_study.train_stage, plan, dataset, Path(), CPU),
                lambda line: None,
            )
        )
        for number, dataset in enumerate((whole, scrambled))
    ]
    assert found[0] == found[1]
    assert len({value for _, value in found[0]}) > 1, "the search had something to find"


def test_the_search_does_not_have_the_test_set(digits_dataset):
    left = search_study.without_test_set(digits_dataset)
    assert (len(left.test_images), len(left.test_labels)) == (0, 0)
    assert left.train_images is digits_dataset.train_images


@pytest.fixture
def digits_dataset():
    return digits.read(Path())


def test_a_trial_that_is_behind_is_pruned(find):
    """Good rates first, then one that learns nothing: it is broken off after an epoch."""
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
    plan = Plan("digits/quick", {"optimizer.lr": search_study.Range(1e-9, 1)}, ("model.widths=[4]", "epochs=3"))
    study.set_user_attr("space", search_study.search_space.to_json(plan.space))
    for rate in (0.1, 0.1, 1e-9):
        study.enqueue_trial({"optimizer.lr": rate})
    dataset = digits.read(Path())
    search_study.train_stage(plan, dataset, Path(), CPU, study, 3, lambda study, trial: None)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert list(study.trials[2].intermediate_values) == [1]


@pytest.mark.slow
def test_processes_share_a_study(tmp_path):
    script = Path(search.__file__)
    started = [launch(script, *SMALL, "--trials", "4", "--device", "cpu", cwd=tmp_path) for _ in range(2)]
    ended = [wait(process) for process in started]
    assert [(one.status, one.err) for one in ended] == [(0, ""), (0, "")]
    storage = search_study.JournalStorage(search_study.JournalFileBackend(str(tmp_path / STUDY)))
    counts = [len(optuna.load_study(study_name=stage, storage=storage).trials) for stage in search_study.STAGES]
    assert all(4 <= count <= 5 for count in counts), "at most the trials in progress are too many"
    for stage, count in zip(search_study.STAGES, counts, strict=True):
        shown = [int(number) for one in ended for number in re.findall(rf"^{stage} (\d+): ", one.out, re.MULTILINE)]
        assert sorted(shown) == [*range(1, count + 1)], "each trial by one process, and one may have trained them all"


def searched():
    """All of the first stage; of the second what precedes its pruning, which depends on who ends first."""
    coarse, refined = studies()
    trials = [*coarse.trials, *refined.trials[:5]]
    return [(trial.params, trial.state.name, trial.intermediate_values, trial.value) for trial in trials]


@pytest.mark.slow
def test_ray_workers_search_and_prune_what_this_process_would(find, tmp_path):
    """Five trials that were perfect after an epoch, then two that are not."""
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    if runtime.cores() == 1:
        pytest.skip("there is one core, and a worker needs one of its own")
    STUDY.parent.mkdir(parents=True)
    rates = search_study.Range(1e-3, 1, log=True)
    plan = Plan("digits/quick", {"optimizer.lr": rates})
    study = search_study.open_study(plan, STUDY, search_study.STAGES[0])
    study.set_user_attr("space", search_study.search_space.to_json(plan.space))
    perfect = optuna.trial.create_trial(
        value=1.0,
        params={"optimizer.lr": rates.low},
        distributions={"optimizer.lr": optuna.distributions.FloatDistribution(rates.low, rates.high, log=True)},
        intermediate_values={1: 1.0},
    )
    study.add_trials([perfect] * 5)
    planted = STUDY.read_bytes()
    words = ("digits/quick", "optimizer.lr=log:1e-3..1", "model.widths=[4]", "epochs=2", "--trials", "7")
    words += ("--pruner", "median", "--sampler-seed", "0", "--threads", "1")
    assert find(*words).status == 0
    here = searched()
    STUDY.write_bytes(planted)
    ended = wait(launch(Path(search.__file__), *words, "--device", "cpu", "--workers", "2", cwd=tmp_path))
    assert (ended.status, ended.err) == (0, "")
    assert searched() == here
    pruned = studies()[0].trials[5:]
    assert [(trial.state.name, set(trial.intermediate_values)) for trial in pruned] == [("PRUNED", {1})] * 2
    assert all(f"coarse {trial.number + 1}: pruned" in ended.out for trial in pruned)


class FailingCluster:
    """Has room for one trial at a time, and loses its node."""

    def places(self, threads, gpus):
        return 1

    def actor(self, kind):
        return SimpleNamespace(follow=SimpleNamespace(remote=lambda trial: None))

    def train(self, tasks, at_most):
        for task in tasks:
            yield task, Failure(3, "its node was lost 4 times")


def test_a_trial_that_no_worker_could_train_ends_the_search_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda reference: reference))
    plan = Plan("digits/quick", {"optimizer.lr": search_study.Range(1e-3, 1)})
    study = optuna.create_study(direction="maximize")
    study.set_user_attr("space", search_study.search_space.to_json(plan.space))
    with pytest.raises(ValueError, match="^trial 1: its node was lost 4 times$"):
        search_cluster.train_stage(plan, FailingCluster(), (0, 1), tmp_path, study, 2, lambda study, trial: None)
    assert [trial.state.name for trial in study.trials] == ["FAIL"]


class InterruptedCluster(FailingCluster):
    """Gets Ctrl-C while a trial trains."""

    def train(self, tasks, at_most):
        next(tasks)
        raise KeyboardInterrupt
        yield


def test_a_trial_that_was_interrupted_on_a_worker_does_not_count_as_running(tmp_path, monkeypatch):
    """The sampler keeps away from the values of trials that run, also in a search that goes on."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda reference: reference))
    plan = Plan("digits/quick", {"optimizer.lr": search_study.Range(1e-3, 1)})
    study = optuna.create_study(direction="maximize")
    study.set_user_attr("space", search_study.search_space.to_json(plan.space))
    with pytest.raises(KeyboardInterrupt):
        search_cluster.train_stage(plan, InterruptedCluster(), (0, 1), tmp_path, study, 2, lambda study, trial: None)
    assert [trial.state.name for trial in study.trials] == ["FAIL"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits/quick"], "nothing to search"),
        ([*SMALL, "--workers", "1", "--cluster", "auto"], "give one of them"),
        (["digits/quick", "optimizer.rl=1..2"], "optimizer.rl"),
        (["digits/quick", "optimizer.lr=-1..2"], "optimizer.lr"),
        (["digits/quick", "optimizer.lr=2..1"], "to a larger one"),
        (["digits/quick", "optimizer.lr"], "an option is written"),
        (["digits/quick", "optimizer.lr=1..2", "--validation", "0"], "data.evaluate=validation"),
        (["digits/quick", "--space", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_use_is_one_line_and_exit_status_2(find, arguments, message):
    ended = find(*arguments)
    assert (ended.status, ended.err.count("\n")) == (2, 1), ended
    assert ended.err.startswith("bench/search.py: error: ")
    assert message in ended.err


def test_without_optuna_a_line_says_what_to_install(find, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    ended = find(*SMALL)
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "pip install -e '.[search]' -c constraints.txt" in ended.err


OWN = """
def train(run, rate: float, momentum: float = 0.5):
    run.evaluated(1, accuracy=1 - abs(rate - 0.3))
    return 1 - abs(rate - 0.3)
"""


def test_the_arguments_of_a_function_are_searched(find):
    Path("mine.py").write_text(OWN)
    ended = find("mine.py:train", "rate=0.1..0.9", "target=0.9", "--trials", "4", "--sampler-seed", "0")
    assert (ended.status, ended.err) == (0, "")
    winner = recipe.load_any("runs/search/mine.py-train.yaml")
    assert (winner.function, winner.target) == ("train", 0.9)
    assert winner.arguments["rate"] == pytest.approx(0.3, abs=0.25)


@pytest.fixture(params=["mine.py:train", "mine.yaml"])
def edited(request):
    """A search of a file, and what edits the file."""
    Path("mine.py").write_text(OWN)
    Path("mine.yaml").write_text("base: digits/quick\nepochs: 1\nmodel: {widths: [4]}\n")

    def edit():
        Path("mine.py").write_text(OWN + "# changed\n")
        Path("mine.yaml").write_text("base: digits/quick\nepochs: 2\nmodel: {widths: [4]}\n")

    space = "rate=0.1..0.9" if request.param.endswith("train") else "optimizer.lr=log:1e-3..1"
    return (request.param, space, "target=0.9"), edit


def test_a_study_of_a_file_that_was_edited_does_not_go_on(find, edited):
    words, edit = edited
    assert find(*words, "--trials", "1").status == 0
    assert find(*words, "--trials", "2").status == 0
    edit()
    ended = find(*words, "--trials", "3")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "is a search with recipe hash" in ended.err


@pytest.mark.parametrize("trial", [1, 2], ids=["within a stage", "between the stages"])
def test_a_file_that_is_edited_during_a_search_ends_it(find, edited, monkeypatch, trial):
    words, edit = edited
    whole, calls = search_study.score, []

    def score(*arguments):
        calls.append(arguments)
        found = whole(*arguments)
        if len(calls) == trial:
            edit()
        return found

    monkeypatch.setattr(search_study, "score", score)
    ended = find(*words, "--trials", "2")
    assert (ended.status, len(calls)) == (2, trial)
    assert f"{words[0]}: has changed since the search began: change it back" in ended.err


def test_a_command_is_refused(find):
    Path("mine.yaml").write_text("command: ./train\ntarget: 0.9\n")
    ended = find("mine.yaml", "command=./train 1|./train 2")
    assert (ended.status, ended.err.count("\n")) == (2, 1)
    assert "mine.yaml: is a command" in ended.err


def test_an_argument_that_a_function_lacks_is_refused_before_any_trial(find):
    Path("mine.py").write_text(OWN)
    ended = find("mine.py:train", "rte=0.1..0.9", "target=0.9")
    assert ended.status == 2
    assert "there is no argument 'rte'; did you mean rate?" in ended.err


def test_a_function_gets_the_data_set_that_is_named(find):
    Path("mine.py").write_text(
        "def train(run, rate: float):\n    return rate * len(run.dataset().train_images) / 10_000\n"
    )
    ended = find("mine.py:train", "rate=0.1..0.9", "data.name=digits", "target=0.05", "--trials", "1")
    assert (ended.status, ended.err) == (0, "")
    (trial,) = studies_of("mine.py-train")[0].trials
    assert trial.value == pytest.approx(0.1437 * trial.params["rate"])


def test_a_function_finds_its_data_in_the_folder_that_is_given(find, monkeypatch):
    found = []
    monkeypatch.setattr(trainers, "load_data", lambda data, folder, world: found.append((data.name, folder)))
    Path("mine.py").write_text("def train(run, rate: float):\n    run.dataset()\n    return rate\n")
    words = ("mine.py:train", "rate=0.1..0.9", "data.name=mnist", "target=0.05", "--data-dir", "data")
    assert find(*words, "--trials", "1", "--seeds", "2").status == 0
    assert found == [("mnist", Path("data"))] * 2, "once in each of the two trials"


def test_fixed_numbers_are_numbers_in_the_winner_too(find):
    find(*SMALL, "optimizer.weight_decay=1e-4", "--trials", "1")
    winner = yaml_reader.read(Path("runs/search/digits-quick.yaml").read_text())
    assert winner["optimizer"]["weight_decay"] == 1e-4
