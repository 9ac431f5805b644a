"""Children that are no trainings: how they are started, what they report, and how they end."""

import inspect
import json
import math
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from bench.command_line import cli
from bench.training import events, launch
from bench.training.launch import Children, Launch, LaunchError
from tests.bench.conftest import ROOT, TIMEOUT, environment
from tests.bench.conftest import launch as start

PATIENCE = 60.0
"""seconds in which children end after their parent has been killed, on a machine that has other work to do"""


def launch_of(tmp_path, program, *arguments, **more):
    """A launch of a checkout whose bench/run.py is this program."""
    script = tmp_path / "bench" / "run.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(f"import json, os, signal, sys, time\n{program}")
    return Launch(arguments, checkout=tmp_path, **more)


def report(event):
    """Source text that reports an event."""
    return f"print({events.encode(event)!r}, flush=True)\n"


def seen_by(tmp_path, program, **more):
    """What a child reports of itself as JSON."""
    source = f"print(json.dumps(dict(event='Message', recipe='', text=json.dumps({program}))), flush=True)"
    found = []
    with Children() as children:
        assert children.run(launch_of(tmp_path, source, **more), found.append) == 0
    (message,) = found
    return json.loads(message.text)


def test_a_child_reports_events_and_its_status(tmp_path, capfd):
    trial = events.TrialFinished("a", 1, 1, 0, "reached", 0.5, 1.0)
    child = launch_of(tmp_path, f"print('noise', flush=True)\n{report(trial)}sys.exit(int(sys.argv[1]))", "2")
    found = []
    with Children() as children:
        assert children.run(child, found.append) == 2
    assert found == [trial]
    assert capfd.readouterr().err == "noise\n"


def test_a_child_that_prints_no_whole_line_before_its_first_event_is_heard(tmp_path, capfd):
    found = []
    child = launch_of(tmp_path, f"print('loading', end='', flush=True)\n{report(events.Waiting())}")
    with Children() as children:
        assert children.run(child, found.append) == 0
    assert found == [events.Waiting()]
    assert capfd.readouterr().err == "loading"


def test_a_child_that_asks_for_input_does_not_wait_for_ever(tmp_path):
    assert seen_by(tmp_path, "os.path.sameopenfile(0, os.open(os.devnull, os.O_RDONLY))")


def test_a_launcher_that_is_not_there_is_one_line(tmp_path, capfd):
    with Children() as children:
        assert children.run(launch_of(tmp_path, "", launcher=("nosuch",)), print) == 2
    assert capfd.readouterr().err == "nosuch: cannot be started: No such file or directory\n"


