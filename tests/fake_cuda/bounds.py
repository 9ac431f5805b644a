"""Kernels that a training step may launch at most, by recipe: eager, with `kernels: auto`."""

LAUNCHES = {
    "cifar10/airbench94": 65,
    "cifar10/airbench94-muon": 150,
    "cifar10/davidnet-10": 90,
    "cifar10/e1": 150,
    "cifar10/hiverge": 150,
    "cifar10/ladder/00-resnet18": 170,
    "mnist/base": 30,
}
