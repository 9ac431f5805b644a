"""What the loaders share whose images stay in host memory until their batch comes."""

import torch
from torch import Tensor

from pipelines.data import augment
from pipelines.data.loader import LoaderContext
from pipelines.data.order import EpochOrder
from pipelines.data.preprocess import preprocess, to_device


class HostLoader:
    """The order of the epochs, the choices of the augmentation, and the plain images."""

    def __init__(self, context: LoaderContext) -> None:
        self._context = context
        self._order_generator = torch.Generator().manual_seed(context.order_seed)
        self._augment_generator = torch.Generator().manual_seed(context.augment_seed)
        count = len(context.dataset.train_labels)
        self._flip_first = torch.randint(2, (count,), generator=self._order_generator).bool()

    def transfer(self) -> None:
        """Nothing: the images stay in host memory."""

    def plain(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` training images (None: all), neither padded nor augmented, and their labels."""
        dataset, device = self._context.dataset, self._context.world.device
        images, labels = to_device(dataset.train_images[:count], dataset.train_labels[:count], device)
        return preprocess(images, dataset, self._context.dtype), labels

    def _order(self) -> EpochOrder:
        """The next epoch."""
        weights = self._context.weights(torch.as_tensor(self._context.dataset.train_labels))
        return self._context.epoch_order(len(self._flip_first), self._order_generator, weights)

    def _choices(self, order: EpochOrder, epoch: int) -> augment.Choices:
        """What to do with each image of this process in an epoch, drawn in a few bulk calls."""
        recipe, size = self._context.recipe, self._context.dataset.image_shape[1:]
        return augment.draw_share(recipe, order, size, self._augment_generator, self._flip_first, epoch)
