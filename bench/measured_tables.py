"""Generate the figures of the documentation from the runs that are committed under results/measured/.

python bench/measured_tables.py            rewrite README.md and docs/*.md
python bench/measured_tables.py --check    only check that they are up to date (exit status 1 if not)

A page marks what is generated with `<!-- measured: begin NAME -->` and `<!-- measured: end -->`. NAME is one of:

tables                          every run
folder NAME                     the runs in results/measured/NAME
strategies NAME                 runs of bench/scale.py --strategies in results/measured/strategies/NAME
screening NAME                  accuracies of the trainings in results/measured/screening/NAME, by their options
runs RECIPE ...                 the latest run of each recipe on each machine, those in results/measured/gpu too
first-run                       what the first run prints
first-hour                      how long the commands of docs/first-hour.md took
json NAME                       the JSON schema of a class in bench/command_line/json_output.py
$ python bench/COMMAND.py ...   what that command prints
nights $ python bench/...       the same, in a folder with the runs of docs/nights.py
"""

import contextlib
import csv
import importlib
import json
import re
import runpy
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import groupby, product
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from rich.console import Console

from bench.command_line import cli, json_output
from bench.command_line.options import Parser
from results.protocols import DEFAULT
from results.record import Run
from results.store import find, runs_in
from results.tables import Table
from results.tables.overview import overview
from results.tables.runs import summary_tables, trials_table
from results.tables.scaling import scaling_tables
from results.tables.strategies import scaling_by_strategy
from results.tables.techniques import BASELINES

REPOSITORY = Path(__file__).resolve().parents[1]
MEASURED = REPOSITORY / "results" / "measured"
SCALING = "scaling"
"""the folder under it of the runs of `bench/scale.py`, which are no runs of the recipes as they are"""
GPU = "gpu"
"""the folder under it of the runs on GPUs"""
STRATEGIES = "strategies"
"""the folder under it of the runs of `bench/scale.py --strategies`, a folder for each table"""
SCREENING = "screening"
"""the folder under it of the trainings by which options were chosen, a folder for each table"""
HOW_IT_IS_SCORED = ("data.", "evaluation.", "kernels=")
"""options of such a training that do not change what it learns"""
GENERATED = re.compile(r"(<!-- measured: begin (?P<name>.+?) -->\n).*?(<!-- measured: end -->)", re.DOTALL)
LONG = 12
"""rows of a table that is shown open"""
COLUMNS = 120
"""width of a command's output"""


def pages() -> list[Path]:
    """The documents with generated figures."""
    found = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    return [page for page in found if GENERATED.search(page.read_text(encoding="utf-8"))]


def with_figures(text: str, measured: Path) -> str:
    """`text` with what stands between the markers generated from the runs in `measured`.

    ValueError for an unknown name, and for a marker without its other half.
    """
    if not (text.count("<!-- measured: begin") == text.count("<!-- measured: end -->") == len(GENERATED.findall(text))):
        raise ValueError("each <!-- measured: begin NAME --> needs a <!-- measured: end --> after it")
    return GENERATED.sub(lambda found: found[1] + figure(found["name"], measured) + found[3], text)


def figure(name: str, measured: Path) -> str:
    """What a marker of this name stands for, as Markdown."""
    if name == "tables":
        return all_tables(measured)
    if name.startswith("runs "):
        return latest_runs(measured, name.split()[1:])
    if name == "first-run":
        return first_run(measured)
    if name.startswith("strategies "):
        return strategies(measured / STRATEGIES / name.removeprefix("strategies "))
    if name.startswith("folder "):
        return summaries(find([measured / name.removeprefix("folder ")]))
    if name.startswith("screening "):
        return screening(measured / SCREENING / name.removeprefix("screening "))
    if name == "first-hour":
        return first_hour(measured)
    if name.startswith("json "):
        return json_schema(name.removeprefix("json "))
    if name.startswith("nights $ python bench/"):
        return among_nights(name.removeprefix("nights "))
    if name.startswith("$ python bench/"):
        return f"```console\n{name}\n{output_of(shlex.split(name)[2:])}```\n"
    names = "tables, folder NAME, strategies NAME, screening NAME, runs RECIPE ..., first-run, first-hour, json NAME"
    raise ValueError(f"measured: begin {name}: use {names}, or $ python bench/COMMAND.py ...")


