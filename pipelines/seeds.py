"""Seeds that follow from the trial's, for what must draw differently, and draws that change nothing for others."""

from contextlib import AbstractContextManager

import numpy as np
import torch


def seed_of_rank(seed: int, rank: int) -> int:
    """A seed of its own for each data-parallel process and trial, for what must differ between them."""
    return int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])


def seed_of_member(seed: int, member: int) -> int:
    """A seed of its own for each network of a trial but the first (0), which has the trial's."""
    return int(np.random.SeedSequence(seed, spawn_key=(member,)).generate_state(1)[0])


def kept_generators(device: torch.device) -> AbstractContextManager[None]:
    """After the block torch's global generators, of the host and of this device, are as they were before it."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])
