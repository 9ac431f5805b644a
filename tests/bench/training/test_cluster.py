"""Trials over Ray nodes on this machine: nodes and drivers that are killed, a full disk, and the gate's pairs."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import psutil
import pytest

from bench.command_line import cli
from bench.training import cluster
from bench.training.tasks import Failure, TrialTask
from pipelines.distributed import launch_variables
from results import store
from tests.bench.conftest import ROOT, SMALL, TIMEOUT, environment, launch, only_run, wait
from tests.bench.training.test_launch import check_all_end

SWEEP = ROOT / "bench" / "sweep.py"


@pytest.mark.parametrize(
    ("shape", "node", "at_a_time"),
    [
        ({"threads": 2}, {"CPU": 8}, 4),
        ({"threads": 2}, {"CPU": 1}, 0),
        ({"threads": 2}, {}, 0),
        ({"processes": 2, "threads": 4}, {"CPU": 32}, 4),
        ({"threads": 2, "gpus_per_process": 1}, {"CPU": 16, "GPU": 4}, 4),
        ({"threads": 2, "gpus_per_process": 1}, {"CPU": 16}, 0),
        ({"gpus_per_process": 0.1}, {"CPU": 64, "GPU": 1}, 10),
        ({"gpus_per_process": 0.2}, {"CPU": 64, "GPU": 1}, 5),
        ({"gpus_per_process": 0.4}, {"CPU": 64, "GPU": 2}, 4),
        ({"gpus_per_process": 0.6}, {"CPU": 64, "GPU": 2}, 2),
        ({"processes": 4, "gpus_per_process": 1}, {"CPU": 64, "GPU": 8}, 2),
    ],
)
def test_so_many_trials_fit_on_a_node(tmp_path, shape, node, at_a_time):
    task = TrialTask(("digits/quick",), 0, tmp_path, **shape)
    assert cluster.fitting(task.cpus, task.gpus, node) == at_a_time


class NodeDiedError(Exception):
    """What Ray raises for a task whose nodes were lost."""


class OwnError(NodeDiedError):
    """What Ray raises for a task that raised."""

    cause = ValueError("no data")


class FakeRay:
    """A cluster of one node, on which each task ends when it is asked for."""

    exceptions = SimpleNamespace(RayError=NodeDiedError, RayTaskError=OwnError)

    def __init__(self, error=None):
        self.error = error
        """what comes of each task"""
        self.started, self.cancelled = [], []

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 8.0}}]

    def remote(self, function):
        return SimpleNamespace(options=self._options)

    def _options(self, **given):
        self.given = given
        return SimpleNamespace(remote=self._start)

    def _start(self, task, at_a_time):
        self.started.append(task.seed)
        return task.seed

    def wait(self, references, timeout):
        return references[:1], references[1:]

    def get(self, reference):
        if self.error:
            raise self.error
        return f"trial {reference}"

    def is_initialized(self):
        return True

    def cancel(self, reference, *, force):
        assert force
        self.cancelled.append(reference)


def test_tasks_that_nobody_takes_any_more_are_ended(tmp_path):
    ray = FakeRay()
    trained = cluster.Cluster(ray).train([TrialTask(("digits/quick",), seed, tmp_path) for seed in range(3)])
    assert next(trained)[1] == "trial 0"
    trained.close()
    assert (ray.started, ray.cancelled) == ([0, 1, 2], [1, 2])


def test_a_trial_whose_nodes_are_lost_is_started_again_three_times_and_then_fails_alone(tmp_path):
    ray = FakeRay(NodeDiedError())
    tasks = [TrialTask(("digits/quick",), seed, tmp_path) for seed in range(2)]
    found = [failure for _, failure in cluster.Cluster(ray).train(tasks)]
    assert found == [Failure(cli.INTERNAL, "its node was lost 4 times (NodeDiedError)")] * 2
    assert (ray.started, ray.given["max_retries"]) == ([0, 1], 3)


def test_what_a_task_raises_is_raised_where_it_was_asked_for(tmp_path):
    with pytest.raises(ValueError, match="^no data$"):
        next(cluster.Cluster(FakeRay(OwnError())).train([TrialTask(("digits/quick",), 0, tmp_path)]))


@pytest.fixture(scope="module")
def nodes():
    """A cluster whose first node trains nothing; `add` gives it others, of one CPU each."""
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    os.environ |= {cluster.NICENESS: "0", "RAY_USAGE_STATS_ENABLED": "0"}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield found
    found.shutdown()
    os.environ.clear()
    os.environ |= before


def add(nodes, count):
    return [nodes.add_node(num_cpus=1) for _ in range(count)]


def sweep(nodes, folder, *words):
    address = ("--cluster", nodes.address, "--device", "cpu")
    return launch(SWEEP, "digits/quick", *SMALL, *address, *words, cwd=folder, variables=environment())


def trials_in(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/trials.jsonl"))


def wait_for_trials(folder, count, process):
    end = time.monotonic() + TIMEOUT
    while trials_in(folder) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_killed_node_loses_no_trial_and_a_killed_driver_is_resumed(nodes, tmp_path):
    first, *_ = add(nodes, 3)
    driver = sweep(nodes, tmp_path, "--trials", "6")
    wait_for_trials(tmp_path, 1, driver)
    nodes.remove_node(first, allow_graceful=False)
    wait_for_trials(tmp_path, 2, driver)
    trainings = [process.pid for process in psutil.process_iter(["cmdline"]) if is_training(process)]
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    check_all_end(trainings)
    run = only_run(tmp_path / "runs")
    assert 2 <= len(run.trials) < 6

    ended = wait(sweep(nodes, tmp_path, "--trials", "6", "--resume"))
    assert ended.status == 0, ended.err
    run = only_run(tmp_path / "runs")
    assert run.record.status == "finished"
    assert Counter(trial.seed for trial in run.trials) == Counter(range(6))
    assert all(trial.host for trial in run.trials)


def is_training(process):
    """Whether a process is a bench/run.py that a worker has started."""
    words = process.info["cmdline"] or []
    return any(word == str(ROOT / "bench" / "run.py") for word in words) and any("paceline-" in word for word in words)


@pytest.fixture
def sleeping():
    """Starts a command that sleeps, and ends it."""
    started = []

    def start(*command):
        started.append(subprocess.Popen(command))
        return psutil.Process(started[-1].pid)

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_trial_is_started_by_its_worker_whatever_started_ray(monkeypatch):
    """slurm-ray.sh starts Ray by srun, one task a node."""
    monkeypatch.setattr(cluster.os, "nice", lambda increment: 0)
    for name in launch_variables.OTHER_SIZES:
        monkeypatch.setenv(name, "4")
    task = SimpleNamespace(train=lambda at_a_time: launch_variables.check(os.environ))
    cluster._train_on_node(task, 1)


@pytest.mark.parametrize("number", cli.SIGNALS)
def test_a_signal_ends_the_driver_as_it_ends_others(tmp_path, monkeypatch, number):
    """Ray has a handler of its own, and raises KeyboardInterrupt in place of what a handler raises."""

    def init(**given):
        signal.signal(number, lambda number, frame: sys.exit(1))

    def wait(references, timeout):
        try:
            signal.raise_signal(number)
        except BaseException:  # noqa: BLE001  whatever it is
            raise KeyboardInterrupt from None

    ray = FakeRay()
    ray.init, ray.wait, ray.shutdown = init, wait, lambda: None
    monkeypatch.setattr(cluster.extras, "require", lambda *names: ray)
    tasks = [TrialTask(("digits/quick",), 0, tmp_path)]
    with pytest.raises(cli.Terminated) as ended, cli.terminating(), cluster.joined("auto") as joined:
        next(joined.train(tasks))
    assert ended.value.signal == number


@pytest.mark.parametrize("error", [ConnectionError("no answer"), NodeDiedError("no authentication\ntoken was found")])
def test_a_cluster_that_cannot_be_joined_is_one_line(monkeypatch, error):
    def init(**given):
        raise error

    fake = SimpleNamespace(init=init, exceptions=FakeRay.exceptions)
    monkeypatch.setattr(cluster.extras, "require", lambda *names: fake)
    words = rf"no Ray cluster answers at auto: .*RAY_AUTH_MODE=token \({' '.join(str(error).split())}\)$"
    with pytest.raises(ValueError, match=words), cluster.joined("auto"):
        pass


def test_a_ray_of_this_host_is_not_started_several_times(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(ValueError, match="SLURM_STEP_NUM_TASKS=4 is set"), cluster.joined(None):
        pass


def test_services_of_ray_end_without_a_word(monkeypatch, sleeping):
    """The autoscaler answers SIGTERM with a traceback that Ray prints on the standard output of its driver."""
    service = []

    def init(**given):
        service.append(sleeping(sys.executable, "-c", "import time; time.sleep(1000)"))

    monkeypatch.setattr(cluster.extras, "require", lambda *names: SimpleNamespace(init=init, shutdown=lambda: None))
    with cluster.joined(None):
        assert service[0].wait(60) == -signal.SIGKILL


def test_services_of_ray_are_those_that_run_python(sleeping):
    service, raylet = sleeping(sys.executable, "-c", "import time; time.sleep(1000)"), sleeping("sleep", "1000")
    assert cluster.services_in_python([service, raylet]) == {service}


@pytest.mark.slow
def test_all_of_a_local_ray_ends_with_a_driver_that_is_killed(tmp_path):
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    words = ("digits/short", "--workers", "1", "--trials", "100", "--threads", "1", "--device", "cpu")
    driver = launch(SWEEP, *words, cwd=tmp_path)
    wait_for_trials(tmp_path, 1, driver)
    children = [child.pid for child in psutil.Process(driver.pid).children(recursive=True)]
    driver.kill()
    driver.wait()
    check_all_end(children, patience=30)  # half of what Ray's agents take without it


@pytest.mark.slow
def test_nodes_of_unequal_size_train_one_run_and_a_full_disk_keeps_its_trials(nodes, tmp_path):
    added = [nodes.add_node(num_cpus=cpus) for cpus in (1, 2)]
    driver = sweep(nodes, tmp_path, "--trials", "20")
    wait_for_trials(tmp_path, 1, driver)
    (written,) = tmp_path.glob("runs/*/trials.jsonl")
    full = written.stat().st_size
    resource.prlimit(driver.pid, resource.RLIMIT_FSIZE, (full, full))  # the next write to it fails as on a full disk
    ended = wait(driver)
    assert ended.status == 2
    assert "could not be written (File too large); the trials before it are kept" in ended.err
    run = only_run(tmp_path / "runs")
    assert 1 <= len(run.trials) < 20
    assert run.warnings == ()
    for node in added:
        nodes.remove_node(node)


@pytest.mark.slow
def test_the_gate_trains_both_sides_in_pairs_on_one_host(nodes, tmp_path):
    node = nodes.add_node(num_cpus=2)
    (tmp_path / "small.yaml").write_text("base: digits/quick\nepochs: 1\ntarget: 0.01\nmodel: {widths: [4]}\n")
    (tmp_path / "suite.yaml").write_text("- {recipe: small.yaml, trials: 2}\n")
    words = (
        "--against",
        ROOT,
        "--suite",
        "suite.yaml",
        "--cluster",
        nodes.address,
        "--device",
        "cpu",
        "--threads",
        "1",
    )
    ended = wait(launch(ROOT / "bench" / "gate.py", *words, cwd=tmp_path))
    assert ended.status == 2, ended.err
    assert "small: pair 2/2" in ended.err
    sides = {side: store.find(list(tmp_path.glob(f"runs/*/*/{side}"))) for side in ("accepted", "new")}
    pairs = {run.record.interleaved: [run] for run in sides["accepted"]}
    for run in sides["new"]:
        pairs[run.record.interleaved].append(run)
    assert len(pairs) == 2
    for accepted, new in pairs.values():
        trials = [*accepted.trials, *new.trials]
        assert trials[0].host == trials[1].host
        (seed,) = {trial.seed for trial in trials}
        assert (trials[0].started < trials[1].started) == (seed % 2 == 0)
    nodes.remove_node(node)


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path):
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    ended = wait(launch(SWEEP, "digits/quick", "--cluster", "127.0.0.1:9", cwd=tmp_path))
    assert ended.status == 2
    assert "no Ray cluster answers at 127.0.0.1:9" in ended.err
    assert ended.err.count("\n") == 1
