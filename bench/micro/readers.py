"""What reading many runs costs: compare, query and report of 2,000 runs, beside another checkout.

    python bench/micro/readers.py --against OTHER_CHECKOUT --rounds 5 > readers.json

The runs are copies of a committed one with other times, in a temporary folder. Both checkouts are started in turn, so
that what else the machine does meets both. CPU seconds are those of a command and its children; `cold` is the first
call, which finds no cache.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from results import samples, store  # noqa: E402  this tree, whatever else is installed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    checkouts = {"this": ROOT} | ({"other": given.against.resolve()} if given.against else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        halves = folder / "before", folder / "after"
        every = folder / "every"
        for half in (*halves, every):
            half.mkdir()
        make_runs(every, given.runs, given.trials)
        for number, run in enumerate(sorted(every.iterdir())):
            (halves[number % 2] / run.name).symlink_to(run)
        commands = {
            "compare": ["bench/compare.py", *map(str, halves)],
            "query": ["bench/query.py", "select recipe, median(total_time) from trials group by 1", str(every)],
            "report": ["bench/report.py", str(every), "-o", str(folder / "page")],
        }
        cold = {name: measure(ROOT, command)["cpu_seconds"] for name, command in commands.items()}
        rounds = []
        for _ in range(given.rounds):
            for name, command in commands.items():
                for side, checkout in checkouts.items():
                    one = measure(checkout, command)
                    page = folder / "page" / "index.html"
                    size = {"page_mb": page.stat().st_size / 1e6} if name == "report" else {}
                    rounds.append({"command": name, "checkout": side, **one, **size})
    figures = ("cpu_seconds", "wall_seconds", "peak_mib", "page_mb")
    summary = {
        f"{name} {side}": {
            figure: median(values)
            for figure in figures
            if (
                values := [
                    one[figure] for one in rounds if (one["command"], one["checkout"]) == (name, side) and figure in one
                ]
            )
        }
        for name in commands
        for side in checkouts
    }
    about = {"runs": given.runs, "trials": given.trials, "cores": os.cpu_count(), "load": os.getloadavg()}
    print(json.dumps(about | {"medians": summary, "cold_cpu_seconds": cold, "rounds": rounds}, indent=1))


def make_runs(folder: Path, runs: int, trials: int) -> None:
    """Runs of twenty recipes with normally distributed factors on the times."""
    source = store.read(next(samples.MEASURED.glob("*_cifar10-airbench94_*")))
    lines = (source.path / store.TRIALS).read_text(encoding="utf-8").splitlines()
    planted, draw = json.loads(lines[0]), random.Random(0)
    for number in range(runs):
        name = f"cifar10/recipe-{number % 20}"
        changes = {
            "id": f"{number:08x}",
            "created": source.record.created + timedelta(hours=number),
            "seeds": list(range(trials)),
            "status": "finished",
            "recipe_name": name,
            "recipe_hash": name,
        }
        record = source.record.model_copy(update=changes)
        path = folder / f"{record.created:%Y%m%dT%H%M%SZ}_{name.replace('/', '-')}_{record.id}"
        path.mkdir()
        (path / store.RECORD).write_text(record.model_dump_json(indent=2), encoding="utf-8")
        with (path / store.TRIALS).open("w", encoding="utf-8") as file:
            for seed in range(trials):
                factor = draw.gauss(1, 0.02)
                laps = [lap | {"seconds": factor * lap["seconds"]} for lap in planted["laps"] if lap["name"] != "total"]
                file.write(json.dumps(planted | {"index": seed, "seed": seed, "laps": laps}) + "\n")


def measure(checkout: Path, command: list[str]) -> dict[str, float]:
    """CPU and wall seconds and peak memory of a command, measured by a process of its own."""
    code = (
        "import json, resource, subprocess, sys, time; start = time.perf_counter(); "
        "assert subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL) < 3; "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(json.dumps({'cpu_seconds': used.ru_utime + used.ru_stime, 'wall_seconds': time.perf_counter() - start, "
        "'peak_mib': used.ru_maxrss / 1024}))"
    )
    done = subprocess.run(  # noqa: S603  our own commands
        [sys.executable, "-c", code, sys.executable, *command],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
