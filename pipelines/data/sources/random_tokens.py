"""Random sequences of tokens, for measurements of throughput (`data.name: made-up-tokens`)."""

import numpy as np

from pipelines.data.dataset import Dataset, labelled
from pipelines.recipe.training import MADE_UP_TOKENS, MadeUpTokens


def make(config: MadeUpTokens) -> Dataset:
    """Uniform tokens, always the same."""
    return _dataset(config, np.random.default_rng(0).integers(config.vocabulary, size=_shape(config)))


def blank(config: MadeUpTokens) -> Dataset:
    """As `make`, all tokens 0, so that they take no memory."""
    return _dataset(config, np.broadcast_to(np.int64(0), _shape(config)))


def _shape(config: MadeUpTokens) -> tuple[int, int]:
    return config.sequences, config.length + 1


def _dataset(config: MadeUpTokens, tokens: np.ndarray) -> Dataset:
    """The target of a token is the next one. The test set is empty."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    names = tuple(map(str, range(config.vocabulary)))
    return labelled(MADE_UP_TOKENS, (inputs, targets), (inputs[:0], targets[:0]), names, mean=(), std=())
