"""The command as people start it: in a process of its own, killed, resumed, launched by Accelerate."""

import json
import os
import pty
import resource
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from bench import run_trials
from pipelines import recipe
from pipelines.data import sources
from pipelines.environment import git_state
from results import store
from tests.bench.conftest import (
    ONE_THREAD,
    ROOT,
    RUN,
    SMALL,
    TIMEOUT,
    command,
    environment,
    launch,
    measured,
    only_run,
    train,
    wait,
)

LONG = ("model.widths=[16]", "epochs=10")
"""digits/quick with trials that last long enough to be killed in"""


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """(what the caller saw, seconds, folder) of a shortened first run, in which a warning of ours would be an error."""
    folder = tmp_path_factory.mktemp("first")
    start = time.monotonic()
    ended = wait(launch("-W", "error::UserWarning", RUN, *SMALL, *ONE_THREAD, cwd=folder))
    return ended, time.monotonic() - start, folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, one_thread):
    """The run that the killed ones should have been."""
    return train(*LONG, "--trials", "3", "--out", str(tmp_path_factory.mktemp("undisturbed")))


@pytest.fixture
def killed(tmp_path):
    """What is left of a run of three trials that got a signal after its first; the run as it was kept."""

    def call(number):
        process = launch(RUN, *LONG, *ONE_THREAD, cwd=tmp_path)
        try:
            wait_for_a_trial(tmp_path, process)
            process.send_signal(number)
            ended = wait(process)
        finally:
            process.kill()
        return ended, only_run(tmp_path / "runs")

    return call


def wait_for_a_trial(folder, process):
    """Return when a whole line is in trials.jsonl."""
    end = time.monotonic() + TIMEOUT
    while not any(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/trials.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)


def error_of(ended):
    """The one line on stderr of a command that its caller can mend."""
    assert ended.status == 2, ended
    assert ended.err.startswith("bench/run.py: error: ")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


def settled(run):
    return [measured(trial) for trial in run.trials]


