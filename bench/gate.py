"""The nightly gate: train a suite, compare it with the accepted baseline of this machine class, confirm regressions.

A suspected regression is trained again before it is reported (the confirmation run). With --against the accepted code
is trained too, interleaved with the new code, for machines whose speed drifts.
"""

import contextlib
import itertools
import os
import secrets
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import baselines
from bench.command_line import cli, options
from bench.command_line.cli import ROOT
from bench.command_line.invocation import recorded
from bench.command_line.option_groups import PassedOn, Records
from bench.command_line.options import Argument, CommandLine, Count, File, Folder, Options
from bench.training.events import Event
from bench.training.launch import Children, Launch, LaunchError

if TYPE_CHECKING:
    from bench.command_line.suites import Entry
    from results.gate import Judgement
    from results.rules import Rules
    from results.samples import Samples
    from results.tables.table import Table

PROG = "bench/gate.py"
EXAMPLES = """\
A baseline is a folder of runs in a git repository. Train the suite on at least five different nights, so that it shows
how much nights differ, and accept their runs:

  python bench/run.py --suite nightly --out nights
  git init baseline
  python bench/gate.py baseline --accept nights/2*
  python bench/gate.py baseline --suite nightly --junit gate.xml --benchmark-json gate.json
  python bench/gate.py baseline --new runs/last-night            judge runs that exist, without training

If the same code differs by more than the rule from night to night (shared machine, heat, clocks), a baseline does not
help. Check out the accepted code and interleave both:

  git worktree add ../accepted COMMIT
  python bench/gate.py --against ../accepted --suite nightly
  python bench/gate.py --against ../accepted --suite nightly --cluster auto      each host trains both, in pairs

If a change is meant to be slower or faster, train the suite with it on several nights again and accept these runs. They
replace those of their recipes, in a commit. A baseline of a single run has no noise floor, so nothing is judged by it:

  python bench/gate.py baseline --accept nights/202601{02,03,04,05,06}*

Status 2 also means that no recipe is stable enough to gate."""


def summary_of_the_job(variables: Mapping[str, str]) -> Path | None:
    """The file that GitHub shows as the summary of a job."""
    name = variables.get("GITHUB_STEP_SUMMARY")
    return Path(name) if name else None


@dataclass(frozen=True, kw_only=True)
class Reports(Options):
    """Files with the verdicts."""

    title = "reports"

    summary: File | None = field(default_factory=lambda: summary_of_the_job(os.environ))
    """append the table as Markdown (default: $GITHUB_STEP_SUMMARY)"""
    junit: File | None = None
    """write JUnit XML"""
    benchmark_json: File | None = None
    """write JSON for github-action-benchmark"""
    undecided: Literal["fail", "ok"] = "fail"
    """exit status of a night without a decision: 2 (fail) or 0 (ok). If a recipe did not train, it is 2 either way"""
    json: bool = False
    """print one JSON object per verdict on standard output, and everything else on standard error"""

    def check_folders(self) -> None:
        """ValueError for a file in a folder that is not there, before hours of training."""
        for name in ("summary", "junit", "benchmark_json"):
            path = getattr(self, name)
            if path and not path.parent.is_dir():
                raise ValueError(f"--{name.replace('_', '-')} {path}: there is no folder {path.parent}: make it first")


ACCEPTING = ("baseline", "accept")
"""the options that are used with --accept"""
JUDGING = (
    "baseline",
    "new",
    "suite",
    "fail_on",
    "discard_throttled",
    "protocol",
    *(one.name for one in fields(Reports)),
)
"""the options that are used with --new"""


