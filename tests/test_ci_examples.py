"""The example workflows are YAML whose commands this tree has, with options that they know."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from bench import compare, gate, suites
from bench import jobs as run_jobs

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "configs" / "ci").glob("*.yml"))
PARSERS = {"gate": gate.parse, "compare": compare.parse, "run": run_jobs.parse}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_calls_commands_that_are_there(path):
    (job,) = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    called = re.findall(r"bench/(\w+)\.py ([^)\n>|]*)", "\n".join(step.get("run", "") for step in job["steps"]))
    assert called
    for command, arguments in called:
        options = PARSERS[command](shlex.split(arguments))
        if command == "gate":
            assert options.suite in suites.names()
    assert "timeout-minutes" in job


def test_there_is_one_for_a_gpu_and_one_for_a_cpu():
    assert [path.name for path in EXAMPLES] == ["nightly-gpu.yml", "pull-request-cpu.yml"]


def test_the_gpu_example_runs_the_tests_that_need_one():
    (job,) = yaml.safe_load(EXAMPLES[0].read_text(encoding="utf-8"))["jobs"].values()
    assert any("pytest -m gpu" in step.get("run", "") for step in job["steps"])