@pytest.mark.parametrize("option", ["--help", "--list"])
def test_what_is_asked_before_a_run_does_not_wait_for_torch(tmp_path, option):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = command(option, cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (ended.status, ended.err) == (0, "")
    assert "cifar10/davidnet-10 " in ended.out
    # of a processor that may be busy with other things; torch alone takes over a second
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    imports = wait(launch("-X", "importtime", RUN, option, cwd=tmp_path)).err.splitlines()
    modules = {line.rpartition("|")[2].strip() for line in imports}
    assert "pipelines.recipe.schema" in modules
    assert modules.isdisjoint({"torch", "accelerate", "sklearn", "torchvision"})


def test_the_list_has_every_recipe_with_its_title(main):
    ended = main("--list")
    assert (ended.status, ended.err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert lines == {name: recipe.title(name) for name in recipe.names()}


def test_a_first_run_is_kept(first_run):
    ended, seconds, folder = first_run
    assert (ended.status, ended.err) == (0, "")
    run = only_run(folder / "runs")
    assert json.loads((run.path / "run.json").read_text())["status"] == "finished"
    lines = (run.path / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1, 2]
    assert run.record.command == [str(RUN), *SMALL, *ONE_THREAD]
    assert run.record.environment["variables"]["OMP_NUM_THREADS"] == "1"
    assert run.record.environment["threads"]["intra_op"] == 1
    first, *others = run.trials
    assert 0.1 < first.seconds("startup") < first.seconds("total") < seconds + 0.1
    assert not any(trial.seconds("startup", "load", "compile", "total") for trial in others)


def test_a_first_run_shows_its_trials_its_table_its_record_and_what_is_next(first_run):
    ended, _, folder = first_run
    run = only_run(folder / "runs")
    for number, trial in enumerate(run.trials, start=1):
        assert f"digits/quick: trial {number}/3, seed {trial.seed}: {trial.outcome}, {trial.accuracy:.2%}" in ended.out
        cells = [str(trial.seed), f"{100 * trial.accuracy:.2f}"]
        assert cells in [line.split()[:2] for line in ended.out.splitlines()]
    assert f"digits/quick, run {run.record.id}" in ended.out
    assert "record time" in ended.out
    assert f"\nrecord: runs/{run.path.name}\n" in ended.out
    assert "next: accelerate launch bench/run.py mnist/base" in ended.out
    assert "\x1b" not in ended.out, "control characters in a log"


def test_another_process_gets_the_same_numbers(first_run, main):
    _, _, folder = first_run
    assert main(*SMALL, "--quiet").status == 0
    assert settled(only_run("runs")) == settled(only_run(folder / "runs"))


def test_quiet_shows_a_line_a_trial(main):
    ended = main(*SMALL, "--trials", "2", "--quiet")
    lines = [line for line in ended.out.splitlines() if line.startswith("digits/quick: ")]
    assert [line.partition(",")[0] for line in lines] == ["digits/quick: trial 1/2", "digits/quick: trial 2/2"]


def test_several_recipes_have_a_record_and_a_row_each(main):
    Path("mine.yaml").write_text("base: digits/quick\ntitle: mine\n")
    ended = main("digits/quick", "mine.yaml", *SMALL, "--trials", "1", "--protocol", "dawnbench")
    assert (ended.status, ended.err) == (0, "")
    assert {run.record.recipe_name for run in store.find(["runs"])} == {"digits/quick", "mine"}
    assert ended.out.count("record: ") == 2
    rows = [line.split()[0] for line in ended.out.splitlines() if "of 1 (97.00%)" in line]
    assert rows == ["digits/quick", "mine"]
    assert "dawnbench time" in ended.out


def test_a_yaml_file_anywhere(main, tmp_path):
    path = tmp_path / "elsewhere" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("base: digits/quick\nepochs: 1\n")
    ended = main(path, "model.widths=[4]", "--trials", "1")
    assert (ended.status, ended.err) == (0, "")
    run = only_run("runs")
    assert run.record.recipe["epochs"] == 1
    assert run.path.name.split("_")[1] == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits/quik",), "no recipe is called 'digits/quik' (did you mean digits/quick?); --list shows them all"),
        (("nosuch=1",), "digits/quick: nosuch: there is no such knob; --help lists them"),
        (("epochs=many",), "digits/quick: epochs='many': it should be a valid number"),
        (("augment.flip=up",), "augment.flip='up': it should be 'none', 'random' or 'alternating'"),
        (("batch_size=5000",), "batch_size=5000 is more than the 1437 training images, and drop_last leaves out"),
        (("data.limit=10",), "batch_size=64 is more than the 10 training images"),
        (("--device", "tpu"), "--device 'tpu': say auto, cpu, cuda or cuda:N"),
        (("--device", "mps"), "--device mps: Paceline trains on cpu and cuda"),
        (("precision=half", "half_dtype=float16"), "half_dtype=float16 on a CPU: convolutions would train about"),
        (("nowhere.yaml",), "nowhere.yaml: there is no such recipe file"),
        (("--resume", "nowhere"), "nowhere: no run there; a run is a directory with a file run.json"),
        (("--data-dir", "/dev/null"), "/dev/null: Not a directory; change its permissions or name another folder"),
    ],
)
def test_what_the_caller_can_mend_is_one_line(main, arguments, words):
    if "--data-dir" in arguments:
        arguments = ("mnist/base", *arguments)
    assert words in error_of(main(*arguments))
    assert not Path("runs").exists()


def test_cuda_where_there_is_none(main):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert "sees no CUDA device; say --device cpu" in error_of(main("--device", "cuda"))


def test_several_wrong_knobs_are_named_in_one_line(main):
    message = error_of(main("nosuch=1", "epochs=many"))
    assert "nosuch" in message
    assert "epochs='many'" in message


def test_a_broken_yaml_file(main):
    Path("broken.yaml").write_text("epochs: [1\nbatch_size: }")
    assert "broken.yaml: is not YAML" in error_of(main("broken.yaml"))


def test_missing_data_without_a_network(tmp_path):
    """In a process of its own, so that a traceback would be seen, and the proxy is not one that was asked before."""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    variables = environment(**nowhere, no_proxy="", NO_PROXY="")
    folder = tmp_path / "empty"
    ended = command("mnist/base", *ONE_THREAD, "--data-dir", folder, cwd=tmp_path, variables=variables)
    message = error_of(ended)
    assert f"mnist is not in {folder}: missing MNIST/raw/train-images-idx3-ubyte" in message
    assert f"python bench/data.py mnist --data-dir {folder}" in message
    assert "could not be downloaded" in message
    assert not (tmp_path / "runs").exists()


