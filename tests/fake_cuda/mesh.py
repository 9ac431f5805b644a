"""Runs a process of recipes that share one network on a fake CUDA device, beside processes that are not there.

python -m tests.fake_cuda.mesh PROCESSES RANK OUT RECIPES: collectives do nothing (torch's fake process group), and
`OUT` gets what the process did, as that of `simulate.py`.
"""

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any
from unittest import mock

from tests.fake_cuda import device

if __name__ == "__main__":
    device.pretend(device.build())

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import _disable_current_modes

from pipelines.distributed import process_group
from pipelines.distributed.process_group import World
from tests.fake_cuda import simulate
from tests.fake_cuda.recorder import CUDA


def with_real_tensors(*args: Any, make: Any = process_group.init_device_mesh, **kwargs: Any) -> Any:
    """A device mesh, which is computed on the host and from values."""
    with _disable_current_modes():
        return make(*args, **kwargs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("processes", type=int)
    parser.add_argument("rank", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("recipes", nargs="+")
    given = parser.parse_args()
    dist.init_process_group("fake", rank=given.rank, world_size=given.processes, store=FakeStore())
    replaced = [
        (process_group, "init_device_mesh", with_real_tensors),
        (World, "gather", lambda world, value: [value] * world.size),
        (torch.random, "fork_rng", lambda *args, **kwargs: contextlib.nullcontext()),
        (simulate, "World", lambda *args: World(given.rank, given.processes, CUDA)),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, replacement in replaced:
            stack.enter_context(mock.patch.object(owner, name, replacement))
        reports = [simulate.simulate(name, "reference") for name in given.recipes]
    given.out.write_text(json.dumps(reports))


if __name__ == "__main__":
    main()
