"""The nightly gate: train a suite, compare with this machine class's accepted baseline, confirm by re-running.

With --against the accepted code is trained too, trial by trial in turns with this one: for machines whose speed drifts.
"""

import argparse
import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.one_line_parser import OneLineParser

if TYPE_CHECKING:
    from results.gate import Judgement
    from results.rules import Rule

ROOT = Path(__file__).resolve().parents[1]
EPILOG = """\
A baseline is a folder of runs. Make it by training the suite five times or more, on different nights, so that the noise
between nights is in it:

  python bench/run.py --suite nightly --out baseline
  python bench/gate.py baseline --suite nightly --junit gate.xml --benchmark-json gate.json
  python bench/gate.py baseline --new runs/last-night            judge runs that are there, without training

Where neighbours, heat or clocks make the same code differ by more than the rule from night to night, no baseline helps.
Check the accepted code out and let both take turns (--trials sets another number than the suite has):

  git worktree add ../accepted COMMIT
  python bench/gate.py --against ../accepted --suite nightly

exit status: 0 nothing worse, 1 something worse, 2 could not be decided, or no recipe is stable enough to gate
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train, judge, report."""
    options = parse(arguments)
    from results import gate, protocols, rules
    from results.tables import gate as gate_reports

    try:
        options.protocol = protocols.parse(options.protocol)
        chosen = rules.rules(options.fail_on or ["time:3%"])
        judge = judge_against if options.against else judge_by_baseline
        judgements = judge(options, chosen)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f"bench/gate.py: error: {error}", file=sys.stderr)
        return 2
    table = gate_reports.table(judgements, options.protocol)
    if options.summary:
        with options.summary.open("a", encoding="utf-8") as file:
            file.write(table.markdown())
    if options.junit:
        options.junit.write_text(gate_reports.junit(judgements), encoding="utf-8")
    if options.benchmark_json:
        options.benchmark_json.write_text(gate_reports.benchmark_json(judgements), encoding="utf-8")
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 160).print(table.rich())
    return gate.status(judgements)


def judge_by_baseline(options: argparse.Namespace, chosen: Mapping[str, "Rule"]) -> list["Judgement"]:
    """Train the suite, unless that is done, and hold it against the runs of the baseline."""
    from results import gate, samples

    baseline = samples.resolve(str(options.baseline), options.protocol, metrics=chosen)
    folder = folder_of(options)
    if options.new is None:
        train(options, folder, "--suite", options.suite)
    new = samples.resolve(str(options.new or folder), options.protocol, metrics=chosen)

    def rerun(recipe: str) -> list[samples.Samples]:
        trials = max(len(one.seeds) for one in new if one.recipe == recipe)
        again = folder / "again" / recipe.replace("/", "-")
        train(options, again, recipe, "--trials", str(trials))
        return samples.resolve(str(again), options.protocol, metrics=chosen)

    return gate.judge(baseline, new, chosen, None if options.new else rerun)


def judge_against(options: argparse.Namespace, chosen: Mapping[str, "Rule"]) -> list["Judgement"]:
    """Train the suite by both checkouts in turns. ValueError where the other one is no checkout of Paceline."""
    from bench import suites, turns
    from results import gate, samples

    if not (options.against / "bench" / "turns.py").is_file():
        raise ValueError(f"--against {options.against}: no checkout of a Paceline that takes turns")
    checkouts = options.against.resolve(), ROOT
    trials = {entry.recipe: options.trials or entry.trials for entry in suites.load(options.suite)}
    folder = folder_of(options).resolve()
    games = itertools.count(1)

    def play(recipe: str) -> tuple[list[samples.Samples], list[samples.Samples]]:
        game = folder / f"{next(games)}_{recipe.replace('/', '-')}"
        out = game / "accepted", game / "new"
        turns.train(recipe, trials[recipe], checkouts, out, options.launcher)
        accepted, new = (samples.resolve(str(one), options.protocol, metrics=chosen) for one in out)
        return accepted, new

    return gate.judge_interleaved(list(trials), play, chosen)


def folder_of(options: argparse.Namespace) -> Path:
    """Where the runs of this night go."""
    return options.out / f"gate-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def train(options: argparse.Namespace, out: Path, *what: str) -> None:
    """Train in a process of its own. CalledProcessError if it fails."""
    command = [*shlex.split(options.launcher), str(ROOT / "bench" / "run.py"), *what, "--quiet", "--out", str(out)]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    subprocess.run(command, check=True, env=variables)  # noqa: S603  no shell


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options. Exits with status 2 and a sentence for a command line that makes no sense."""
    parser = OneLineParser(
        prog="bench/gate.py",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("baseline", type=Path, nargs="?", help="folder of the accepted runs")
    checkout = "instead of a baseline: a checkout of the accepted code, to be trained in turns with this one"
    add("--against", type=Path, metavar="DIR", help=checkout)
    add("--trials", type=int, metavar="N", help="with --against, instead of as many as the suite says")
    add("--suite", default="nightly", metavar="NAME", help="what to train (default: %(default)s)")
    add("--new", type=Path, metavar="DIR", help="judge these runs; train nothing, and so confirm nothing")
    rule = "time:3%%, time-to-target:3%% or accuracy:0.1 (points); may be repeated (default: time:3%%)"
    add("--fail-on", action="append", metavar="RULE", help=rule)
    add("--protocol", default="strict", help="by whose rules the time is counted (default: %(default)s)")
    add("--out", type=Path, default=Path("runs"), metavar="DIR", help="where new records go (default: %(default)s)")
    launcher = "what starts bench/run.py, such as 'accelerate launch --num_processes 8' (default: this Python)"
    add("--launcher", default=sys.executable, metavar="COMMAND", help=launcher)
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    text = "append the table as Markdown (default: $GITHUB_STEP_SUMMARY)"
    add("--summary", type=Path, default=Path(summary) if summary else None, metavar="FILE", help=text)
    add("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    add("--benchmark-json", type=Path, metavar="FILE", help="write JSON for github-action-benchmark")
    options = parser.parse_args(arguments)
    if (options.baseline is None) == (options.against is None):
        parser.error("give either a baseline or --against")
    if options.against and options.new:
        parser.error("--new judges runs that are there, and --against trains: say one of them")
    if options.trials is not None and (options.against is None or options.trials < 1):
        parser.error("--trials says how many each side trains with --against: a whole number from 1 on")
    return options


if __name__ == "__main__":
    sys.exit(main())