def test_an_out_that_is_no_folder(main):
    Path("file").touch()
    message = error_of(main(*SMALL, "--out", "file"))
    assert "file" in message


@pytest.fixture
def small_files():
    """No file may grow beyond 5,000 bytes: run.json does not, and a few trials do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_written(main, small_files):
    message = error_of(main(*SMALL, "--trials", "9", "--quiet"))
    assert "make room and resume the run" in message
    run = only_run("runs")
    assert 1 <= len(run.trials) < 9
    assert run.record.status == "failed"
    assert f"the trial of seed={len(run.trials)} could not be written (File too large)" in run.record.reason


@pytest.mark.parametrize(
    ("number", "status", "reason"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")]
)
def test_a_signal_in_the_middle_keeps_finished_trials(killed, main, undisturbed, number, status, reason):
    ended, broken_off = killed(number)
    assert (ended.status, ended.err) == (status, "")
    assert "stopped; finished trials are kept" in ended.out
    assert (broken_off.record.status, broken_off.record.reason) == ("interrupted", reason)
    assert [trial.seed for trial in broken_off.trials] in ([0], [0, 1])
    assert "after" in broken_off.record.environment
    check_resumed(main, broken_off, undisturbed)


def test_a_kill_keeps_finished_trials(killed, main, undisturbed):
    ended, broken_off = killed(signal.SIGKILL)
    assert (ended.status, ended.err) == (-signal.SIGKILL, "")
    assert broken_off.record.status == "running"
    assert [trial.seed for trial in broken_off.trials] in ([0], [0, 1])
    check_resumed(main, broken_off, undisturbed)


def check_resumed(main, broken_off, undisturbed):
    """All seeds, and the numbers of a run that nothing disturbed."""
    assert main("--resume", broken_off.path, "--quiet").status == 0
    resumed = store.read(broken_off.path)
    assert (resumed.record.status, resumed.record.reason, resumed.missing_seeds) == ("finished", None, [])
    assert resumed.trials[: len(broken_off.trials)] == broken_off.trials
    assert settled(resumed) == settled(undisturbed)


def test_after_ctrl_c_it_is_said_which_run_to_resume(main, monkeypatch):
    monkeypatch.setattr(run_trials, "run_trial", lambda *arguments: signal.raise_signal(signal.SIGINT))
    ended = main(*SMALL)
    assert ended.status == 130
    (path,) = Path("runs").iterdir()
    assert f"--resume {path}" in ended.out


def test_resume_in_a_process_of_its_own(first_run, tmp_path):
    """A run that lost its last two trials, one of them torn, given by its run.json."""
    _, _, folder = first_run
    whole = only_run(folder / "runs")
    commit, dirty = git_state(ROOT)  # now: somebody may be at work in this tree
    record = whole.record.model_copy(update={"commit": commit, "dirty": dirty})
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "run.json").write_text(record.model_dump_json())
    (copy / "trials.jsonl").write_text((whole.path / "trials.jsonl").read_text().splitlines()[0] + '\n{"index": 1, "se')
    ended = command("--resume", copy / "run.json", *ONE_THREAD, cwd=tmp_path)
    assert (ended.status, ended.err) == (0, "")
    assert "trial 1/2, seed 1" in ended.out
    assert "trials.jsonl:2: skipped a damaged line" in ended.out
    assert settled(store.read(copy)) == settled(whole)


def test_resume_of_a_finished_run_trains_nothing_and_says_so(main):
    main(*SMALL, "--trials", "2")
    run = only_run("runs")
    ended = main("--resume", run.path)
    assert (ended.status, ended.err) == (0, "")
    assert only_run("runs").trials == run.trials
    assert f"run {run.record.id}" in ended.out
    assert f"record: {run.path}" in ended.out
    assert "trial 1/" not in ended.out
    assert "no trial is missing" in ended.out or "nothing" in ended.out


def test_a_doctored_recipe_is_not_resumed(main):
    main(*SMALL, "--trials", "1")
    run = only_run("runs")
    path = run.path / "run.json"
    text = path.read_text().replace('"batch_size": 64', '"batch_size": 32')
    path.write_text(text)
    (run.path / "trials.jsonl").write_text("")
    message = error_of(main("--resume", run.path))
    assert "can not be resumed: recipe_hash was" in message
    assert path.read_text() == text


def test_ctrl_c_while_torch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    variables = environment(PYTHONPATH=f"{tmp_path}:{RUN.parents[1]}")
    ended = wait(launch(RUN, cwd=tmp_path, variables=variables))
    assert ended.status in (130, -signal.SIGINT)
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_a_terminal_gets_a_bar_that_is_taken_down(tmp_path):
    """A process on a pseudo-terminal, whose output is read until it ends."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(tmp_path)
        os.execve(sys.executable, [sys.executable, str(RUN), *SMALL, *ONE_THREAD], environment(TERM="xterm"))
    output = b""
    try:
        while chunk := os.read(terminal, 4096):
            output += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    _, status = os.waitpid(child, 0)
    text = output.decode()
    assert os.waitstatus_to_exitcode(status) == 0, text
    assert "warming up" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "trial 3/3, seed 2" in text


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "cifar10" in name else name for name in recipe.names()]
)
def test_a_sample_of_every_recipe_works_and_is_kept_apart(main, name):
    chosen, folder = recipe.load(name), sources.default_folder()
    if sources.source(chosen.data.name).find(folder) is None:
        pytest.skip(f"{chosen.data.name} is not in {folder}; PACELINE_DATA names the folder with the data sets")
    ended = main(name, "--sample", "--trials", "1", "--data-dir", folder)
    assert (ended.status, ended.err) == (0, "")
    run = only_run("runs")
    assert (run.record.sample, run.record.status) == (True, "finished")
    assert run.record.recipe_hash != chosen.hash
    assert run.record.recipe["data"]["limit"] <= 256
    assert "record time (sample: a shortened or made-up training" in " ".join(ended.out.split())
    assert run.trials[0].samples <= 512


