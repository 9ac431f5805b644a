"""The nightly gate: new runs against the accepted baseline of their machine class.

Trials of one run share a night: its temperature, its neighbours, its memory layout. p-values over trials do not see
that, so the gate also measures how much whole runs of the same code differ, from the several runs of the baseline
(A/A). The noise floor of a recipe is the slow-down that one more run of the same code exceeds with no more than the
probability of a false alarm that this recipe is allowed. A recipe gates only if its floor is under the limit of its
rule, and is reported as worse only if a confirmation run is worse too.

The probability of a false alarm in a night is then at most `LEVEL` for all recipes together, if the times of runs of
the same code are log-normal around one median. It is divided equally (Bonferroni); Student's prediction interval alone
keeps each share, without the two other conditions.

Runs of several hosts of one machine class are runs like those of several nights: the noise floor covers how much hosts
differ. A baseline of a single host says nothing of that, so that a run of another host is not reported as worse.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, stdev
from typing import Literal

from results.breakdown import breakdown
from results.compare import Comparison, compare
from results.comparison_notes import NOT_INTERLEAVED
from results.measure import measure
from results.metrics import Metric, find_metric
from results.rules import Rules
from results.samples import Samples
from results.sequential import Planned
from results.statistics import known_median

LEVEL = 0.05
"""false alarms a night, at most"""
RUNS = 5
"""runs of a recipe that a baseline should have: with fewer, the floor is high because it is not well known"""

Decision = Literal["passed", "better", "worse", "not confirmed", "unstable", "undecided", "missing"]
Rerun = Callable[[str], Sequence[Samples]]
"""trains a recipe once more"""
TrainBoth = Callable[[str, int], tuple[Sequence[Samples], Sequence[Samples]]]
"""trains so many more trials of a recipe with the accepted code and with the new, interleaved"""


@dataclass(frozen=True)
class Judgement:
    """What the gate decides on one metric of one recipe."""

    first: Comparison
    again: Comparison | None
    """the confirmation run, of what looked worse"""
    floor: float | None
    """noise floor, as a share; None for accuracies and for a baseline of a single run"""
    decision: Decision
    reason: str = ""
    notes: tuple[str, ...] = ()
    """on the baseline: what was left out of it, and that it is of another host"""

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Also those of the comparison, such as what else changed."""
        return self.notes + self.first.notes


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
    rules: Rules,
    rerun: Rerun | None = None,
    *,
    recipes: Collection[str] | None = None,
    own_rules: Mapping[str, Rules] | None = None,
) -> list[Judgement]:
    """One judgement for each metric that has a rule, of each recipe.

    `rerun`: None where nothing can be trained, so that what looks worse counts as confirmed. `recipes`: those that must
    have a new run; by default all that the baseline has on the machines of the new runs. `own_rules`: by recipe, rules
    that replace or join `rules`. Raises ValueError where the baseline has nothing of the machines of the new runs.
    """
    machines = {_machine(one) for one in new}
    if not any(_machine(one) in machines for one in baseline):
        raise ValueError(f"the baseline has no run {_remedy(machines)}")
    wanted = [one.recipe for one in baseline if _machine(one) in machines] if recipes is None else recipes
    names = list(dict.fromkeys([*(one.recipe for one in new), *wanted]))
    rules_of = {name: {**rules, **(own_rules or {}).get(name, {})} for name in names}
    share = _share(rules_of)
    found = []
    for recipe, chosen in rules_of.items():
        runs = [one for one in new if one.recipe == recipe]
        there = {_machine(one) for one in runs} or machines
        every = [one for one in baseline if one.recipe == recipe and _machine(one) in there]
        accepted = [one for one in every if one.seeds]
        notes = tuple(f"{one.origin} of the baseline has no trial and is left out" for one in every if not one.seeds)
        if not runs or not accepted:
            decision: Decision = "undecided" if runs else "missing"
            lacking = "no run of the baseline has a trial" if every else f"no accepted run {_remedy(there)}"
            reason = lacking if runs else "no new run of this recipe"
            rows = [_one_sided(recipe, find_metric(name), limit, accepted, reason) for name, limit in chosen.items()]
            found += [Judgement(row, None, None, decision, reason, notes) for row in rows]
        else:
            found += _judge_recipe(accepted, runs, chosen, rerun, share, notes)
    return found


