"""What the loaders share whose images stay in host memory until their batch comes."""

import torch
from torch import Tensor

from pipelines.data import augment
from pipelines.data.loaders import LoaderContext
from pipelines.data.order import shuffled_batches
from pipelines.data.resident import preprocess


class HostLoader:
    """The order of the epochs, the choices of the augmentation, and the plain images."""

    def __init__(self, setting: LoaderContext) -> None:
        self._setting = setting
        self._order_generator = torch.Generator().manual_seed(setting.order_seed)
        self._augment_generator = torch.Generator().manual_seed(setting.augment_seed)
        count = len(setting.dataset.train_labels)
        self._flip_first = torch.randint(2, (count,), generator=self._order_generator).bool()

    def transfer(self) -> None:
        """Nothing: the images stay in host memory."""

    def plain(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` training images (None: all), neither padded nor augmented, and their labels."""
        dataset, device = self._setting.dataset, self._setting.world.device
        images = torch.from_numpy(dataset.train_images[:count]).to(device)
        labels = torch.from_numpy(dataset.train_labels[:count]).to(device)
        return preprocess(images, dataset, self._setting.dtype), labels

    def _order(self) -> list[Tensor]:
        """Indices of this process's images of each batch of the next epoch."""
        setting, recipe = self._setting, self._setting.recipe
        return shuffled_batches(
            len(self._flip_first),
            recipe.batch_size,
            self._order_generator,
            drop_last=recipe.drop_last,
            rank=setting.world.rank,
            world_size=setting.world.size,
            weights=setting.weights(torch.as_tensor(setting.dataset.train_labels)),
        )

    def _choices(self, order: Tensor, epoch: int) -> augment.Choices:
        """What to do with each image of an epoch, drawn in a few bulk calls."""
        size = self._setting.dataset.image_shape[1:]
        knobs = self._setting.recipe.augment
        return augment.draw(knobs, len(order), size, self._augment_generator, self._flip_first[order], epoch)
