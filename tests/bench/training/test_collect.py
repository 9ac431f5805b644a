"""Trials that were recorded elsewhere become one run here."""

import pytest

from bench.command_line.cli import Terminated
from bench.command_line.jobs import Job
from bench.training import collect, spread
from bench.training.collect import CollectedRun
from bench.training.tasks import Failure, Trained, TrialTask
from pipelines import recipe
from pipelines.host import environment
from pipelines.recipe.scripts import code_of, sha256_of
from results import store
from results.record import Run
from tests.results import builders

COMMAND = ["bench/sweep.py", "digits/quick"]
CODE = ("f" * 40, False)
"""commit of the builders' records"""


@pytest.fixture(autouse=True)
def code(monkeypatch):
    """Sets the commit of this checkout, and whether it has changes; at first that of the records."""

    def is_now(commit, dirty, digest=None):
        monkeypatch.setattr(environment, "git_state", lambda folder: (commit, dirty))
        monkeypatch.setattr(environment, "uncommitted_code", lambda folder, dirty: digest)

    is_now(*CODE)
    return is_now


def job(seeds=(0, 1, 2)):
    return Job("digits/quick", recipe.load("digits/quick"), tuple(seeds))


def recorded(tmp_path, seed, host="h1", **changes):
    """A run of one trial, as a node records it."""
    environment = {"machine_id": host, "host_hash": host, "machine_class": "CPU", "versions": {"torch": "2.13.0"}}
    hashed = recipe.load("digits/quick").hash
    record = builders.record(
        recipe_name="digits/quick", recipe_hash=hashed, seeds=[seed], environment=environment | changes
    )
    return Run(record, (builders.trial(seed, index=0),), tmp_path)


def collected(tmp_path):
    return CollectedRun(job(), tmp_path / "runs", COMMAND)


def resumed(run):
    collect.go_on([run])
    run.resume()
    return run


def test_trials_of_several_hosts_are_one_run_and_say_where_they_were_trained(tmp_path):
    run = collected(tmp_path)
    gpus = [{"index": 0, "uuid": "GPU-1"}]
    for seed, host in ((2, "h1"), (0, "h2"), (1, "h1")):
        run.add(recorded(tmp_path, seed, host, gpus=gpus), {"mine.py": "pass"})
    run.finish()
    (found,) = store.find([tmp_path / "runs"])
    assert (found.record.status, found.record.seeds, found.record.command) == ("finished", [0, 1, 2], COMMAND)
    placed = [(trial.index, trial.seed, trial.host.hash, trial.host.gpus) for trial in found.trials]
    assert sorted(placed) == [(0, 0, "h2", ("GPU-1",)), (1, 1, "h1", ("GPU-1",)), (2, 2, "h1", ("GPU-1",))]
    assert (run.path / "source" / "mine.py").read_text() == "pass"


def test_a_trial_of_another_machine_class_is_refused_and_stays_missing(tmp_path):
    run = collected(tmp_path)
    run.add(recorded(tmp_path, 0), {})
    with pytest.raises(ValueError, match="on host h2 machine_class is 'other', and where the run began it is 'CPU'"):
        run.add(recorded(tmp_path, 1, "h2", machine_class="other"), {})
    assert run.missing_seeds == [1, 2]


def test_a_seed_is_written_once(tmp_path):
    run = collected(tmp_path)
    run.add(recorded(tmp_path, 0), {})
    with pytest.raises(ValueError, match="has its trial already"):
        run.add(recorded(tmp_path, 0, "h2"), {})


def test_an_unfinished_run_of_the_same_job_is_resumed(tmp_path):
    first = collected(tmp_path)
    first.add(recorded(tmp_path, 1), {})
    first.finish("Ctrl-C", is_interrupted=True)
    second = resumed(collected(tmp_path))
    assert (second.path, second.missing_seeds) == (first.path, [0, 2])
    for seed in second.missing_seeds:
        second.add(recorded(tmp_path, seed, "h3"), {})
    second.finish()
    (run,) = store.find([tmp_path / "runs"])
    assert (run.record.status, len(run.trials)) == ("finished", 3)
    third = resumed(collected(tmp_path))
    assert third.path is None, "a finished run is not continued"


def test_an_unfinished_run_is_found_without_a_change_of_its_record(tmp_path):
    first = collected(tmp_path)
    first.add(recorded(tmp_path, 1), {})
    first.finish("Ctrl-C", is_interrupted=True)
    before = (first.path / "run.json").read_bytes()
    second = collected(tmp_path)
    collect.go_on([second])
    assert second.missing_seeds == [0, 2]
    assert (first.path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (("e" * 40, False), "commit was 'fff"),
        ((CODE[0], True), "dirty was False and is True now"),
        ((*CODE, "12ab"), "code was None and is '12ab' now"),
    ],
)
def test_a_run_of_other_code_is_refused_before_anything_trains(tmp_path, code, now, message):
    first = collected(tmp_path)
    first.add(recorded(tmp_path, 1), {})
    first.finish("Ctrl-C", is_interrupted=True)
    code(*now)
    with pytest.raises(ValueError, match=f"{first.path.name}: cannot be resumed: {message}.*leave out --resume"):
        collect.go_on([collected(tmp_path)])


