"""The nightly gate: new runs against the accepted baseline of their machine class.

Trials of one run share a night: its temperature, its neighbours, its memory layout. p-values over trials know nothing
of that, so that the gate also asks how much whole runs of the same code differ. Several runs in the baseline (A/A)
measure it: the noise floor of a recipe is the slow-down that one more run of the same code would exceed with no more
than the probability that this recipe may give a false alarm. Only a recipe whose floor is under the change that the
rule asks for is stable, and gates; and what looks worse is called worse only if a second run says so too.

So the probability of a false alarm in a night is at most `LEVEL`, for all recipes together, if the times of runs of the
same code are log-normal around one median: shared out equally (Bonferroni), and each share kept by Student's prediction
interval alone, without the two conditions that come on top.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Literal

from results.compare import FAIL, Comparison, compare
from results.rules import Rule
from results.samples import Samples

LEVEL = 0.05
"""false alarms a night, at most"""
RUNS = 5
"""runs of a recipe that a baseline should have: with fewer, the floor is high because it is not well known"""

Decision = Literal["passed", "worse", "not confirmed", "unstable", "undecided"]
Rerun = Callable[[str], Sequence[Samples]]
"""trains a recipe once more"""
Play = Callable[[str], tuple[Sequence[Samples], Sequence[Samples]]]
"""trains a recipe by the accepted code and by the new, in turns"""


@dataclass(frozen=True)
class Judgement:
    """What the gate says of one metric of one recipe."""

    first: Comparison
    again: Comparison | None
    """the re-run, of what looked worse"""
    floor: float | None
    """noise floor of the time, as a share; None for accuracies and for a baseline of a single run"""
    decision: Decision
    reason: str = ""


def noise_floor(times: Sequence[float], level: float) -> float | None:
    """The share by which a run of the same code is slower than the mean of these with probability `level`.

    `times`: the median seconds of each run of the baseline. Student's prediction interval for one more of them, on the
    logarithm (Hahn and Meeker 1991, "Statistical Intervals", 4.8). None for fewer than two runs.
    """
    from scipy import special

    if len(times) < 2:
        return None
    spread = stdev(math.log(time) for time in times)
    return math.expm1(float(special.stdtrit(len(times) - 1, 1 - level)) * spread * math.sqrt(1 + 1 / len(times)))


def judge(
    baseline: Sequence[Samples],
    new: Sequence[Samples],
    rules: Mapping[str, Rule],
    rerun: Rerun | None = None,
    level: float = LEVEL,
) -> list[Judgement]:
    """One judgement for each metric that has a rule, of each recipe of the new runs.

    `rerun`: None where nothing can be trained, so that what looks worse counts as confirmed. Raises ValueError where
    the baseline lacks the machine class or a recipe of the new runs.
    """
    recipes = list(dict.fromkeys(one.recipe for one in new))
    share = level / (len(recipes) * len(rules)) if recipes else level
    found = []
    for recipe in recipes:
        accepted, runs = _of_this_machine(baseline, recipe, new), [one for one in new if one.recipe == recipe]
        again: Sequence[Samples] | None = None
        for first in _compared(accepted, runs, rules, share):
            floor, limit = _floor(accepted, first.metric, share), rules[first.metric].limit
            stable = first.metric == "accuracy" or (floor is not None and floor <= limit)
            suspect = stable and _is_worse(first, accepted, runs, rules)
            if suspect and rerun is not None and again is None:
                again = rerun(recipe)
            second = None
            if suspect and again is not None:
                second = next(row for row in _compared(accepted, again, rules, share) if row.metric == first.metric)
            confirmed = second is not None and _is_worse(second, accepted, again or (), rules)
            decision, reason = _decision(first, second, stable=stable, suspect=suspect, confirmed=confirmed)
            if decision == "unstable":
                known = "unknown with a single run" if floor is None else f"{100 * floor:.1f}%, over {100 * limit:g}%"
                reason = f"noise floor {known}, of {len(accepted)} runs"
            found.append(Judgement(first, second, floor, decision, reason))
    return found


def judge_turns(recipes: Sequence[str], play: Play, rules: Mapping[str, Rule], level: float = LEVEL) -> list[Judgement]:
    """One judgement for each metric that has a rule, of each recipe, whose trials took turns.

    A drift of the machine meets both codes alike, so that no noise floor is needed; what differs from process to
    process, as the layout of its memory does, is met by playing again, in new processes, what looks worse.
    """
    share = level / (len(recipes) * len(rules))
    found = []
    for recipe in recipes:
        again: list[Comparison] | None = None
        for first in _compared(*play(recipe), rules, share):
            suspect = first.verdict in FAIL
            if suspect and again is None:
                again = _compared(*play(recipe), rules, share)
            second = next(row for row in again or () if row.metric == first.metric) if suspect else None
            confirmed = second is not None and second.verdict in FAIL
            decision, reason = _decision(first, second, stable=True, suspect=suspect, confirmed=confirmed)
            found.append(Judgement(first, second, None, decision, reason))
    return found


def status(judgements: Iterable[Judgement]) -> int:
    """1 something is worse, else 2 something could not be decided or nothing gates at all, else 0."""
    decisions = {judgement.decision for judgement in judgements}
    if "worse" in decisions:
        return 1
    return 2 if "undecided" in decisions or not decisions - {"unstable"} else 0


def _of_this_machine(baseline: Iterable[Samples], recipe: str, new: Iterable[Samples]) -> list[Samples]:
    """The runs of the baseline to compare with."""
    machines = {(one.facts["machine"], one.facts["world"]) for one in new if one.recipe == recipe}
    there = [one for one in baseline if (one.facts["machine"], one.facts["world"]) in machines]
    accepted = [one for one in there if one.recipe == recipe]
    if not accepted:
        (machine, world), *_ = sorted(machines)
        what = f"of {recipe} " if there else ""
        raise ValueError(
            f"the baseline has no run {what}on {world} × {machine}: train one there {RUNS} times and keep the runs"
        )
    return accepted


def _compared(
    accepted: Sequence[Samples], runs: Sequence[Samples], rules: Mapping[str, Rule], share: float
) -> list[Comparison]:
    return [row for row in compare(accepted, runs, rules, level=share) if row.metric in rules]


def _decision(
    first: Comparison, second: Comparison | None, *, stable: bool, suspect: bool, confirmed: bool
) -> tuple[Decision, str]:
    """What was decided, and why."""
    undecided = ("not comparable", "not enough runs")
    if first.verdict in undecided:
        return "undecided", first.reason
    if not stable:
        return "unstable", ""
    if not suspect:
        return "passed", ""
    if second is None:
        return "worse", "not run again"
    if second.verdict in undecided:
        return "undecided", f"run again: {second.reason}"
    return ("worse", "and so when run again") if confirmed else ("not confirmed", "not so when run again")


def _floor(accepted: Iterable[Samples], metric: str, share: float) -> float | None:
    """None for accuracies, whose trials know all of their noise: it comes from the seed."""
    if metric == "accuracy":
        return None
    return noise_floor([time for one in accepted if (time := _median(one, metric)) is not None], share)


def _is_worse(row: Comparison, accepted: Iterable[Samples], runs: Iterable[Samples], rules: Mapping[str, Rule]) -> bool:
    """By its trials, and of times also by whole runs, which is what the noise floor speaks of."""
    if row.verdict not in ("slower", "lower"):
        return False
    if row.metric == "accuracy":
        return True
    logs = [
        fmean(math.log(time) for one in side if (time := _median(one, row.metric)) is not None)
        for side in (accepted, runs)
    ]
    return math.expm1(logs[1] - logs[0]) >= rules[row.metric].limit


def _median(one: Samples, metric: str) -> float | None:
    times = [time for time in (one.schedule if metric == "time" else one.crossing) if time is not None]
    return median(times) if times else None
