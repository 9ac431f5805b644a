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

OF_THE_CALLER = {*PLACES, "COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"}
"""a hook's, by which git would work on the repository of the hook, and a terminal's, which change what is printed"""
for name in OF_THE_CALLER:
    os.environ.pop(name, None)

# a neighbour may take the processor at any moment
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


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
