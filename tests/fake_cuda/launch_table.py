"""Counts the kernels that a training step launches, per recipe: python -m tests.fake_cuda.launch_table [--author FILE]

Writes bench/micro/kernel_launches.json, which a test compares with what the recipes do. --author: a copy of
airbench94_muon.py from github.com/KellerJordan/cifar10-airbench, whose step is counted in the same way; without it, its
line stays as it is.
"""

import argparse
import hashlib
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from tests.fake_cuda import device

if __name__ == "__main__":
    device.pretend(device.build())

import torch

from pipelines import recipe as recipes
from pipelines.host.torchvision_import import import_torchvision
from tests.fake_cuda.bounds import TABLE, summary
from tests.fake_cuda.recorder import CUDA, Recorder
from tests.fake_cuda.simulate import NEVER_ENDING, simulate, watched

AUTHOR = "airbench94_muon.py"
STEPS = 3
"""in an epoch"""


def recipe_counts(name: str) -> dict[str, dict[str, float]]:
    """By the recipe's `kernels`. An error of the recipe ends the command."""
    found = {}
    for kernels in ("auto", "reference"):
        report = simulate(name, kernels)
        if report["error"]:
            raise RuntimeError(f"{name}: {report['error']}")
        found[kernels] = summary(report["launches"])
    return found


def author_counts(path: Path) -> dict[str, Any]:
    """Of airbench94_muon.py: its own `main`, eager, on a few random images."""
    import_torchvision()
    source = path.read_text(encoding="utf-8")
    images = 255 * torch.rand(STEPS * 2000, 3, 32, 32)

    class Loader:
        """In place of the file's loader, which reads CIFAR-10 from the disk."""

        def __init__(self, path: str, train: bool = True, batch_size: int = 500, aug: object = None) -> None:
            self.images = images.to(CUDA).half().to(memory_format=torch.channels_last)
            self.labels = torch.zeros(len(images), dtype=torch.int64, device=CUDA)
            self.normalize = lambda images: images

        def __len__(self) -> int:
            return STEPS

        def __iter__(self) -> Any:
            return zip(self.images.split(2000), self.labels.split(2000), strict=True)

    arguments, sys.argv = sys.argv, [str(path)]  # it reads itself
    compiler, torch.compile = torch.compile, lambda function, **options: function
    names: dict[str, Any] = {"__name__": "author"}
    recorder = Recorder()
    try:
        with watched(recorder):
            exec(compile(source, path.name, "exec"), names)
            model = names["CifarNet"]().to(CUDA).to(memory_format=torch.channels_last)
            zero_grad = model.zero_grad

            def end_step(**options: Any) -> None:
                zero_grad(**options)
                recorder.end_step()

            model.zero_grad = end_step
            names["CifarLoader"] = Loader
            recorder.lap = "train"
            names["main"]("run", model)
    finally:
        sys.argv, torch.compile = arguments, compiler
    launches = [
        sum(step.values()) for step in recorder.steps
    ]  # an epoch's first step includes the evaluation before it
    return {
        "source": f"https://github.com/KellerJordan/cifar10-airbench ({AUTHOR}), eager",
        "sha256": hashlib.sha256(source.encode()).hexdigest(),
        "typical": statistics.median_low(launches),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--author", type=Path)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    author = author_counts(chosen.author) if chosen.author else json.loads(TABLE.read_text())["authors"][AUTHOR]
    table = {"torch": torch.__version__.partition("+")[0], "authors": {AUTHOR: author}}
    table["recipes"] = {name: recipe_counts(name) for name in recipes.names() if name not in NEVER_ENDING}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
