"""How often verdicts are wrong, intervals hold the truth and nights raise an alarm, from samples with a known effect.

Times are log-normal and spread by 2%, and one trial in twenty takes 30% longer; accuracies are normal and spread by 0.1
points. `bench/simulate.py` writes the rates under `results/measured/statistics/`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from results.facts import FACTS
from results.gate import judge, status
from results.hosts import host_effect
from results.metrics import METRICS, Metric
from results.samples import Samples
from results.sequential import nominal_levels, plan_looks
from results.slow_hosts import changes, difference
from results.statistics import (
    LEVEL,
    accuracy_summary,
    adjust_for_many,
    difference_of_means,
    fewest_trials,
    median_summary,
    ratio_of_times,
    reached_interval,
)
from results.verdict import decide

MOST = 40
"""trials a side of comparisons that may end early"""
DOUBLED, MOSTS = (8, 16, 32, 64), (40, 64)
"""trials a side of one judgement after the other, each of new trials; of bisections with planned looks, at most"""
TRIALS = (3, 4, 5, 6, 8, 10, 15, 20, 30, 50)
SPREAD, SLOW, SLOWER = 0.02, 0.05, 1.3
"""of times; the share of slow trials; how much longer they take"""
HOSTS = 0.01
"""standard deviation of hosts of one machine class"""
DESIGNS = ((7, 7, 7), (4, 4, 4, 4, 4), (2,) * 10, (18, 2), (1, 1, 18), (1, 1, 1, 17), (1, 1, 1, 1, 8, 8))
"""trials of each host"""
ALIKE = ((20, 20), (18, 2), (7, 7, 7), (3,) * 8, (5,) * 8, (10,) * 8, (2,) * 20)
"""trials of each host, in tables of hosts"""
POINTS = 0.001
"""standard deviation of accuracies"""
CHANGES = {"none": 0.0, "+1 limit": 1.0, "-1 limit": -1.0, "+2.5 limits": 2.5}
"""true changes, in limits of the metric"""
TIME, ACCURACY = METRICS["time"], METRICS["accuracy"]

Row = dict[str, object]
Draw = np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Two sides that are compared in one way."""

    name: str
    metric: Metric
    draw: Callable[[np.random.Generator, tuple[int, ...], float], Draw]
    """(generator, shape (draws, 2, n), effect as a ratio or a difference) -> samples, the effect on the second side"""
    paired: bool = False

    def sides(self, generator: np.random.Generator, n: int, draws: int, multiple: float) -> list[list[list[float]]]:
        """Draws of both sides, which differ by this multiple of the metric's own limit."""
        none = 1.0 if self.metric.test.by_ranks else 0.0
        return self.draw(generator, (draws, 2, n), none + multiple * self.metric.limit).tolist()

    def verdict(self, before: Sequence[float], after: Sequence[float], level: float = LEVEL) -> str:
        """Against the metric's own limit."""
        given = {"paired": True} if self.paired else {}
        change = self.metric.test.change(before, after, level=level, **given)
        return decide(change, self.metric, self.metric.limit, level)[0]


def times(generator: np.random.Generator, shape: tuple[int, ...], factor: float = 1.0) -> Draw:
    """Times of both sides, those of the second longer by `factor`."""
    drawn = generator.lognormal(0, SPREAD, shape) * np.where(generator.random(shape) < SLOW, SLOWER, 1.0)
    drawn[:, 1:] *= factor
    return drawn


def drifting_times(generator: np.random.Generator, shape: tuple[int, ...], factor: float = 1.0) -> Draw:
    """As `times`, of interleaved trials (A B, B A, …) on a machine that slows down by 30% meanwhile."""
    pairs = np.linspace(1, 1.3, 2 * shape[-1]).reshape(-1, 2)
    pairs[1::2] = pairs[1::2, ::-1].copy()
    return times(generator, shape, factor) * pairs.T


def accuracies(generator: np.random.Generator, shape: tuple[int, ...], difference: float = 0.0) -> Draw:
    """Accuracies of both sides, those of the second higher by `difference`."""
    drawn = generator.normal(0.94, POINTS, shape)
    drawn[:, 1:] += difference
    return drawn


