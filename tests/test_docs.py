"""The documentation: links lead somewhere, the navigation is complete, and commands exist with their options."""

import contextlib
import csv
import importlib
import io
import json
import re
import runpy
import subprocess
from collections import defaultdict
from functools import cache
from statistics import fmean, mean, median

import pytest
import torch
import yaml

from bench import __version__
from bench.measured_tables import options_of
from pipelines.host.environment import capture
from results import simulation
from results.protocols import total_seconds
from results.store import find
from tests.test_architecture import REPOSITORY

README = REPOSITORY / "README.md"
DOCS = REPOSITORY / "docs"
PAGES = [README, REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:bench/(\w+)\.py|(?:^|`|-m )paceline (\w+))((?: [^\n`#|]*)?)", re.MULTILINE)


def name(path):
    return str(path.relative_to(REPOSITORY))


def anchors(path):
    """As GitHub and Python-Markdown make them of headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page):
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_the_pictures_of_the_strategies_are_what_the_script_draws():
    script = runpy.run_path(str(DOCS / "pictures.py"))
    drawn = {f"{title}.svg": script["svg"](picture) for title, picture in script["PICTURES"].items()}
    assert {path.name: path.read_text(encoding="utf-8") for path in script["FOLDER"].glob("*.svg")} == drawn
    page = (DOCS / "strategies.md").read_text(encoding="utf-8")
    assert all(f"(strategies/{file})" in page for file in drawn)


def test_every_page_is_in_the_navigation():
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    assert set(re.findall(r": (\S+\.md)$", text, re.MULTILINE)) == {page.name for page in DOCS.glob("*.md")}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_exist_with_the_options_that_are_shown(page):
    for script, subcommand, rest in COMMAND.findall(re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))):
        command = script or subcommand
        source = REPOSITORY / "bench" / f"{command}.py"
        assert source.is_file(), source
        known = {f"--{option}" for option in options_of_command(command)}
        given = {word.partition("=")[0] for word in rest.split() if re.fullmatch(r"--[a-z][\w-]*(=.*)?", word)}
        assert given <= known | {"--help", "--version"}, f"bench/{command}.py"


@cache
def options_of_command(command):
    """The long options of a command, from its help."""
    module = importlib.import_module(f"bench.{command}")
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.suppress(SystemExit):
        module.main(["--help"])
    return re.findall(r"--([a-z][\w-]*)", output.getvalue())


def test_the_readme_is_short():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 180
    assert len(text.split()) < 1500


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert re.search(r"^## (\S+)$", (DOCS / "changelog.md").read_text(encoding="utf-8"), re.MULTILINE)[1] == __version__


@pytest.mark.parametrize("path", sorted((REPOSITORY / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=name)
def test_an_issue_template_has_what_github_needs(path):
    template = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= template.keys()
    assert all({"type", "attributes"} <= field.keys() for field in template["body"])


@pytest.mark.parametrize(
    ("name", "behind"), [("cpu-chain.json", "Blocks in evaluation"), ("cpu-avx2.json", "The augmentation of an epoch")]
)
def test_the_ratios_of_the_cpu_kernels_are_those_of_the_record(name, behind):
    record = json.loads((REPOSITORY / "results/measured/benchmarks" / name).read_text(encoding="utf-8"))
    measured = {
        each["name"]: each["extra_info"]
        for each in record["benchmarks"]
        if "evaluation" not in each["name"] and "epoch" not in each["name"]
    }
    readme = (REPOSITORY / "bench" / "micro" / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"0\.\d\d\b", readme.split(name, 1)[1].split(behind)[0])
    assert sorted(shown) == sorted(f"{found['ratio']:.2f}" for found in measured.values() if "ratio" in found)


def test_the_trials_until_a_comparison_is_decided_are_those_simulated():
    with (REPOSITORY / "results/measured/statistics/sequential.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["looks"] == "planned looks"]
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    for shown, compared in (("times, interleaved", "time, interleaved"), ("accuracies", "accuracy")):
        mean = {row["true change"]: float(row["mean trials"]) for row in rows if row["compared"] == compared}
        trials = [f"{mean[change]:.1f}" for change in ("none", "+1 limit", "+2.5 limits")]
        assert f"| {shown} | {' | '.join(trials)} | {simulation.MOST} |" in page


def test_the_share_of_a_step_with_avx2_is_that_of_the_record():
    record = json.loads((REPOSITORY / "results/measured/benchmarks/cpu-avx2.json").read_text(encoding="utf-8"))
    ratios = [each["extra_info"]["ratio"] for each in record["benchmarks"] if "step[cifar10/e1" in each["name"]]
    page = " ".join((DOCS / "cpu.md").read_text(encoding="utf-8").split())
    assert f"a step of `cifar10/e1` takes {min(ratios):.2f} to {max(ratios):.2f} of the time" in page


def test_the_accuracy_with_amx_is_that_of_the_record():
    (run,) = find([REPOSITORY / "results/measured/amx"])
    (trial,) = run.trials
    assert "convolution_chain: amx" in trial.kernels
    page = (DOCS / "cpu.md").read_text(encoding="utf-8")
    assert f"reached {100 * trial.accuracy:.2f}% (`results/measured/amx/`)" in page


def test_the_figures_beside_the_authors_script_are_those_of_the_records():
    theirs = json.loads((REPOSITORY / "results/measured/gpu/airbench94-of-its-author.json").read_text(encoding="utf-8"))
    (ours,) = find([REPOSITORY / "results/measured/gpu/*_cifar10-airbench94_*"])
    sides = {
        "its author's script": [(trial["accuracy"], trial["seconds"]) for trial in theirs["trials"]],
        "`cifar10/airbench94`": [(trial.accuracy, total_seconds(trial, "airbench")) for trial in ours.trials],
    }
    page = (DOCS / "gpu.md").read_text(encoding="utf-8")
    for side, trials in sides.items():
        accuracies, seconds = zip(*trials, strict=True)
        figures = f"{100 * fmean(accuracies):.2f} | {median(seconds):.2f} | {min(seconds):.2f} to {max(seconds):.2f}"
        assert f"| {side} | {figures} |" in page


def test_the_figures_of_the_third_screening_of_e1_are_those_of_the_records():
    runs = list(find([REPOSITORY / "results/measured/screening/e1-factorial"]))
    assert len(runs) == 32
    drawn = [run for run in runs if run.record.seeds[0] < 141]  # the others train the combination that looked best
    unstable, stable = (
        [100 * run.accuracies[0] for run in drawn if run.record.recipe["optimizer"]["steps"] == steps]
        for steps in (5, 3)
    )
    combined = defaultdict(list)
    for run in runs:
        if run not in drawn:
            combined["optimizer.lr=0.21" in run.record.command].append(f"{100 * run.accuracies[0]:.2f}")
    text = " ".join((DOCS / "e1-changes.md").read_text(encoding="utf-8").split())
    assert len(unstable) == len(stable)
    assert f"between {min(unstable):.0f} and {max(unstable):.0f}%" in text
    assert f"The others had {min(stable):.1f} to {max(stable):.1f}%" in text
    assert f"two trainings had {combined[False][0]} and {combined[False][1]}% at 0.76 of the operations" in text
    assert f"the last layer as well, {combined[True][0]} and {combined[True][1]}%." in text


def test_the_rates_of_the_tables_of_hosts_are_those_of_the_record():
    with (REPOSITORY / "results/measured/statistics/slow-hosts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    equal = [float(row["some host is named"]) for row in rows if not float(row["the first is slower by"])]
    slow = {row["trials of each host"]: float(row["the first is slower"]) for row in rows[1::2]}
    five, three = (slow[" ".join([trials] * 8)] for trials in "53")
    page = " ".join((DOCS / "cluster.md").read_text(encoding="utf-8").split())
    assert len(equal) == 7
    assert f"each of seven designs, at most {max(equal):.1%} did" in page
    assert f"named in {five:.0%} of tables of eight hosts with five trials each, and in {three:.0%} with three" in page


def test_the_command_for_the_hash_of_a_host_prints_what_records_have():
    (command,) = re.findall(r"^printf .*$", (DOCS / "cluster.md").read_text(encoding="utf-8"), re.MULTILINE)
    printed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout.strip()
    assert printed == capture(torch.device("cpu"))["host_hash"]


def test_the_gain_of_label_smoothing_on_mnist_is_that_of_the_records():
    runs = list(find([REPOSITORY / "results/measured/screening/mnist-faster"]))
    assert sum(len(run.trials) for run in runs) == 360
    of_seed = defaultdict(dict)  # some were trained twice
    for run in runs:
        of_seed[options_of(run)].update({trial.seed: 100 * trial.accuracy for trial in run.trials})
    plain, smoothed = of_seed[()].values(), of_seed["loss.label_smoothing=0.1",].values()
    sentence = f"{mean(plain):.2f}% ({len(plain)} seeds) to {mean(smoothed):.2f}% ({len(smoothed)})"
    assert sentence in " ".join((DOCS / "recipes.md").read_text(encoding="utf-8").split())
