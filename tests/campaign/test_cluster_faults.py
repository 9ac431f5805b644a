"""A hundred trials over three Ray nodes, of which two are killed: none is lost, none is there twice."""

import json
import random
import time
from collections import Counter

import pytest

from results import store
from tests.bench.conftest import wait
from tests.bench.training.test_cluster import add, nodes, sweep, wait_for_trials
from tests.campaign.conftest import Row

pytestmark = pytest.mark.campaign
TRIALS = 100
KILLS = 2

__all__ = ["nodes"]


def test_nodes_that_are_killed_lose_no_trial(nodes, tmp_path, report):
    alive = add(nodes, 3)
    driver = sweep(nodes, tmp_path, "--trials", str(TRIALS))
    for kill in range(1, KILLS + 1):
        wait_for_trials(tmp_path, kill * TRIALS // (KILLS + 1), driver)
        time.sleep(random.uniform(0, 5))
        nodes.remove_node(alive.pop(), allow_graceful=False)
        alive += add(nodes, 1)
    ended = wait(driver, timeout=1800)
    assert ended.status == 0, ended.err
    (run,) = store.find([tmp_path / "runs"])
    lines = (run.path / store.TRIALS).read_text().splitlines()  # the reader would hide a second trial of a seed
    seeds = Counter(json.loads(line)["seed"] for line in lines)
    lost, twice = TRIALS - len(seeds), sum(count > 1 for count in seeds.values())
    report(Row(f"{KILLS} of 3 Ray nodes killed", 1, TRIALS, lost, twice, len(run.warnings)))