@pytest.mark.slow
def test_accelerate_launches_one_process(tmp_path):
    ended = wait(launch("-m", "accelerate.commands.launch", RUN, "epochs=1", "--trials", "1", cwd=tmp_path))
    assert ended.status == 0, ended.err
    run = only_run(tmp_path / "runs")
    assert (run.record.status, run.record.world_size, len(run.trials)) == ("finished", 1, 1)
    assert run.record.environment["threads"]["intra_op"] > 1, "the launcher's OMP_NUM_THREADS=1 was obeyed"


@pytest.mark.slow
def test_a_sigterm_to_the_launcher_stops_what_it_launched(tmp_path):
    """Of the one process too, which the launcher does not wait for: it would train on with nobody to see it."""
    launched = ("-m", "accelerate.commands.launch", RUN, *LONG, *ONE_THREAD, "--trials", 8)
    process = launch(*launched, cwd=tmp_path)
    try:
        wait_for_a_trial(tmp_path, process)
        process.terminate()
        end = time.monotonic() + TIMEOUT
        while (run := only_run(tmp_path / "runs")).record.status == "running" and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert (run.record.status, run.record.reason) == ("interrupted", "SIGTERM")
    assert 1 <= len(run.trials) < 8


@pytest.mark.slow
def test_accelerate_launches_two_processes_that_write_one_record(tmp_path):
    two = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0)
    ended = wait(launch(*two, RUN, "--device", "cpu", "epochs=1", "--trials", "1", cwd=tmp_path))
    assert ended.status == 0, ended.err
    run = only_run(tmp_path / "runs")
    assert (run.record.status, run.record.world_size, len(run.trials)) == ("finished", 2, 1)
    assert ended.out.count("trial 1/1, seed 0") == 1
    assert ended.out.count("record: ") == 1


@pytest.mark.slow
def test_two_processes_report_an_error_once(tmp_path):
    two = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", 2, "--main_process_port", 0)
    ended = wait(launch(*two, RUN, "--device", "cpu", "batch_size=65", "--trials", "1", cwd=tmp_path))
    assert ended.status != 0
    assert ended.err.count("bench/run.py: error: batch_size=65 cannot be shared equally by 2 processes") == 1
    assert not (tmp_path / "runs").exists()