COMPARISONS = (
    Comparison("time", TIME, times),
    Comparison("time, interleaved", TIME, drifting_times, paired=True),
    Comparison("accuracy", ACCURACY, accuracies),
)


def verdict_rates(n: int, draws: int, seed: int = 0) -> list[Row]:
    """The share of each verdict with `n` trials a side: without a change, at the limit, and at 2.5 times the limit."""
    rows = []
    for place, one in enumerate(COMPARISONS):
        for index, (change, multiple) in enumerate(CHANGES.items()):
            generator = np.random.default_rng([seed, n, place, index])
            found = [one.verdict(*sides) for sides in one.sides(generator, n, draws, multiple)]
            rows.append({"compared": one.name, "trials": n, "true change": change, "draws": draws} | _shares(found))
    return rows


def sequential_rates(draws: int, seed: int = 0) -> list[Row]:
    """The share of each verdict, and the mean trials a side, where training ends at the first look that decides.

    After `MOST` trials there is the only look, or the last of planned ones, or that of looks after every trial, each at
    the level of a single one.
    """
    looks = plan_looks(MOST)
    designs = {
        "one look": {MOST: LEVEL},
        "planned looks": dict(zip(looks, nominal_levels(looks), strict=True)),
        "every trial": dict.fromkeys(range(fewest_trials(paired=True), MOST + 1), LEVEL),
    }
    rows = []
    for place, one in enumerate(COMPARISONS[1:]):
        for index, (change, multiple) in enumerate(CHANGES.items()):
            sides = one.sides(np.random.default_rng([seed, place, index]), MOST, draws, multiple)
            for design, levels in designs.items():
                ends = [_end(one, before, after, levels) for before, after in sides]
                found = {"compared": one.name, "looks": design, "true change": change, "draws": draws}
                mean = {"mean trials": round(float(np.mean([trials for _, trials in ends])), 1)}
                rows.append(found | _shares([verdict for verdict, _ in ends]) | mean)
    return rows


def bisection_rates(draws: int, seed: int = 0) -> list[Row]:
    """What a bisection calls a commit, by its true change, and the mean trials a side, confirmation runs included.

    `planned looks`: as it does, with so many trials at most. `doubled`: 8 trials a side, then 16, 32 and 64 others,
    each judged as if it was the only one. A commit that is worse must be worse in a confirmation run too.
    """
    one = COMPARISONS[1]
    rows = []
    for index, change in enumerate(("none", "+1 limit", "+2.5 limits")):
        generator, multiple = np.random.default_rng([seed, index]), CHANGES[change]
        called: dict[str, list[tuple[str, int]]] = {"doubled": []}
        stages = [
            [one.sides(generator, n, draws, multiple) for n in DOUBLED],
            [one.sides(generator, n, draws, multiple) for n in DOUBLED],
        ]
        for draw in range(draws):
            called["doubled"].append(_called_doubled(one, *([stage[draw] for stage in run] for run in stages)))
        for most in MOSTS:
            looks = plan_looks(most)
            levels = dict(zip(looks, nominal_levels(looks), strict=True))
            runs = [one.sides(generator, most, draws, multiple) for _ in range(2)]
            called[f"planned looks, {most}"] = [
                _called(*(_end(one, *sides, levels) for sides in pair)) for pair in zip(*runs, strict=True)
            ]
        for design, of_design in called.items():
            found = {"trials": design, "true change": change, "draws": draws}
            words = [word for word, _ in of_design]
            shares = {name: words.count(name) / draws for name in ("bad", "good", "skipped")}
            rows.append(found | shares | {"mean trials": round(float(np.mean([n for _, n in of_design])), 1)})
    return rows


def _called(first: tuple[str, int], again: tuple[str, int]) -> tuple[str, int]:
    """What a commit is called with these verdicts and trials a side; the confirmation run is of what is worse."""
    if first[0] != "worse":
        return "skipped" if first[0] == "undecided" else "good", first[1]
    words = {"worse": "bad", "undecided": "skipped"}
    return words.get(again[0], "good"), first[1] + again[1]