def test_a_child_that_a_signal_ended_has_the_status_of_a_shell(tmp_path):
    with Children() as children:
        assert children.run(launch_of(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)"), print) == 137


def test_the_status_1_of_a_launcher_is_not_read_as_worse(tmp_path):
    with Children() as children:
        assert children.run(launch_of(tmp_path, "sys.exit(1)"), print) == 2


def test_a_child_that_must_succeed_names_its_command(tmp_path):
    with Children() as children, pytest.raises(LaunchError, match=r"bench/run.py x ended with status 3"):
        children.run_or_raise(launch_of(tmp_path, "sys.exit(3)", "x"), print)


def test_a_child_sees_its_variables_and_not_those_of_our_launcher(tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "ACCELERATE_MIXED_PRECISION", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv(events.INTERLEAVED, "ours")
    found = seen_by(tmp_path, "dict(os.environ)", variables={"OWN": "1"})
    assert {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", events.INTERLEAVED}.isdisjoint(found)
    assert not any(name.startswith("ACCELERATE_") for name in found)
    assert (found["OMP_WAIT_POLICY"], found["OWN"]) == ("passive", "1")
    assert found[events.REPORTS] == "1"


def test_a_command_of_the_user_does_not_report_to_our_parent():
    """It may be bench/run.py: with these it would print events, and wait for permission at a closed input."""
    given = {events.REPORTS: "1", events.INTERLEAVED: "ours", "OWN": "1"}
    assert launch.without_launcher(given) == {"OWN": "1"}


def test_a_child_has_its_folder_and_a_file_for_its_errors(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    errors = tmp_path / "errors"
    changes = {"folder": tmp_path / "elsewhere", "errors": errors}
    assert seen_by(tmp_path, "(print('broken', file=sys.stderr), os.getcwd())[1]", **changes) == str(changes["folder"])
    assert errors.read_text() == "broken\n"


def test_a_launcher_comes_before_the_script(tmp_path):
    one = Launch(("a", "--trials", "1"), launcher=("accelerate", "launch"), checkout=tmp_path)
    assert one.command == ["accelerate", "launch", str(tmp_path / "bench" / "run.py"), "a", "--trials", "1"]


TRIALS = """
for trial in range(int(sys.argv[2])):
    print('{"event": "Waiting"}', flush=True)
    sys.stdin.readline()
    print(json.dumps(dict(event="Message", recipe=sys.argv[1], text=os.environ["PACELINE_INTERLEAVED"])), flush=True)
"""


def test_interleaved_launches_train_one_trial_at_a_time(tmp_path):
    launches = {name: launch_of(tmp_path, TRIALS, name, "3") for name in "ab"}
    found = []
    with Children() as children:
        children.interleave(launches, 3, lambda name, event: found.append((name, event)))
    assert [name for name, _ in found] == [event.recipe for _, event in found] == ["a", "b", "b", "a", "a", "b"]
    assert len({event.text for _, event in found}) == 1, "they share an id"


WARMING_UP = """
def note(what):
    with open(sys.argv[3], "a") as log:
        print(sys.argv[1], what, file=log)
note("starts")
time.sleep(0.5)
note("is warm")
"""


def test_an_interleaved_launch_starts_when_the_one_before_it_is_warm(tmp_path):
    log = tmp_path / "log"
    launches = {name: launch_of(tmp_path, WARMING_UP + TRIALS, name, "1", str(log)) for name in "ab"}
    with Children() as children:
        children.interleave(launches, 1, lambda name, event: None)
    assert log.read_text().splitlines() == ["a starts", "a is warm", "b starts", "b is warm"]


def children_now():
    """The children of this process, in which other tests may have left the server of a process pool."""
    return {child.pid for child in psutil.Process().children()}


def test_an_interleaved_launch_that_fails_ends_the_other(tmp_path):
    before = children_now()
    failing = tmp_path / "failing"
    failing.mkdir()
    launches = {"a": launch_of(tmp_path, TRIALS, "a", "3"), "b": launch_of(failing, "sys.exit(2)")}
    with pytest.raises(LaunchError, match="ended with status 2"), Children() as children:
        children.interleave(launches, 3, print)
    assert children_now() <= before


COUNTING = """
count = 0
def handle(number, frame):
    global count
    count += 1
    if count == 1:
        threading.Timer(0.5, lambda: os._exit(10 + count)).start()
import threading
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, handle)
print('{"event": "Waiting"}', flush=True)
while True:
    time.sleep(0.01)
"""


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, cli.Terminated)])
def test_a_signal_is_passed_on_once_and_ends_the_command(tmp_path, monkeypatch, number, error):
    monkeypatch.setattr(launch, "REPEATED", math.inf)  # else a pause between the two would make it a second signal
    handler = signal.getsignal(number)
    with pytest.raises(error), Children() as children:

        def signal_twice(event):
            signal.raise_signal(number)
            signal.raise_signal(number)

        assert children.run(launch_of(tmp_path, COUNTING), signal_twice) == 11
        children.start(launch_of(tmp_path, ""))
    assert signal.getsignal(number) is handler


DEAF = """
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
print('{"event": "Waiting"}', flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_kills_a_child_that_does_not_end(tmp_path, monkeypatch, number):
    monkeypatch.setattr(launch, "REPEATED", 0.0)

    def signal_twice(event):
        signal.raise_signal(number)
        signal.raise_signal(number)

    with Children() as children:
        assert children.run(launch_of(tmp_path, DEAF), signal_twice) == 128 + signal.SIGKILL


def test_torchrun_kills_its_processes_before_it_is_killed_itself():
    from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent

    assert inspect.signature(LocalElasticAgent).parameters["shutdown_timeout"].default + 5 < launch.PATIENCE


def test_one_process_starts_the_children(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="without a launcher"), Children():
        pass


def test_no_child_outlives_the_command(tmp_path):
    before = children_now()
    with Children() as children:
        children.start(launch_of(tmp_path, "time.sleep(1000)"))
        assert len(children_now() - before) == 1
    assert children_now() <= before


def is_running(number):
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_all_end(numbers, patience=PATIENCE):
    end = time.monotonic() + patience
    while left := [number for number in numbers if is_running(number)]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


PARENT = """
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from bench.training.launch import Children, Launch
launch = Launch((), checkout=Path(sys.argv[1]))
def show(event):
    os.write(1, f"{event.text}\\n".encode())  # in one part, which the other thread's cannot split
with Children() as children, ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda number: children.run(launch, show), range(2)))
"""


def test_children_end_when_their_parent_is_killed(tmp_path):
    program = "print(json.dumps(dict(event='Message', recipe='', text=str(os.getpid()))), flush=True)\ntime.sleep(1000)"
    launch_of(tmp_path, program)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path], env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    numbers = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    check_all_end(numbers)


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
@pytest.mark.parametrize(
    "command",
    [
        ("scale.py", "digits/quick", "epochs=1000", "--processes", "2,1"),
        (*TORCHRUN, ROOT / "bench" / "run.py", "digits/quick", "epochs=1000"),
    ],
)
def test_trainings_end_when_their_command_is_killed(tmp_path, command):
    script, *words = command
    first = script if script == "-m" else ROOT / "bench" / script
    parent = start(first, *words, "--device", "cpu", cwd=tmp_path)
    end = time.monotonic() + TIMEOUT
    while not any(tmp_path.rglob("run.json")):
        assert parent.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    numbers = [child.pid for child in psutil.Process(parent.pid).children(recursive=True)]
    assert numbers
    parent.kill()
    parent.communicate()
    check_all_end(numbers)


def test_the_starter_ends_where_its_parent_has_ended_before():
    nobody = "0"  # the number of no process; this one may be process 1 of a container
    ended = subprocess.run([sys.executable, "-c", launch.STARTER, nobody, "true"], check=False)
    assert ended.returncode == 143