@pytest.mark.parametrize(
    ("words", "is_found"),
    [
        (("lr=0.3", "target=0.5"), True),
        (("target=0.5", "lr=0.3"), True),
        (("lr=0.1", "target=0.5"), False),
        (("target=0.5",), False),
        (("lr=0.3", "target=0.6"), False),
        (("lr=0.3", "target=0.5", "depth=2"), False),
    ],
)
def test_a_run_of_a_function_is_resumed_with_its_arguments_alone(tmp_path, monkeypatch, words, is_found):
    """The record has the arguments that were not given too, and the file's hash."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("pass")
    options = {"entry": "mine.py:train", "target": 0.5, "arguments": {"lr": 0.3, "depth": 2}, "code": code_of("pass")}
    command = ["bench/sweep.py", "mine.py:train", "target=0.5", "lr=0.3", "--trials=3"]
    record = builders.record(recipe_name="mine.py:train", recipe=options, command=command, seeds=[0, 1, 2])
    store.create(tmp_path, record).finish("interrupted")
    asked = Job("mine.py:train", recipe.load_any("mine.py:train", words), (0, 1, 2))
    run = CollectedRun(asked, tmp_path, ["bench/sweep.py", "mine.py:train", *words])
    assert (resumed(run).path is not None) == is_found
    run.finish()


@pytest.mark.parametrize("name", ["mine.py:train", "command.yaml"])
@pytest.mark.parametrize("text", ["pass", "pass  # changed"])
def test_a_run_of_another_text_is_another_run(tmp_path, monkeypatch, name, text):
    """As one of a recipe with other options is. Its trials would be refused after they were trained."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.py"
    path.write_text("pass")
    (tmp_path / "command.yaml").write_text("command: python mine.py {seed}\ntarget: 0.5\n")
    asked = recipe.load_any(name, ["target=0.5"])
    known = {"code": code_of("pass"), "files": {"mine.py": sha256_of(path)}}
    options = asked.model_dump(mode="json", exclude_none=True) | known
    command = ["bench/sweep.py", name, "target=0.5"]
    record = builders.record(recipe_name="mine", recipe=options, command=command, seeds=[0])
    store.create(tmp_path, record).finish("interrupted")
    path.write_text(text)
    run = resumed(CollectedRun(Job("mine", asked, (0,)), tmp_path, command))
    assert (run.path is not None) == (text == "pass")
    run.finish()
    if name.endswith("train"):
        other = Job("mine", recipe.load_any("mine.py:test", ["target=0.5"]), (0,))
        assert resumed(CollectedRun(other, tmp_path, command)).path is None


def test_two_drivers_cannot_write_one_run(tmp_path):
    first = collected(tmp_path)
    first.add(recorded(tmp_path, 1), {})
    with pytest.raises(ValueError, match="writes this run"):
        resumed(collected(tmp_path))


def test_a_run_that_is_written_leaves_no_other_running(tmp_path):
    runs = [CollectedRun(job(), tmp_path / name, COMMAND) for name in "ab"]
    for run in runs:
        run.add(recorded(tmp_path, 1), {})
    runs[0].finish("Ctrl-C", is_interrupted=True)
    again = [CollectedRun(job(), tmp_path / name, COMMAND) for name in "ab"]
    collect.go_on(again)
    with pytest.raises(ValueError, match="writes this run"):
        spread.resume(again)
    (found,) = store.find([tmp_path / "a"])
    assert found.record.status == "interrupted"
    assert "writes this run" in found.record.reason


class FakeCluster:
    """Gives back what is planned for each seed."""

    def __init__(self, results):
        self.results = results
        self.order = []

    def train(self, tasks):
        for task in tasks:
            self.order.append((task.arguments[0], task.seed))
            found = self.results(task)
            if isinstance(found, BaseException):
                raise found
            yield task, found


def tasks(name, tmp_path, seeds=(0, 1, 2)):
    return [TrialTask((name,), seed, tmp_path) for seed in seeds]


def test_recipes_alternate_and_a_failure_leaves_the_others(tmp_path, capsys):
    runs = [CollectedRun(job(), tmp_path / name, COMMAND) for name in "ab"]
    cluster = FakeCluster(
        lambda task: Failure(3, "its node was lost") if task.seed == 1 else Trained(recorded(tmp_path, task.seed), {})
    )
    events = []
    planned = [(run, tasks(name, tmp_path)) for name, run in zip("ab", runs, strict=True)]
    assert spread.train(planned, cluster.train, events.append, "bench/sweep.py") == 3
    assert cluster.order == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert len(events) == 4
    assert capsys.readouterr().err.count("bench/sweep.py: error: digits/quick: seed 1: its node was lost\n") == 2
    found = [store.find([tmp_path / name])[0] for name in "ab"]
    assert [(run.record.status, run.missing_seeds) for run in found] == [("failed", [1]), ("failed", [1])]


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (KeyboardInterrupt(), "interrupted", "Ctrl-C"),
        (Terminated(), "interrupted", "SIGTERM"),
        (OSError(28, "No space left on device"), "failed", "[Errno 28] No space left on device"),
    ],
)
def test_what_ends_the_driver_is_recorded(tmp_path, error, status, reason):
    run = collected(tmp_path)
    cluster = FakeCluster(lambda task: error if task.seed else Trained(recorded(tmp_path, 0), {}))
    with pytest.raises(type(error)):
        spread.train([(run, tasks("a", tmp_path))], cluster.train, print, "bench/sweep.py")
    (found,) = store.find([tmp_path / "runs"])
    assert (found.record.status, found.record.reason, len(found.trials)) == (status, reason, 1)