def _called_doubled(
    one: Comparison, stages: Sequence[list[list[float]]], confirmations: Sequence[list[list[float]]]
) -> tuple[str, int]:
    """At the first stage that, with its confirmation run, does not skip it; of the trials of all stages up to that."""
    trials = 0
    for sides, again in zip(stages, confirmations, strict=True):
        n = len(sides[0])
        word, trained = _called((one.verdict(*sides), n), (one.verdict(*again), n))
        trials += trained
        if word != "skipped":
            break
    return word, trials


def _end(
    one: Comparison, before: Sequence[float], after: Sequence[float], levels: Mapping[int, float]
) -> tuple[str, int]:
    """The verdict at the first look that decides, or at the last, and the trials a side there."""
    for trials, level in levels.items():
        verdict = one.verdict(before[:trials], after[:trials], level)
        if verdict != "undecided":
            break
    return verdict, trials


def _shares(verdicts: Sequence[str]) -> dict[str, float]:
    return {name: verdicts.count(name) / len(verdicts) for name in ("worse", "better", "same", "undecided")}


def interval_rates(n: int, draws: int, seed: int = 0) -> list[Row]:
    """How often each 95% interval of `n` trials (a side) holds the true value; None where there is no interval."""
    from scipy import special

    middle = float(np.exp(SPREAD * special.ndtri(0.5 / (1 - SLOW))))
    reached = 0.9

    def sides(draw: Callable[..., Draw], effect: float) -> list[list[list[float]]]:
        return draw(generator, (draws, 2, n), effect).tolist()

    generator = np.random.default_rng([seed, n])
    found = {
        "median time": (middle, [median_summary(a).interval for a, _ in sides(times, 1.0)]),
        "ratio of times": (1.05, [ratio_of_times(a, b).interval for a, b in sides(times, 1.05)]),
        "ratio of times, interleaved": (
            1.05,
            [ratio_of_times(a, b, paired=True).interval for a, b in sides(drifting_times, 1.05)],
        ),
        "mean accuracy": (0.94, [accuracy_summary(a, 0.94).interval for a, _ in sides(accuracies, 0.0)]),
        "difference of accuracies": (
            0.002,
            [difference_of_means(a, b).interval for a, b in sides(accuracies, 0.002)],
        ),
        "share of trials that reach the target": (
            reached,
            [reached_interval(int(k), n) for k in generator.binomial(n, reached, draws)],
        ),
    }
    return [
        {"interval of": name, "trials": n, "draws": draws, "holds": _share_that_holds(truth, intervals)}
        for name, (truth, intervals) in found.items()
    ]


def host_rates(draws: int, seed: int = 0) -> list[Row]:
    """How often the interval of times over several hosts holds the center of the class, also of unequal designs."""
    generator, rows = np.random.default_rng(seed), []
    for numbers in DESIGNS:
        hosts = np.repeat(np.arange(len(numbers)), numbers)
        for between in (0.0, 0.01, 0.03):
            effects = generator.normal(0, between, (draws, len(numbers)))[:, hosts]
            drawn = np.exp(effects + generator.normal(0, SPREAD, (draws, len(hosts))))
            effect = [host_effect(times, hosts.tolist()) for times in drawn.tolist()]
            rows.append(
                {
                    "trials of each host": " ".join(map(str, numbers)),
                    "hosts differ by": between,
                    "draws": draws,
                    "holds": _share_that_holds(1.0, [one and one.interval for one in effect]),
                }
            )
    return rows


def slow_host_rates(draws: int, seed: int = 0, designs: Sequence[tuple[int, ...]] = ALIKE) -> list[Row]:
    """How often a table of hosts calls some host slower or faster: of equal hosts, and where the first is slower by 5%.

    How often it calls the first one slower, and how often it names another.
    """
    rows = []
    for place, numbers in enumerate(designs):
        for slow_down in (0.0, 0.05):
            generator = np.random.default_rng([seed, place, round(100 * slow_down)])
            drawn = times(generator, (draws, 1, sum(numbers)))[:, 0]
            drawn[:, : numbers[0]] *= 1 + slow_down
            named = [_named(np.split(row, np.cumsum(numbers)[:-1])) for row in drawn]
            rows.append(
                {
                    "trials of each host": " ".join(map(str, numbers)),
                    "the first is slower by": slow_down,
                    "draws": draws,
                    "some host is named": sum(map(bool, named)) / draws,
                    "the first is slower": sum(one.get("0") == "slower" for one in named) / draws,
                    "another is named": sum(bool(one.keys() - {"0"}) for one in named) / draws,
                }
            )
    return rows


