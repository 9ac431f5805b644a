"""Two machines: network namespaces on one host, joined by a virtual link that can be cut."""

import contextlib
import os
import re
import signal
import subprocess
import time

import pytest

from tests.bench.conftest import RUN, SMALL, TIMEOUT, environment, launch, only_run, wait

pytestmark = pytest.mark.slow
ADDRESSES = ("10.213.7.1", "10.213.7.2")
TORCHRUN = ("-m", "torch.distributed.run", "--nnodes", "2", "--nproc_per_node", "1", "--master_port", "29517")
QUIET = (*SMALL, "--device", "cpu", "--threads", "1", "--quiet")


OUTSIDE = "import os, sys; os.execvp('unshare', ['unshare', '--uts', sys.executable, '-c', *sys.argv[1:]])"
INSIDE = """
import os, socket, sys
socket.sethostname(sys.argv[1])
os.execvp("ip", ["ip", "netns", "exec", sys.argv[1], sys.executable, *sys.argv[2:]])
"""
"""A launcher in a namespace whose processes take themselves for those of another host."""


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


@pytest.fixture
def machines():
    """The names of two namespaces with an address each."""
    names = [f"pace{os.getpid() % 100000}{side}" for side in "ab"]
    try:
        try:
            for name in names:
                ip("netns", "add", name)
            ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
            for name, address in zip(names, ADDRESSES, strict=True):
                ip("link", "set", name, "netns", name)
                ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
                ip("-n", name, "link", "set", name, "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces are not permitted here: {getattr(error, 'stderr', error)}")
        yield names
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                for number in ip(
                    "netns", "pids", name, check=False
                ).stdout.split():  # workers outlive a killed launcher
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(number), signal.SIGKILL)
                ip("netns", "del", name, check=False)


def start(machines, folder, *arguments):
    """A launcher on each machine, with a folder of its own."""
    for rank, name in enumerate(machines):
        place = folder / str(rank)
        place.mkdir()
        variables = environment(GLOO_SOCKET_IFNAME=name, OMP_NUM_THREADS="1")
        node = ("--node_rank", rank, "--master_addr", ADDRESSES[0])
        yield launch(
            "-c", OUTSIDE, INSIDE, name, *TORCHRUN, *node, RUN, *QUIET, *arguments, cwd=place, variables=variables
        )


def test_a_link_that_is_cut_ends_both_sides_and_the_first_keeps_the_record(machines, tmp_path):
    processes = list(start(machines, tmp_path, "--trials", "500", "--timeout", "15"))
    try:
        end = time.monotonic() + TIMEOUT
        while not any(path.stat().st_size for path in tmp_path.glob("0/runs/*/trials.jsonl")):
            assert time.monotonic() < end
            assert processes[0].poll() is None, wait(processes[0])
            time.sleep(0.05)
        ip("-n", machines[0], "link", "set", machines[0], "down")
        ended = [wait(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(one.status != 0 for one in ended)
    run = only_run(tmp_path / "0" / "runs")
    assert (run.record.status, run.record.world_size, run.record.environment.strategy) == ("failed", 2, "DDP")
    assert len(run.trials) >= 1
    assert not (tmp_path / "1" / "runs").exists()
    assert re.search(r"rank 1 .*did not answer", run.record.reason), run.record.reason
    for rank, one in enumerate(ended):
        assert re.search(rf"rank {1 - rank} .*did not answer", one.err), one.err
