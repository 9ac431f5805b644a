"""Simulate how often verdicts are wrong, intervals hold and nights raise an alarm: python bench/simulate.py

Writes verdicts.csv, intervals.csv, hosts.csv, slow-hosts.csv, discoveries.csv, sequential.csv, bisection.csv,
nights.csv and a README.md to results/measured/statistics/. The same seed gives the same numbers, so a change of the
statistics shows as a difference.
"""

import csv
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli
from bench.command_line.options import Parser, positive

FOLDER = Path(__file__).resolve().parents[1] / "results" / "measured" / "statistics"
DRAWS = 1000


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, simulate, write."""
    parser = Parser("bench/simulate.py", __doc__)
    parser.add_argument(
        "--draws", type=positive, default=DRAWS, metavar="N", help="draws of each rate (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=FOLDER, metavar="DIR", help="(default: results/measured/statistics)"
    )
    given = parser.parse_args(arguments)
    tables = simulate(given.draws, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (given.out / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    (given.out / "README.md").write_text("\n".join(as_markdown(tables, given.draws, given.seed)), encoding="utf-8")
    return cli.OK


def simulate(draws: int, seed: int) -> dict[str, list[dict[str, object]]]:
    """The rows of each table, by the name of its file."""
    from results import simulation

    with ProcessPoolExecutor(cli.processors()) as pool:
        verdicts = pool.map(partial(simulation.verdict_rates, draws=draws, seed=seed), simulation.TRIALS)
        intervals = pool.map(partial(simulation.interval_rates, draws=draws, seed=seed), simulation.TRIALS)
        hosts = pool.submit(simulation.host_rates, draws, seed)
        slow_hosts = pool.submit(simulation.slow_host_rates, draws, seed)
        discoveries = pool.submit(simulation.discovery_rates, draws, seed)
        sequential = pool.submit(simulation.sequential_rates, draws, seed)
        bisection = pool.submit(simulation.bisection_rates, draws, seed)
        every = [
            pool.submit(simulation.night_rates, draws, slow_down, between, seed)
            for slow_down, between in ((0.0, 0.004), (0.0, 0.02), (0.05, 0.004))
        ] + [
            pool.submit(simulation.night_rates, draws, slow_down, 0.004, seed, hosts=hosts, moves=moves)
            for slow_down, hosts, moves in ((0.0, 4, False), (0.05, 4, False), (0.0, 4, True), (0.0, 1, True))
        ]
        return {
            "verdicts": sorted(flat(verdicts), key=lambda row: (str(row["compared"]), str(row["true change"]))),
            "intervals": sorted(flat(intervals), key=lambda row: str(row["interval of"])),
            "hosts": hosts.result(),
            "slow-hosts": slow_hosts.result(),
            "discoveries": discoveries.result(),
            "sequential": sequential.result(),
            "bisection": bisection.result(),
            "nights": [one.result() for one in every],
        }


def flat(tables: Iterable[list[dict[str, object]]]) -> list[dict[str, object]]:
    """The rows of all tables."""
    return [row for table in tables for row in table]


def as_markdown(tables: dict[str, list[dict[str, object]]], draws: int, seed: int) -> list[str]:
    """The tables, each under what it holds."""
    from results.tables.table import Table

    captions = {
        "verdicts": "Share of each verdict, by the true change (a limit is 2% of times, 0.1 points of accuracy). False "
        "are: worse and better of no change, same of a change of one limit.",
        "intervals": "How often the 95% interval holds the true value. Without a number: so few trials have none.",
        "hosts": "How often the 95% interval of times over several hosts holds the center of the class.",
        "slow-hosts": "Tables of hosts: how often one is called slower or faster than the others, where none is and "
        "where the first is 5% slower.",
        "discoveries": "Forty techniques against one base: false ones among the differences with p up to 0.05.",
        "sequential": "Comparisons that end at the first look that decides, after 40 trials at the latest: with the "
        "only look there, with the planned looks of --until-decided, and with a look after every trial at 5%.",
        "bisection": "What a bisection calls a commit (a limit is 2% of times), confirmation run included. doubled: 8 "
        "trials a side, then 16, 32 and 64 new ones, each at 5%. planned looks: as it does, up to so many. False "
        "are: bad of no change, good of one limit or more.",
        "nights": "Nights of the gate with an alarm: two recipes of 12 trials that spread by 1%, six runs in the "
        "baseline, a limit of 3%, a confirmation run. Each run is of one of the hosts, which differ by 1%.",
    }
    lines = [
        "# Rates of the statistics, simulated",
        "",
        f"`python bench/simulate.py --draws {draws} --seed {seed}`",
        "",
    ]
    for name, rows in tables.items():
        cells = tuple(tuple(text(value) for value in row.values()) for row in rows)
        lines.append(Table(name, tuple(rows[0]), cells, captions[name]).markdown())
    return lines


def text(value: object) -> str:
    """A share in percent, any other value as it is."""
    if value is None:
        return "–"
    return f"{100 * value:.1f}%" if isinstance(value, float) and 0 <= value <= 1 else f"{value}"


if __name__ == "__main__":
    sys.exit(main())