@dataclass(frozen=True, kw_only=True)
class GateOptions(PassedOn, Records, Reports):
    """The options of bench/gate.py."""

    title = "what to judge"

    baseline: Annotated[Path, Argument(positional=True)] | None = None
    """folder of the accepted runs"""
    against: Annotated[Path, Argument(metavar="CHECKOUT")] | None = None
    """instead of a baseline: a checkout of the accepted code; trials of both are interleaved"""
    checkout: Folder | None = None
    """with --against: the checkout to judge (default: this one)"""
    new: Annotated[Path, Argument(metavar="DIR")] | None = None
    """judge these runs; train nothing, so there is no confirmation run"""
    accept: Annotated[list[Path], Argument(metavar="RUN", several=True)] = field(default_factory=list)
    """let these runs replace those of their recipes and machines in the baseline, and commit it; judge nothing"""
    suite: Annotated[str, Argument(metavar="NAME")] = "nightly"
    """what to train; its entries may have limits of their own, also with --new"""
    trials: Count | None = None
    """with --against: trials of each side (default: as the suite says)"""
    until_decided: bool = False
    """with --against: stop at the first of a few planned looks that decides; --trials are the most"""
    fail_on: Annotated[list[str], Argument(metavar="RULE")] = field(default_factory=list)
    """time:3%, time-to-target:3% or accuracy:0.1 (points); may be repeated (default: time:3%). An entry of a suite may
    add limits; its limit of a metric replaces this one"""
    discard_throttled: bool = False
    """leave out the trials during which a GPU was throttled"""
    cluster: Annotated[str, Argument(metavar="auto|ADDRESS")] | None = None
    """with --against: pairs of trials over a Ray cluster, each pair on one host (extra `cluster`)"""
    launcher: CommandLine | None = None
    """what starts bench/run.py, such as 'accelerate launch --multi_gpu --num_processes 8' (default: this Python)"""
    against_launcher: CommandLine | None = None
    """with --against: what starts the accepted side, such as another Python or 'env NCCL_ALGO=Ring python' (default:
    --launcher)"""

    def __post_init__(self) -> None:
        if (self.baseline is None) == (self.against is None):
            raise ValueError("give either a baseline or --against")
        if self.against and self.new:
            raise ValueError("--new judges runs that exist, and --against trains: give one of them")
        if self.accept:
            self._refuse_others("--accept changes the baseline and judges nothing", ACCEPTING)
        if self.checkout and not self.against:
            raise ValueError("--checkout needs --against: a baseline is compared with this checkout")
        if self.trials and not self.against:
            raise ValueError("--trials needs --against; with a baseline the suite says how many")
        if self.until_decided and not self.against:
            raise ValueError("--until-decided needs --against: trials of a baseline are not trained again")
        if self.cluster and not self.against:
            raise ValueError("--cluster needs --against; train the runs for --new with bench/sweep.py --cluster")
        if self.against_launcher and not self.against:
            raise ValueError("--against-launcher needs --against: a baseline is not trained again")
        if self.cluster and (self.launcher or self.against_launcher):
            raise ValueError("launchers are for this machine, --cluster for many: leave one of them out")
        if self.new:
            self._refuse_others("--new trains nothing", JUDGING)

    def _refuse_others(self, why: str, used: Sequence[str]) -> None:
        """ValueError for an option that is given and is not among those that are used."""
        if others := options.to_arguments(self, GateOptions, without=used):
            raise ValueError(f"{why}: leave out {others[0]}")


