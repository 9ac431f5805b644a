"""A small network of each kind, and images that it takes."""

import torch

from pipelines import models
from pipelines.recipe import networks

SMALL = {
    "convnet": networks.ConvNet(name="convnet", widths=(4, 6), kernel_size=3),
    "davidnet": networks.DavidNet(name="davidnet", widths=(4, 4, 6, 8), whitening=networks.Whitening()),
    "resnet18": networks.ResNet18(name="resnet18", widths=(4, 5, 6, 6)),
    "alexnet": networks.AlexNet(name="alexnet", widths=(4, 6, 8, 8, 4), hidden=12, kernel_size=5, stride=1),
    "wide_resnet": networks.WideResNet(name="wide_resnet", depth=10, factor=1),
    "airnet": networks.AirNet(name="airnet", widths=(4, 6, 8), depth=3),
}
DROPOUT = networks.Dropout(input=0.1, blocks=0.2, head=0.5)


def build(name, **changes):
    """The network with these config, for 3 x 32 x 32 images and 10 classes; the same weights each time."""
    torch.manual_seed(0)
    return models.build_network(SMALL[name].model_copy(update=changes), (3, 32, 32), 10)


def images(count=4, seed=0):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def everything(name):
    """All that is random in training, switched on."""
    config = {
        "dropout": DROPOUT,
        "drop_connect": 0.5,
        "stochastic_depth": 0.5,
        "pool": networks.Pool(name="fractional"),
    }
    return {option: value for option, value in config.items() if hasattr(SMALL[name], option)}
