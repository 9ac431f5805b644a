"""Processes that begin as forks of one server, which has imported what they need and done nothing.

Importing torch takes longer than most of what they do.
"""

import multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["tests.pipelines.processes", "pipelines.strategies.ddp", "tests.results.test_store_killed"]
)