def _judge_recipe(
    accepted: Sequence[Samples],
    runs: Sequence[Samples],
    rules: Rules,
    rerun: Rerun | None,
    share: float,
    notes: tuple[str, ...],
) -> list[Judgement]:
    found = []
    again: Sequence[Samples] | None = None
    moved = _moved(accepted, runs)
    for first in _compared_by_trial(accepted, runs, rules, share):
        metric, limit = first.metric, rules[first.metric.name]
        floor = _floor(accepted, metric, share)
        stable = first.change is None or not metric.test.by_ranks or (floor is not None and floor <= limit)
        changed = stable and _is_beyond(first, accepted, runs, limit)
        suspect = changed and first.verdict == "worse"
        if suspect and rerun is not None and again is None:
            again = rerun(runs[0].recipe)
        second = None
        if suspect and again is not None:
            second = _confirmation(first, _compared_by_trial(accepted, again, rules, share))
        confirmed = (
            second is not None and second.verdict == "worse" and _is_beyond(second, accepted, again or (), limit)
        )
        decision, reason = _decision(first, second, stable=stable, changed=changed, confirmed=confirmed)
        if decision == "unstable":
            known = "unknown with a single run" if floor is None else f"{100 * floor:.1f}%, over {100 * limit:g}%"
            reason = f"noise floor {known}, of {len(accepted)} runs"
        if decision == "worse" and moved and metric.is_timed and first.change:
            decision, reason = "undecided", f"worse, but {moved}: add runs of more hosts to the baseline"
        its_notes = (*notes, moved) if moved and metric.is_timed else notes
        found.append(Judgement(first, second, floor, decision, _with_laps(reason, decision, first), its_notes))
    return found


def judge_interleaved(
    looks_of: Mapping[str, tuple[int, ...]],
    train_both: TrainBoth,
    rules: Rules,
    *,
    own_rules: Mapping[str, Rules] | None = None,
) -> list[Judgement]:
    """One judgement for each metric that has a rule, of each recipe, whose trials are interleaved.

    `looks_of`: by recipe, the trials a side after which it is judged. Of several looks the first that decides ends its
    training, at the level of that look (`results.sequential`). Drift of the machine affects both codes equally, so that
    no noise floor is needed. What differs from process to process, such as the layout of its memory, is covered by a
    confirmation run in new processes, with the same looks. `own_rules`: by recipe, rules that replace or join `rules`.
    A recipe without runs of both codes is missing.
    """
    rules_of = {name: {**rules, **(own_rules or {}).get(name, {})} for name in looks_of}
    share = _share(rules_of)
    found = []
    for recipe, chosen in rules_of.items():
        again: list[Comparison] | None = None
        rows = _until_decided(recipe, looks_of[recipe], train_both, chosen, share)
        if not rows:
            reason = "its training failed"
            rows = [_one_sided(recipe, find_metric(name), limit, (), reason) for name, limit in chosen.items()]
            found += [Judgement(row, None, None, "missing", reason) for row in rows]
            continue
        for first in rows:
            suspect = first.verdict == "worse"
            if suspect and again is None:
                again = _until_decided(recipe, looks_of[recipe], train_both, chosen, share)
            second = _confirmation(first, again or ()) if suspect else None
            confirmed = second is not None and second.verdict == "worse"
            changed = suspect or first.verdict == "better"
            decision, reason = _decision(first, second, stable=True, changed=changed, confirmed=confirmed)
            reason = _with_laps(reason, decision, first)
            found.append(Judgement(first, second, None, decision, reason))
    return found


def _until_decided(
    recipe: str, looks: tuple[int, ...], train_both: TrainBoth, rules: Rules, share: float
) -> list[Comparison]:
    """The rows at the first look that leaves none of them undecided, or at the last. No row where a side could not be
    trained."""
    accepted: list[Samples] = []
    new: list[Samples] = []
    rows: list[Comparison] = []
    for before, trials in pairwise((0, *looks)):
        more = train_both(recipe, trials - before)
        if not all(more):
            return []
        accepted += more[0]
        new += more[1]
        rows = _compared(accepted, new, rules, share, (looks, trials) if len(looks) > 1 else None)
        if all(row.verdict != "undecided" for row in rows):
            break
    return rows


def status(judgements: Iterable[Judgement]) -> int:
    """1 something is worse, else 2 something is missing, undecided or nothing gates at all, else 0."""
    decisions = {judgement.decision for judgement in judgements}
    if "worse" in decisions:
        return 1
    return 2 if decisions & {"undecided", "missing"} or not decisions - {"unstable"} else 0


def _share(rules_of: Mapping[str, Rules]) -> float:
    """The false alarms that each metric of each recipe may have (Bonferroni)."""
    return LEVEL / max(1, sum(len(rules) for rules in rules_of.values()))


