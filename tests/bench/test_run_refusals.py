"""bench/run.py: what a caller can mend is one line and exit status 2."""

import contextlib
import os
import re
import resource
import socket
from pathlib import Path

import pytest
import torch

from bench.training import ranks, trainers
from pipelines.distributed.process_group import World
from tests.bench.conftest import ONE_THREAD, ROOT, SMALL, command, environment, error_of, launch, only_run, wait


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("digits/quik",),
            "called 'digits/quik' (did you mean digits/quick or digits/short?); bench/recipes.py list",
        ),
        (("nosuch=1",), "digits/quick: nosuch: there is no such option; bench/run.py --help recipe lists them"),
        (("epochs=many",), "digits/quick: epochs='many': it should be a number"),
        (("augment.flip=up",), "augment.flip='up': it should be none, random or alternating"),
        (("batch_size=5000",), "batch_size=5000 is more than the 1437 training images, and drop_last leaves out"),
        (("data.limit=10",), "batch_size=64 is more than the 10 training images"),
        (("--device", "tpu"), "--device 'tpu': use auto, cpu, cuda or cuda:N"),
        (("--device", "mps"), "--device mps: Paceline trains on cpu and cuda"),
        (("precision=half", "half_dtype=float16"), "half_dtype=float16 on a CPU: convolutions would train about"),
        (("nowhere.yaml",), "nowhere.yaml: there is no such file"),
        (("--resume", "nowhere"), "nowhere: no run there; a run is a directory with a file run.json"),
        (("--data-dir", "/dev/null"), "/dev/null: Not a directory; change its permissions or name another folder"),
    ],
)
def test_what_the_caller_can_mend_is_one_line(main, arguments, words):
    if "--data-dir" in arguments:
        arguments = ("mnist/base", *arguments)
    assert words in error_of(main(*arguments))
    assert not Path("runs").exists()


def test_a_recipe_that_will_not_do_keeps_no_other_from_its_training(main):
    Path("bad.yaml").write_text("base: digits/quick\nbatch_size: 5000\n")
    ended = main("bad.yaml", "digits/quick", *SMALL, "epochs=1", "--trials", "1")
    assert ended.status == 2
    assert ended.err.startswith("bench/run.py: error: bad: batch_size=5000 is more than the 1437 training images")
    run = only_run(Path("runs"))
    assert run.record.recipe_name == "digits/quick"
    assert "startup" not in {lap.name for lap in run.trials[0].laps}


def test_cuda_where_there_is_none(main):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert "sees no CUDA device; use --device cpu" in error_of(main("--device", "cuda"))


def test_several_wrong_options_are_named_in_one_line(main):
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
    """No file may grow beyond 20,000 bytes: run.json does not, with several GPUs either, and a score of trials do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_written(main, small_files):
    message = error_of(main(*SMALL, "--trials", "100", "--quiet"))
    assert "make room and resume the run" in message
    run = only_run("runs")
    assert 1 <= len(run.trials) < 100
    assert run.record.status == "failed"
    assert f"the trial of seed={len(run.trials)} could not be written (File too large)" in run.record.reason


def test_a_trial_that_fails_is_an_internal_error(main, monkeypatch, tmp_path):
    def fail(*arguments):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(trainers, "run_trial", fail)
    ended = main(*SMALL)
    assert ended.status == 3
    assert ended.err.startswith("bench/run.py: internal error: RuntimeError: a trial of digits/quick failed: ")
    assert ended.err.count("\n") == 1
    (log,) = tmp_path.glob("paceline-run-*.log")
    assert "ZeroDivisionError: planted" in log.read_text()
    assert only_run(Path("runs")).record.status == "failed"


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE='abc' is not a whole number of at least 1"),
        ({"LOCAL_RANK": "3"}, "LOCAL_RANK=3 is set without RANK"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}, "OMPI_COMM_WORLD_SIZE=2 is set"),
        ({"PMI_SIZE": "2"}, "PMI_SIZE=2 is set"),
    ],
)
def test_what_another_launcher_left_is_named(main, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert message in error_of(main(*SMALL))


def test_machines_with_other_options_are_refused(main, monkeypatch):
    """Their collective operations would not fit together."""

    class Two(World):
        def gather(self, value):
            return [value, value | {"--communication": "True"}]

    monkeypatch.setattr(ranks, "joined", lambda *arguments: contextlib.nullcontext(Two()))
    message = "the processes must have the same --communication: rank 0 has 'False' and rank 1 has 'True'"
    assert message in error_of(main(*SMALL))
    assert not Path("runs").exists()


@pytest.fixture
def port(monkeypatch):
    """The port of rank 0 of two processes, which this one is. The other never comes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = str(free.getsockname()[1])
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    variables = place | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": number}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield number
    assert not torch.distributed.is_initialized()


def test_a_wrong_world_size(main, port):
    ended = main(*SMALL, "--timeout", "1")
    assert ended.status == 2
    assert f"error: rank 0 of 2 found no way to the others through 127.0.0.1:{port} within 1 s" in ended.err
    assert ended.err.count("\n") == 1


def test_a_port_that_is_taken(main, port):
    with socket.create_server(("127.0.0.1", int(port))):
        ended = main(*SMALL, "--timeout", "1")
    assert ended.status == 2
    assert re.search(rf"error: rank 0 of 2 found no way .*127.0.0.1:{port} .*(in use|EADDRINUSE)", ended.err), ended.err


def test_paths_that_are_no_utf_8_are_recorded_with_question_marks(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    path = folder / os.fsdecode(b"r\xe9.yaml")
    path.write_text("base: digits/quick\n")
    words = (path.relative_to(tmp_path), *SMALL, *ONE_THREAD, "epochs=1", "--trials", "1", "--out", folder)
    ended = command(*words, cwd=tmp_path)
    assert ended.status == 0, ended.err
    run = only_run(folder)
    assert run.record.recipe_name == "r?"
    assert "caf?/r?.yaml" in run.record.command
    query = wait(launch(ROOT / "bench" / "query.py", "select recipe from runs", folder, cwd=tmp_path))
    assert query.status == 0, query.err
    assert "r?" in query.out
