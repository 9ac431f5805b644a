"""Download data sets and verify them: python bench/data.py cifar10 mnist

What is missing is downloaded (CIFAR-10: 170 MB, MNIST: 12 MB; digits come with scikit-learn), then every image is read
and compared with the published ones.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.one_line_parser import OneLineParser
from pipelines.data.dataset import Dataset
from pipelines.data.files import DataError
from pipelines.data.fingerprint import fingerprint
from pipelines.data.sources import SOURCES, default_folder, load, source


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every data set named is there and as published, else 2 with a line on stderr for each that is not."""
    args = _parser().parse_args(arguments)
    status = 0
    for name in args.names:
        try:
            dataset = load(name, args.data_dir, download=not args.verify)
            print(_describe(dataset, source(name).find(args.data_dir), _verified(dataset)))
        except DataError as error:
            print(f"bench/data.py: error: {error}", file=sys.stderr)
            status = 2
    return status


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="bench/data.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=SOURCES, metavar="NAME", help=", ".join(SOURCES))
    parser.add_argument("--verify", action="store_true", help="only verify what is there, download nothing")
    parser.add_argument(
        "--data-dir", type=Path, default=default_folder(), metavar="DIR", help="default: $PACELINE_DATA, else ./data"
    )
    return parser


def _verified(dataset: Dataset) -> str:
    found, expected = fingerprint(dataset), source(dataset.name).FINGERPRINT
    if found != expected:
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
