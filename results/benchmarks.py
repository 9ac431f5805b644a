"""pytest-benchmark's JSON files, to be compared as runs are.

A file is one sample of each of its benchmarks: the median of its rounds. The rounds share one process, its memory and
its clock rate, so that a thousand of them say no more about the next process than one does.
"""

import glob
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from results.samples import Samples
from results.store import RECORD

PROTOCOL = "pytest-benchmark"
CLOCK = "One sample a file: the median round of the benchmark."


class _Stats(BaseModel):
    median: float = Field(gt=0, allow_inf_nan=False)


class _Benchmark(BaseModel):
    fullname: str = Field(min_length=1)
    stats: _Stats


class _File(BaseModel):
    """What is read of a file. Others write more into it, so that unknown keys are left alone."""

    benchmarks: list[_Benchmark] = Field(min_length=1)
    machine_info: dict[str, Any]
    commit_info: dict[str, Any]


def locate(place: str | Path) -> list[Path]:
    """The JSON files at `place`: a file, a folder, its folders included, or a glob; none where there are runs."""
    matches = [Path(match) for match in [place] if Path(match).exists()] or map(Path, glob.glob(str(place)))  # noqa: PTH207
    files = [file for match in matches for file in (match.rglob("*.json") if match.is_dir() else [match])]
    is_ours = all(file.suffix == ".json" and file.name != RECORD for file in files)
    return sorted(files) if is_ours else []


def read(paths: Iterable[Path]) -> list[Samples]:
    """The benchmarks in the files. ValueError for a file that is none of pytest-benchmark's."""
    return [one for path in paths for one in _samples(path, _load(path))]


def _load(path: Path) -> _File:
    try:
        return _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        what = error.errors(include_url=False)[0]
        where = ".".join(map(str, what["loc"])) or "the file"
        raise ValueError(f"{path}: not what pytest-benchmark writes: {where}: {what['msg']}") from error


def _samples(path: Path, file: _File) -> list[Samples]:
    facts = {"machine": _machine(file.machine_info), "protocol": PROTOCOL}
    commit = str(file.commit_info.get("id", "unknown"))[:12] + " with changes" * bool(file.commit_info.get("dirty"))
    return [
        Samples(
            recipe=one.fullname,
            origin=str(path),
            facts=facts,
            notes={"commit": commit, "python": str(file.machine_info.get("python_version"))},
            options={},
            target=None,
            seeds=(0,),
            values={"time": (one.stats.median,)},
            reached=0,
            is_benchmark=True,
        )
        for one in file.benchmarks
    ]


def _machine(info: Mapping[str, Any]) -> str:
    """The class that `bench/micro` writes; of another's file, the processor."""
    cpu = info.get("cpu")
    cpu = cpu if isinstance(cpu, Mapping) else {}
    return str(info.get("machine_class") or f"{cpu.get('brand_raw', 'unknown')}, {cpu.get('count', '?')} cores")