def json_schema(name: str) -> str:
    """What `--json` prints of a class: a table of its fields, and its JSON schema."""
    schema = getattr(json_output, name).model_json_schema()
    rows = [f"| `{key}` | {json_type(value)} | {value['description']} |" for key, value in schema["properties"].items()]
    text = json.dumps(schema, indent=2)
    table = ["| key | type | meaning |", "|---|---|---|", *rows, ""]
    closed = ['<details markdown="1"><summary>JSON schema</summary>', "", "```json", text, "```", "", "</details>", ""]
    return "\n".join([*table, *closed])


def json_type(value: dict[str, Any]) -> str:
    """The type of a property, in words."""
    if "anyOf" in value:
        return " or ".join(json_type(one) for one in value["anyOf"])
    if "$ref" in value:
        return f"[{value['$ref'].rpartition('/')[2]}](#{value['$ref'].rpartition('/')[2].lower()})"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    return f"array of {json_type(value['items'])}" if value["type"] == "array" else value["type"]


def output_of(words: Sequence[str]) -> str:
    """What a command prints on standard output, run in this process. `words`: its path and arguments."""
    return ran(words)[0]


def ran(words: Sequence[str]) -> tuple[str, int]:
    """What a command prints, and its exit status."""
    module = importlib.import_module(words[0].removesuffix(".py").replace("/", "."))
    with redirect_stdout(StringIO()) as output, patch.object(cli, "WIDTH", COLUMNS):
        status = module.main(words[1:])
    return stripped(output.getvalue()), status


def among_nights(command: str) -> str:
    """What a command prints, and its exit status, in a folder in which docs/nights.py has written `nights/`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with redirect_stdout(StringIO()):
            runpy.run_path(str(REPOSITORY / "docs" / "nights.py"))["main"](Path("nights"))
        output, status = ran(shlex.split(command)[2:])
    return f"```console\n{command}\n{output}$ echo $?\n{status}\n```\n"


def first_run(measured: Path) -> str:
    """The tables of the run in `measured`/first-run, as the console shows them."""
    output = StringIO()
    console = Console(file=output, width=COLUMNS)
    for table in first_run_tables(measured):
        console.print(table.rich())
    return f"```text\n{stripped(output.getvalue())}```\n"


def first_run_tables(measured: Path) -> list[Table]:
    """What `bench/run.py` prints of that run."""
    (run,) = find([measured / "first-run"])
    return [trials_table(run, DEFAULT), *summary_tables([run], DEFAULT)]


def first_hour(measured: Path) -> str:
    """How long the commands of each session of docs/first-hour.md took."""
    with (measured / "first-hour" / "commands.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = ["| session | commands | time |", "|---|---|---|"]
    for section, members in groupby(rows, lambda row: row["section"]):
        seconds = [float(row["seconds"]) for row in members]
        table.append(f"| {section} | {len(seconds)} | {sum(seconds) / 60:.1f} min |")
    loads = [float(row["load_average"]) for row in rows]
    (run, *_) = find([measured / "first-hour"])
    caption = f"{run.machine}, load average up to {max(loads):.0f}; without the installation"
    return "\n".join([*table, "", f"{caption} (`results/measured/first-hour/commands.csv`).", ""])


def stripped(output: str) -> str:
    """Output of a console without blanks at the ends of lines, and without empty lines around it."""
    return "\n".join(line.rstrip() for line in output.strip("\n").splitlines()).rstrip() + "\n"


def latest_runs(measured: Path, recipes: Sequence[str]) -> str:
    """One table of the latest run of each recipe on each machine, machine by machine."""
    found = [run for place in (measured, measured / GPU) for run in runs_in(place) if not run.record.smoke_test]
    latest = {(run.machine, run.record.recipe_name): run for run in found}
    machines = dict.fromkeys(machine for machine, _ in latest)
    return summaries(latest[key] for key in product(machines, recipes) if key in latest)


def summaries(runs: Iterable[Run]) -> str:
    """One table of the runs, a row each."""
    (table,) = summary_tables(runs, DEFAULT)
    return table.markdown()


def all_tables(measured: Path) -> str:
    """The tables of every run, by the folder of its recipe."""
    sections = [(name_of(runs), overview(runs, DEFAULT)) for runs in by_folder(find([measured]))]
    if (measured / SCALING).exists():
        sections.append((SCALING, scaling_tables(find([measured / SCALING]), DEFAULT)))
    return "\n".join("\n".join([f"## {name}\n", *map(folded, tables)]) for name, tables in sections)


def strategies(folder: Path) -> str:
    """The table of the runs in a folder."""
    if not folder.exists():
        return "No run is recorded yet.\n"
    return scaling_by_strategy(find([folder]), DEFAULT).markdown()


def screening(folder: Path) -> str:
    """The trainings of a screening by their options, in the order in which they were tried. The operations are relative
    to the trainings without options. Options that a recipe has anyway are none."""
    runs = list(find([folder]))
    shortest: dict[str, tuple[str, ...]] = {}
    for run in runs:
        words, recipe = options_of(run), recipe_of(run)
        shortest[recipe] = min(shortest.get(recipe, words), words, key=len)
    accuracies: dict[tuple[str, ...], list[float]] = {}
    flops: dict[tuple[str, ...], float] = {}
    for run in runs:
        words = shortest[recipe_of(run)]
        accuracies.setdefault(words, []).extend(100 * trial.accuracy for trial in run.trials)
        flops[words] = run.record.environment.train_flops
    table = ["| options | trainings | accuracy % | operations |", "|---|---|---|---|"]
    for words, found in accuracies.items():
        each = ", ".join(f"{accuracy:.2f}" for accuracy in found)
        name = " ".join(f"`{word}`" for word in words) or "none"
        table.append(f"| {name} | {len(found)} | {fmean(found):.2f} ({each}) | {flops[words] / flops[()]:.2f} |")
    return "\n".join([*table, ""])


def options_of(run: Run) -> tuple[str, ...]:
    """The options of a training's command, without those of how it is scored."""
    return tuple(word for word in run.record.command if "=" in word and not word.startswith(HOW_IT_IS_SCORED))


