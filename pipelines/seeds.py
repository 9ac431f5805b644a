"""Seeds that follow from the trial's, for what must draw differently."""

import numpy as np


def seed_of_rank(seed: int, rank: int) -> int:
    """A seed of its own for each data-parallel process and trial, for what must differ between them."""
    return int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])


def seed_of_member(seed: int, member: int) -> int:
    """A seed of its own for each network of a trial but the first (0), which has the trial's."""
    return int(np.random.SeedSequence(seed, spawn_key=(member,)).generate_state(1)[0])
