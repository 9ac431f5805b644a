"""Tests run side by side: one thread each, so that they do not wait for one another."""

import gc
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton, where it is installed

import pytest
from hypothesis import HealthCheck, settings

from pipelines.host.git_variables import PLACES

# a neighbour may take the processor at any moment
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

OF_THE_CALLER = (
    *("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),  # what a console shows
    *("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"),  # the tests of the gate would write into their own job's summary
    "PYTHONUNBUFFERED",  # two processes on one pipe would mix their lines, which are written in parts
    *PLACES,  # a git hook that runs the tests has set them: what tests commit would go to its repository
)
"""variables that change what is printed, and where"""
for name in OF_THE_CALLER:
    os.environ.pop(name, None)
os.environ["TERM"] = "xterm"

GIT = {"commit.gpgSign": "false", "core.autocrlf": "false", "core.hooksPath": os.devnull}
"""what the repositories that tests make do not take from the developer's configuration"""
for number, (key, value) in enumerate(GIT.items(), start=int(os.environ.get("GIT_CONFIG_COUNT", "0"))):
    variables = {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    os.environ |= variables | {"GIT_CONFIG_COUNT": str(number + 1)}


LONGEST = {"test_first_hour.py"}
"""files that come first: one that a worker began last would let the others wait for it"""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


MODULES = pytest.StashKey[int]()
"""that were imported when the heap was frozen"""
MANY = 50


def freeze(config):
    """Leave what there is out of garbage collection, which every trial does once."""
    gc.collect()
    gc.freeze()
    config.stash[MODULES] = len(sys.modules)


def pytest_collection_finish(session):
    freeze(session.config)  # the collected tests, and the libraries


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    if len(sys.modules) > item.config.stash[MODULES] + MANY:
        freeze(item.config)  # libraries that a test was the first to need, such as the compiler of torch


def pytest_sessionfinish(session):
    gc.unfreeze()  # nanobind complains of whatever is left at the end of the process