def parse(arguments: Sequence[str] | None = None) -> GateOptions:
    """The options. Exits with status 2 and one line for a command line that is wrong."""
    return options.parse(GateOptions, PROG, arguments, description=__doc__, epilog=EXAMPLES)


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, train, judge, report. Returns 0, 1 where something is worse, 2 where nothing could be decided."""
    given = parse(arguments)
    if given.accept:
        assert given.baseline
        print(baselines.accept(given.baseline, given.accept))
        return cli.OK
    from bench.command_line import json_output
    from results import gate, rules
    from results.tables import gate as gate_reports

    given.check_folders()
    chosen = rules.rules(given.fail_on or ["time:3%"])
    entries = by_recipe(given.suite)
    own = {name: rules.rules(entry.fail_on) for name, entry in entries.items() if entry.fail_on}
    judge = judge_interleaved if given.against else judge_by_baseline
    with cli.kept_for_json(given.json):
        judgements = judge(given, entries, chosen, own)
    table = gate_reports.table(judgements, given.protocol)
    if given.json:
        for judgement in judgements:
            cli.print_json(json_output.verdict_object(judgement).model_dump())
    else:
        cli.make_console().print(table.rich())
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print("\n".join(gate_reports.annotations(judgements)), file=sys.stderr)
    status = gate.status(judgements)
    is_complete = all(one.decision != "missing" for one in judgements)
    if status == cli.NO_VERDICT and given.undecided == "ok" and is_complete:
        open_ones = {one.first.recipe for one in judgements if one.decision in ("undecided", "unstable")}
        cli.warn(f"no decision on {', '.join(sorted(open_ones))}; the exit status is 0 because of --undecided ok")
        status = cli.OK
    failed = write_reports(given, judgements, table)
    return status or failed  # what is worse stays worse


def by_recipe(suite: str) -> dict[str, "Entry"]:
    """The entries of a suite by the recipe that their records name. ValueError where two have one name."""
    from bench.command_line import jobs, suites

    found: dict[str, Entry] = {}
    for entry in suites.load(suite):
        name = jobs.run_name(entry.recipe)
        if name in found:
            raise ValueError(
                f"--suite {suite}: {found[name].recipe} and {entry.recipe} are both recorded as {name}: rename one"
            )
        found[name] = entry
    return found


def write_reports(given: Reports, judgements: Sequence["Judgement"], table: "Table") -> int:
    """Write the files that are asked for. Returns 2, with a line for each that cannot be written, else 0."""
    from results.tables import gate as gate_reports

    reports = (
        (given.summary, "a", table.markdown()),
        (given.junit, "w", gate_reports.junit(judgements)),
        (given.benchmark_json, "w", gate_reports.benchmark_json(judgements)),
    )
    status = cli.OK
    for path, mode, text in reports:
        try:
            if path:
                with path.open(mode, encoding="utf-8") as file:
                    file.write(text)
        except OSError as error:
            status = cli.print_error(PROG, error)
    return status


def judge_by_baseline(
    given: GateOptions, entries: Mapping[str, "Entry"], chosen: "Rules", own: Mapping[str, "Rules"]
) -> list["Judgement"]:
    """Train the suite, unless there are new runs, and compare it with the runs of the baseline."""
    from results import gate

    assert given.baseline
    baseline = read(given.baseline, given)
    if given.new:
        return gate.judge(baseline, read(given.new, given), chosen, own_rules=own)
    if unknown := entries.keys() - {one.recipe for one in baseline}:
        raise ValueError(
            f"{given.baseline}: the baseline has no run of {min(unknown)}: train it {gate.RUNS} times on this machine "
            "and keep the runs"
        )
    folder = folder_of(given)
    new = trained(given, folder, "--suite", given.suite)
    for entry in after_last_begun(entries, folder):
        new = trained(given, folder, entry.recipe, "--trials", str(entry.trials))
    if not new:
        raise ValueError(f"--suite {given.suite}: no recipe could be trained")

    def rerun(recipe: str) -> list["Samples"]:
        """With other seeds: where a training is deterministic, the same ones end with the same accuracies."""
        trials = max(len(one.seeds) + one.discarded for one in new if one.recipe == recipe)
        first = 1 + max(seed for one in (*baseline, *new) if one.recipe == recipe for seed in one.seeds)
        confirmation = folder / "confirmation" / recipe.replace("/", "-")
        words = (entries[recipe].recipe, "--trials", str(trials), "--seed", str(first))
        return trained(given, confirmation, *words)

    return gate.judge(baseline, new, chosen, rerun, recipes=entries, own_rules=own)


def after_last_begun(entries: Mapping[str, "Entry"], folder: Path) -> list["Entry"]:
    """The entries that follow the last one with a run: the process of the suite ended in that one, or before its run
    was recorded."""
    from results import store

    begun = {run.record.recipe_name for run in store.runs_in(folder, cli.warn)}
    rest = itertools.takewhile(lambda name: name not in begun, reversed([*entries]))
    return [entries[name] for name in rest][::-1]


def trained(given: GateOptions, out: Path, *words: str) -> list["Samples"]:
    """Train in a process of its own; a failure is a warning. Returns the runs in `out` that have all their trials."""
    from results import store

    try:
        train(given, out, *words)
    except LaunchError as error:
        cli.warn(str(error))
    if not any(out.glob(f"*/{store.RECORD}")):
        return []
    found = read(out, given)
    return [one for one in found if len(one.seeds) + one.discarded == len(store.read_record(one.origin).seeds)]


def judge_interleaved(
    given: GateOptions, entries: Mapping[str, "Entry"], chosen: "Rules", own: Mapping[str, "Rules"]
) -> list["Judgement"]:
    """Train the suite with both checkouts, interleaved. ValueError where one is no checkout of Paceline."""
    from results import gate

    assert given.against
    for option, checkout in (("--against", given.against), ("--checkout", given.checkout or ROOT)):
        if not any((checkout / place).is_file() for place in ("bench/training/launch.py", "bench/launch.py")):
            raise ValueError(f"{option} {checkout}: no checkout of a Paceline whose trials can be interleaved")
    looks = {name: looks_of(given, entry) for name, entry in entries.items()}
    checkouts = {"accepted": given.against.resolve(), "new": (given.checkout or ROOT).resolve()}
    folder = folder_of(given).resolve()
    numbers = itertools.count(1)
    first_seeds: Counter[str] = Counter()
    with both_sides_trained(given, tuple(checkouts.values())) as train_sides:

        def train_both(recipe: str, trials: int) -> tuple[list["Samples"], list["Samples"]]:
            """Both sides, each time with other seeds; nothing of either where one could not be trained, which is a
            warning."""
            place = folder / f"{next(numbers)}_{recipe.replace('/', '-')}"
            entry, first = entries[recipe], first_seeds[recipe]
            first_seeds[recipe] += trials
            try:
                train_sides(entry.recipe, range(first, first + trials), {side: place / side for side in checkouts})
            except LaunchError as error:
                cli.warn(str(error))
                return [], []
            accepted, new = (read(place / side, given) for side in checkouts)
            return accepted, new

        return gate.judge_interleaved(looks, train_both, chosen, own_rules=own)


def looks_of(given: GateOptions, entry: "Entry") -> tuple[int, ...]:
    """The trials a side after which a recipe is judged. ValueError where they are too few for several looks."""
    from results.sequential import plan_looks

    trials = given.trials or entry.trials
    if not given.until_decided:
        return (trials,)
    try:
        return plan_looks(trials)
    except ValueError as error:
        asked = f"--trials {trials}" if given.trials else f"--suite {given.suite}: {entry.recipe}, {trials} trials"
        raise ValueError(f"{asked}: {error}") from None


TrainSides = Callable[[str, range, Mapping[str, Path]], None]
"""trains these seeds of a recipe with both checkouts, recorded in the folder of each"""


@contextlib.contextmanager
def both_sides_trained(given: GateOptions, checkouts: tuple[Path, ...]) -> Iterator[TrainSides]:
    """What trains both sides: two processes of this machine in turn, or pairs of trials over a Ray cluster."""
    if given.cluster is None:

        def interleave(recipe: str, seeds: range, folders: Mapping[str, Path]) -> None:
            words = (recipe, "--trials", str(len(seeds)), "--seed", str(seeds.start))
            launchers = (given.against_launcher, None)
            launches = {
                side: launch(given, out, *words, checkout=checkout, launcher=launcher)
                for (side, out), checkout, launcher in zip(folders.items(), checkouts, launchers, strict=True)
            }
            with Children() as children:
                children.interleave(launches, len(seeds), show_side)

        yield interleave
        return
    from bench.command_line import jobs
    from bench.training import cluster, pairs, resources
    from bench.training.tasks import TrialTask

    want = resources.Wanted(device=given.device, threads=given.threads)
    with cli.terminating(), cluster.joined(given.cluster) as joined:
        gpus, threads = resources.per_process(want, joined.nodes)

        def spread(recipe: str, seeds: range, folders: Mapping[str, Path]) -> None:
            arguments = (recipe, *options.to_arguments(given, PassedOn, without=("device", "threads")))
            shape = {"threads": threads, "gpus_per_process": gpus, "device": "cuda" if gpus else "cpu"}
            tasks = [pairs.PairTask(TrialTask(arguments, seed, Path.cwd(), **shape), checkouts) for seed in seeds]
            job = jobs.new_job(recipe, jobs.load_any(recipe, []), seeds.start, len(seeds))
            pairs.train(joined, job, tasks, tuple(folders.values()), recorded(PROG, sys.argv[1:]), show)

        yield spread


def read(folder: Path, given: GateOptions) -> list["Samples"]:
    """The runs of a folder; prints what is left out of them."""
    from results import samples

    discard = ["throttled"] if given.discard_throttled else []
    found = samples.resolve(str(folder), given.protocol, skip=cli.warn, discard=discard)
    for warning in dict.fromkeys(warning for one in found for warning in one.warnings):
        cli.warn(warning)
    return found


def folder_of(given: GateOptions) -> Path:
    """Where the runs of this night are recorded. Gates of several machines may share --out and start at once."""
    return given.out / f"gate-{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(4)}"


def train(given: GateOptions, out: Path, *words: str) -> None:
    """Train in a process of its own. LaunchError if it fails."""
    with Children() as children:
        children.run_or_raise(launch(given, out, *words), show)


def launch(given: GateOptions, out: Path, *words: str, checkout: Path = ROOT, launcher: str | None = None) -> Launch:
    """A training of `words` with the options of this gate, recorded in `out`. launcher: in place of the gate's."""
    arguments = (*words, *options.to_arguments(given, PassedOn), "--out", str(out))
    starts = shlex.split(launcher or given.launcher or "") or [sys.executable]
    return Launch(arguments, tuple(starts), checkout)


def show(event: Event) -> None:
    """Print what a training reports: on standard error, because standard output is for the verdicts."""
    print(event, file=sys.stderr, flush=True)


def show_side(side: str, event: Event) -> None:
    """Print what one of two interleaved trainings reports."""
    print(f"{side}: {event}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
