"""DAWNBench's submissions, both ways: a JSON file that describes, and a TSV file with a row an epoch.

The format is that of github.com/stanford-futuredata/dawn-bench-entries (README, "Submission format"): hours since the
start of the training at the end of each epoch, and the accuracy then, in percent. Its time to 94% is the hours of the
first row at or over 94.0.
"""

import csv
import hashlib
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from results.environment import known
from results.protocols import elapsed
from results.record import EpochResult, Lap, Run, RunRecord, TrialRecord

FIELDS = (
    "version",
    "author",
    "authorEmail",
    "framework",
    "codeURL",
    "model",
    "hardware",
    "costPerHour",
    "timestamp",
    "misc",
)
OPTIONAL = {"codeURL", "costPerHour", "misc"}
"""what a third of the published submissions leave out"""
HEADER = ("epoch", "hours", "top1Accuracy")
PROTOCOL = "dawnbench"
DATA = "cifar10"
"""what has a `top1Accuracy`: the submissions that train on ImageNet have a `top5Accuracy`"""


def describe(run: Run, *, author: str, email: str, code_url: str, cost_per_hour: float | None = None) -> dict[str, Any]:
    """The JSON of a submission. `cost_per_hour`: in US dollars, of the machine; None where it has no price."""
    record = run.record
    torch = known(record.environment.versions.get("torch"))
    return {
        "version": "v1.0",
        "author": author,
        "authorEmail": email,
        "framework": "PyTorch" if torch is None else f"PyTorch {torch}",
        "codeURL": code_url,
        "model": record.recipe_name,
        "hardware": run.machine,
        "costPerHour": cost_per_hour,
        "timestamp": f"{record.created:%Y-%m-%d}",
        "misc": {"commit": record.commit, "recipeHash": record.recipe_hash, "run": record.id},
    }


def table(trial: TrialRecord) -> str:
    """The TSV of a submission: a row for each epoch that was evaluated, in hours of the protocol `dawnbench`.

    ValueError for a trial whose epochs have no times of their own, or no accuracy.
    """
    ends = elapsed(trial, PROTOCOL)
    rows = [
        (result.epoch, seconds / 3600, 100 * result.accuracy)
        for result in trial.epochs
        if result.accuracy is not None and (seconds := ends[result.epoch]) is not None
    ]
    if not rows:
        raise ValueError(f"seed={trial.seed}: no epoch has both a time and an accuracy, as DAWNBench's rows have")
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((epoch, f"{hours:.17g}", f"{accuracy:.17g}") for epoch, hours, accuracy in rows)
    return text.getvalue()


def write(run: Run, folder: Path, **given: Any) -> list[Path]:
    """One pair of files a trial in `folder`, which is made if it is missing. `given`: as `describe`.

    ValueError as `table`, before anything is written.
    """
    described = json.dumps(describe(run, **given), indent=2) + "\n"
    texts = {f"{run.path.name}_seed{trial.seed}": table(trial) for trial in run.trials}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.json").write_text(described, encoding="utf-8")
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    return [folder / f"{name}.{kind}" for name in texts for kind in ("json", "tsv")]


def read(path: Path, target: float = 0.94) -> Run:
    """A submission as a run of one trial; `path` is its JSON file, and the TSV lies beside it.

    Its `environment` says that it came from DAWNBench, and by which protocol alone its time is known. The laps are the
    differences between rows, all of them `train`: more is not known. Rows are numbered from 1, because some submissions
    count epochs from 0 and some have fractions of them. ValueError for files that are missing or are no submission.
    """
    try:
        described = json.loads(path.read_text(encoding="utf-8-sig"))
        rows = list(csv.reader(path.with_suffix(".tsv").read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a submission: {error}") from error
    needed = [key for key in FIELDS if key not in OPTIONAL]
    missing = [key for key in needed if not isinstance(described, Mapping) or key not in described]
    if missing:
        raise ValueError(f"{path}: is not a DAWNBench submission: it lacks {', '.join(missing)}")
    if not rows or tuple(rows[0]) != HEADER:
        raise ValueError(f"{path.with_suffix('.tsv')}: its header is not {' '.join(HEADER)}, separated by tabs")
    try:
        counted, hours, accuracies = zip(*((float(a), float(b), float(c)) for a, b, c in rows[1:]), strict=True)
        if any(later <= earlier for earlier, later in pairwise(counted)):
            raise ValueError("its epochs do not rise from row to row")
        epochs = tuple(range(1, len(counted) + 1))
        created = datetime.strptime(described["timestamp"], "%Y-%m-%d").replace(tzinfo=UTC)
        laps = [
            Lap(name="train", epoch=epoch, seconds=3600 * (now - before))
            for epoch, (before, now) in zip(epochs, pairwise((0.0, *hours)), strict=True)
        ]
        trial = _trial(epochs, [accuracy / 100 for accuracy in accuracies], laps, target)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    record = RunRecord(
        id=hashlib.sha256(path.read_bytes() + path.with_suffix(".tsv").read_bytes()).hexdigest()[:8],
        recipe_name=f"dawnbench/{described['model']}",
        recipe={"title": str(described["model"]), "source": described.get("codeURL"), "data": {"name": DATA}},
        recipe_hash="unknown",
        smoke_test=False,
        created=created,
        command=[],
        environment={
            "origin": f"DAWNBench, {described['author']}",
            "protocol": PROTOCOL,
            "machine_class": str(described["hardware"]),
            "versions": {"framework": str(described["framework"])},
            "dawnbench": dict(described),
        },
        world_size=1,
        seeds=[0],
    )
    return Run(record, (trial,), path)


def _trial(epochs: tuple[int, ...], accuracies: list[float], laps: list[Lap], target: float) -> TrialRecord:
    return TrialRecord(
        index=0,
        seed=0,
        outcome="reached" if max(accuracies) >= target else "missed",
        accuracy=accuracies[-1],
        target=target,
        epochs=tuple(EpochResult(epoch=epoch, accuracy=value) for epoch, value in zip(epochs, accuracies, strict=True)),
        laps=tuple(laps),
        steps=0,
        samples=0,
        notes={"imported": "steps and samples are not known"},
    )