def _machine(one: Samples) -> tuple[str, str]:
    return one.facts["machine"], one.facts["world"]


def _remedy(machines: Collection[tuple[str, str]]) -> str:
    """What to do where the baseline has no run of these machines."""
    (machine, world), *_ = sorted(machines)
    return f"on {world} × {machine}: train one there {RUNS} times and keep the runs"


def _one_sided(recipe: str, metric: Metric, limit: float, accepted: Sequence[Samples], reason: str) -> Comparison:
    """The row of a recipe that has runs with trials on one side at most."""
    before = measure(metric, accepted)[0] if accepted else None
    return Comparison(recipe, metric, limit, before, None, None, "not comparable", reason)


def _confirmation(first: Comparison, again: Iterable[Comparison]) -> Comparison:
    """The row of the confirmation run for a row; not comparable where its training failed."""
    failed = replace(first, after=None, change=None, verdict="not comparable", reason="its training failed")
    return next((row for row in again if row.metric == first.metric), failed)


def _compared(
    accepted: Sequence[Samples],
    runs: Sequence[Samples],
    rules: Rules,
    share: float,
    together: Planned | None = None,
) -> list[Comparison]:
    """A row for each rule; none where a side could not be trained. `together`: as `compare` has it."""
    rows = compare(accepted, runs, rules, level=share, together=together) if accepted and runs else []
    return [row for row in rows if row.metric.name in rules]


def _compared_by_trial(
    accepted: Sequence[Samples], runs: Sequence[Samples], rules: Rules, share: float
) -> list[Comparison]:
    """As `_compared`, whatever the hosts: the noise floor is over whole runs, and so covers nights and hosts alike. It
    also covers that the trials were not interleaved, so that no note says so."""
    before, after = ([replace(one, hosts=()) for one in side] for side in (accepted, runs))
    rows = _compared(before, after, rules, share)
    return [replace(row, notes=tuple(note for note in row.notes if note != NOT_INTERLEAVED)) for row in rows]


def _moved(accepted: Iterable[Samples], runs: Iterable[Samples]) -> str:
    """Says that a baseline of one host is held against another one, of which its noise floor knows nothing."""
    before, after = ({host for one in side for host in one.hosts if host} for side in (accepted, runs))
    if len(before) != 1 or after <= before:
        return ""
    return f"trained on host {min(after - before)[:8]}, and all runs of the baseline on host {min(before)[:8]}"


def _decision(
    first: Comparison, second: Comparison | None, *, stable: bool, changed: bool, confirmed: bool
) -> tuple[Decision, str]:
    """What was decided, and why."""
    undecided = ("not comparable", "undecided")
    if first.verdict == "not comparable":
        return "undecided", first.reason
    if not stable:
        return "unstable", ""
    if first.verdict == "undecided":
        return "undecided", first.reason
    if not changed:
        return "passed", ""
    if first.verdict == "better":
        return "better", ""
    reasons = [first.reason] if first.reason else []
    if second is None:
        return "worse", ", ".join([*reasons, "without a confirmation run"])
    if second.verdict in undecided:
        return "undecided", f"confirmation run: {second.reason}"
    if not confirmed:
        return "not confirmed", "not worse in the confirmation run"
    return "worse", ", ".join([*reasons, "confirmed"])


def _with_laps(reason: str, decision: Decision, first: Comparison) -> str:
    """The reason, and of a time that is worse in which laps it is."""
    found = breakdown(first) if decision == "worse" else None
    return ", ".join(filter(None, [reason, found and found.where]))


def _floor(accepted: Iterable[Samples], metric: Metric, share: float) -> float | None:
    """None for accuracies, whose trials show all of their noise: it comes from the seed."""
    if not metric.test.by_ranks:
        return None
    return noise_floor(_medians(accepted, metric), share)


def _is_beyond(row: Comparison, accepted: Iterable[Samples], runs: Iterable[Samples], limit: float) -> bool:
    """Whether a row is worse or better by its trials, and of ratios also by whole runs, as the noise floor is."""
    if row.verdict not in ("worse", "better"):
        return False
    if row.change is None or not row.metric.test.by_ranks:
        return True
    logs = [fmean(map(math.log, _medians(side, row.metric))) for side in (accepted, runs)]
    change = math.expm1(logs[1] - logs[0])
    return change >= limit if (row.verdict == "worse") != row.metric.higher_is_better else -change >= limit


def _medians(side: Iterable[Samples], metric: Metric) -> list[float]:
    """Of each run that has the number."""
    return [value for one in side if (value := known_median(one.values[metric.name])) is not None]