def _named(hosts: Sequence[np.ndarray]) -> dict[str, str]:
    """The hosts, by their number, that are slower or faster than the rest."""
    found = changes({str(number): seconds.tolist() for number, seconds in enumerate(hosts)})
    return {name: word for name, one in found.items() if (word := difference(one))}


def discovery_rates(draws: int, seed: int = 0) -> list[Row]:
    """False among the differences called real, of 40 techniques against one base; ten differ, 10 trials each."""
    generator = np.random.default_rng(seed)
    false: dict[str, list[float]] = {"p as it is": [], "p adjusted": []}
    for _ in range(draws):
        base = list(generator.normal(0, 1, 10))
        others = generator.normal(3.0 * (np.arange(40) < 10)[:, None], 1, (40, 10))
        p = [difference_of_means(base, list(other)).p for other in others]
        for name, values in (("p as it is", p), ("p adjusted", adjust_for_many(p))):
            claimed = [index for index, value in enumerate(values) if value is not None and value <= LEVEL]
            false[name].append(sum(index >= 10 for index in claimed) / max(1, len(claimed)))
    return [{"of": name, "draws": draws, "false": float(np.mean(shares))} for name, shares in false.items()]


def night_rates(
    nights: int, slow_down: float, between: float, seed: int = 0, *, hosts: int = 1, moves: bool = False
) -> Row:
    """Nights that end with an alarm, of a suite of two recipes of which one is slower by `slow_down`.

    12 trials that spread by 1%, nights that differ by `between`, six runs in the baseline, a limit of 3%, and a
    confirmation run. hosts: of which each run gets one, and which differ by 1%. moves: the new runs are of another
    host than those.
    """
    generator, alarms = np.random.default_rng(seed), 0
    rules = {"time": 0.03}
    factors = {"a": 1 + slow_down, "b": 1.0}
    runs = iter(range(10**9))

    def run(recipe: str, host: int, factor: float = 1.0) -> Samples:
        number = next(runs)
        seconds = factor * speeds[host] * generator.lognormal(0, between) * generator.lognormal(0, 0.01, 12)
        return _run(recipe, f"run {number}", seconds, f"host {host}")

    for _ in range(nights):
        several = hosts > 1 or moves
        speeds = generator.lognormal(0, HOSTS, hosts + moves) if several else [1.0]
        places = generator.integers(hosts, size=7) if several else [0] * 7
        *before, now = [int(place) for place in places]
        now = hosts if moves else now
        baseline = [run(recipe, place) for recipe in factors for place in before]
        new = [run(recipe, now, factor) for recipe, factor in factors.items()]
        found = judge(baseline, new, rules, lambda recipe, now=now: [run(recipe, now, factors[recipe])])
        alarms += status(found) == 1
    of_another = " and another for the new run" if moves else ""
    return {
        "nights": nights,
        "slow-down": slow_down,
        "nights differ by": between,
        "hosts": f"{hosts}{of_another}",
        "alarms": alarms / nights,
    }


def _run(recipe: str, origin: str, seconds: Sequence[float], host: str) -> Samples:
    values = {"time": tuple(seconds), "time-to-target": tuple(seconds), "accuracy": (0.95,) * len(seconds)}
    facts = dict.fromkeys(FACTS, "the same")
    seeds = tuple(range(len(seconds)))
    hosts = (host,) * len(seconds)
    return Samples(recipe, origin, facts, {}, {}, 0.94, seeds, values, len(seconds), hosts=hosts)


def _share_that_holds(truth: float, intervals: Sequence[tuple[float, float] | None]) -> float | None:
    if any(interval is None for interval in intervals):
        return None
    return sum(low <= truth <= high for low, high in filter(None, intervals)) / len(intervals)
