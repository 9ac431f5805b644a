"""Kernels that a training step may launch at most: eager, with `kernels: auto`."""

EXTRA = 10
"""more than in most steps of the recipe: where an average is updated, or filters are renormalised"""
LAUNCHES = {
    "cifar10/airbench94": 65,
    "cifar10/airbench94-muon": 150,
    "cifar10/davidnet-10": 90,
    "cifar10/e1": 150,
    "cifar10/hiverge": 150,
    "cifar10/ladder/00-resnet18": 170,
    "mnist/base": 30,
}
"""by recipe, in most steps"""