def recipe_of(run: Run) -> str:
    """What it trained, as one text: its recipe without what is not set, and without how it is scored."""
    scored = {name.rstrip(".=") for name in HOW_IT_IS_SCORED}
    return json.dumps(without_nulls({key: value for key, value in run.record.recipe.items() if key not in scored}))


def without_nulls(value: Any) -> Any:
    """A part of a recipe without the options that are null."""
    if isinstance(value, dict):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return value


def folded(table: Table) -> str:
    """The table in Markdown, closed if it is a long one."""
    text = table.markdown()
    if len(table.rows) <= LONG:
        return text
    return f'<details markdown="1"><summary>{len(table.rows)} rows</summary>\n\n{text}\n</details>\n'


def by_folder(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs by the folder of their recipe, smoke tests last; in a folder baselines first, the others by name."""

    def place(run: Run) -> tuple[tuple[bool, str], bool, str]:
        name = run.record.recipe_name
        return folder(run), name.rpartition("/")[2] not in BASELINES, name

    ordered = sorted(runs, key=place)
    return [list(group) for _, group in groupby(ordered, folder)]


def folder(run: Run) -> tuple[bool, str]:
    """Whether it is a smoke test, and the part of its recipe's name before the last slash."""
    return run.record.smoke_test, run.record.recipe_name.rpartition("/")[0]


def name_of(runs: list[Run]) -> str:
    """The heading over runs of one folder."""
    smoke_test, name = folder(runs[0])
    return f"{name}, smoke tests" if smoke_test else name


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("bench/measured_tables.py", __doc__)
    parser.add_argument("--check", action="store_true", help="check only; write nothing")
    options = parser.parse_args(arguments)
    outdated = []
    for page in pages():
        old = page.read_text(encoding="utf-8")
        if (new := with_figures(old, MEASURED)) != old:
            outdated.append(page.name)
            if not options.check:
                page.write_text(new, encoding="utf-8")
    if options.check:
        print(f"out of date: {', '.join(outdated)}: run bench/measured_tables.py" if outdated else "up to date")
    return int(options.check and bool(outdated))


if __name__ == "__main__":
    sys.exit(main())
