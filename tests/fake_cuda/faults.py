"""Trials with a mistake in them, each of which a recorder must find: python -m tests.fake_cuda.faults OUT.json"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fake_cuda import device

if __name__ == "__main__":
    device.pretend(device.build())

import torch

from pipelines.events import State
from tests.fake_cuda.simulate import simulate


class At:
    """An observer that does something at one event."""

    def __init__(self, event: str, action: Callable[[State], object]) -> None:
        setattr(self, event, action)


def half_the_head(state: State) -> None:
    state.network.head.half()


def mixed_list(state: State) -> None:
    tensors = [torch.zeros(3, device=state.images.device, dtype=dtype) for dtype in (torch.float32, torch.float16)]
    torch._foreach_mul_(tensors, 2)


ACTIONS = {
    "nothing": lambda state: None,
    "device": lambda state: state.labels + torch.ones(len(state.labels)),
    "read": lambda state: state.images.mean().item(),
    "list": lambda state: state.labels.tolist(),
    "mask": lambda state: state.images[state.labels > 3],
    "synchronize": lambda state: torch.cuda.synchronize(),
    "to the device": lambda state: torch.ones(3).to(state.images.device),
    "unpinned": lambda state: torch.ones(3).to(state.images.device, non_blocking=True),
    "pinned": lambda state: torch.ones(3).pin_memory().to(state.images.device, non_blocking=True),
    "layout": lambda state: state.network.layers[3].weight.clone().contiguous(),
    "dtypes of a list": mixed_list,
}
"""before each step of the optimizer"""
FAULTS = {name: At("gradients_ready", action) for name, action in ACTIONS.items()}
FAULTS["dtype"] = At("trial_start", half_the_head)


def main(out: str) -> None:
    found = {}
    for name, observer in FAULTS.items():
        report = simulate("digits/quick", "auto", observer)
        found[name] = {
            "findings": [[f["kind"], f["where"]] for f in report["findings"] if f["lap"] == "train"],
            "wrong_dtypes": report["wrong_dtypes"],
            "error": report["error"],
            "launches": report["launches"][1],
        }
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
