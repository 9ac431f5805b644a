"""The loader of tokens: all sequences and their targets lie on the training device."""

import torch

from pipelines.data.loader import Batches, LoaderContext
from pipelines.data.preprocess import to_device
from pipelines.data.resident import Epoch


class TokenLoader:
    """Serves epochs of sequences, each in an order drawn anew that is equal on all processes."""

    def __init__(self, context: LoaderContext) -> None:
        self._context = context

    def transfer(self) -> None:
        dataset = self._context.dataset
        self._tokens, self._targets = to_device(dataset.train_images, dataset.train_labels, self._context.world.device)

    def preprocess(self) -> None:
        """Tokens need no preprocessing."""
        self._generator = torch.Generator(self._tokens.device).manual_seed(self._context.order_seed)

    def plain(self, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        return self._tokens[:count], self._targets[:count]

    def epoch(self, epoch: int) -> Batches:
        order = self._context.epoch_order(len(self._tokens), self._generator)
        indices = torch.cat(order.batches)
        return Epoch(self._tokens[indices], self._targets[indices], order.batches)

    def close(self) -> None:
        """Nothing runs beside the training."""
