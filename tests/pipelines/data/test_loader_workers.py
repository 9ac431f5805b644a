"""Worker processes of the torchvision loader: they end with the process that trains."""

import os
import signal
import subprocess
import sys

import pytest

from tests.pipelines.processes import wait_for_end

PARENT = """
import os, sys, time
from torch.utils.data import DataLoader
from torch.utils.data._utils import worker
from pipelines.data.torchvision_loader import attach_to_training

worker.MP_STATUS_CHECK_INTERVAL = float(sys.argv[1])  # seconds after which a worker looks up from its queue
loader = DataLoader(range(4), num_workers=2, persistent_workers=True, worker_init_fn=attach_to_training)
batches = iter(loader)
next(batches), next(batches)  # one of each worker, which is set up by then
print(*(each.pid for each in batches._workers), flush=True)
for each in batches._workers:
    each.join()
print("ended", flush=True)
"""


@pytest.fixture
def training(request):
    """A process that waits for its two workers, and their numbers. request.param: seconds, as above."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(request.param)], stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in parent.stdout.readline().split()]
    assert len(workers) == 2
    yield parent, workers
    parent.kill()
    parent.wait()


@pytest.mark.parametrize("training", [1], indirect=True)  # a signal just before a worker waits is seen after that
def test_the_end_of_a_job_which_signals_every_process_is_no_error_of_theirs(training):
    parent, workers = training
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    assert parent.stdout.read() == "ended\n"


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
@pytest.mark.parametrize("training", [1000], indirect=True)  # torch's own look at the parent does not help
def test_they_end_when_it_is_killed(training):
    parent, workers = training
    parent.kill()
    parent.wait()
    wait_for_end(workers)
