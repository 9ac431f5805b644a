"""Download data sets and verify them: python bench/data.py cifar10 mnist

What is missing is downloaded (CIFAR-10: 170 MB, CIFAR-100: 169 MB, MNIST: 12 MB, Fashion-MNIST: 31 MB, SVHN: 246 MB;
digits come with scikit-learn). Then every image is read, and the images or their files are compared with the published
ones.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, options
from bench.command_line.option_groups import Data
from bench.command_line.options import Argument
from pipelines.data.dataset import Dataset
from pipelines.data.files import DataError
from pipelines.data.fingerprint import fingerprint
from pipelines.data.sources import SOURCES, load, source

PROG = "bench/data.py"


@dataclass(frozen=True, kw_only=True)
class DataOptions(Data):
    """The options of bench/data.py."""

    names: Annotated[list[str], Argument(metavar="|".join(SOURCES), positional=True)] = field(default_factory=list)
    """data sets"""
    verify: bool = False
    """verify what is there and download nothing"""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError(f"name a data set: {', '.join(SOURCES)}")
        for name in self.names:
            if name not in SOURCES:
                raise ValueError(f"there is no data set {name!r}: use one of {', '.join(SOURCES)}")


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every data set named is there and as published, else 2 with a line on stderr for each that is not."""
    given = options.parse(DataOptions, PROG, arguments, description=__doc__)
    status = cli.OK
    for name in given.names:
        try:
            dataset = load(name, given.data_dir, download=not given.verify)
            print(_describe(dataset, source(name).find(given.data_dir), _verified(dataset)))
        except DataError as error:
            status = cli.print_error(PROG, error)
    return status


def _verified(dataset: Dataset) -> str:
    found, expected = fingerprint(dataset), source(dataset.name).FINGERPRINT
    if expected is not None and found != expected:
        raise DataError(
            f"{dataset.name}: its images or labels are not the published ones (SHA-256 {found}, expected {expected}); "
            "delete its files and run this again without --verify to download them"
        )
    return found


def _describe(dataset: Dataset, where: Path | None, sha256: str) -> str:
    channels, height, width = dataset.image_shape
    per_class = [np.bincount(labels) for labels in (dataset.train_labels, dataset.test_labels)]
    train, test = (f"{counts.sum():,} ({counts.min():,} to {counts.max():,} per class)" for counts in per_class)
    return (
        f"{dataset.name}: ok\n  folder    {where}\n  train     {train}\n  test      {test}\n"
        f"  images    {height} x {width} x {channels}, {len(dataset.class_names)} classes\n  SHA-256   {sha256}"
    )


if __name__ == "__main__":
    sys.exit(main())
