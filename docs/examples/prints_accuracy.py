"""A file that parses its command line and prints its accuracy, as pytorch/examples' mnist, and its adapter.

paceline run prints_accuracy.py:timed epochs=6 --target 0.85
"""

import argparse
import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from paceline import trial


def train(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """One epoch."""
    for batch in torch.randperm(1437).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()


@torch.no_grad()
def test(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Print the accuracy."""
    correct = (model(images[1437:]).argmax(1) == labels[1437:]).sum().item()
    print(f"Test set: Accuracy: {correct}/360 ({100 * correct / 360:.1f}%)")


def main() -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
    images = images.float() / 16
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    for _ in range(args.epochs):
        train(model, optimizer, images, labels)
        test(model, images, labels)


# --- the adapter: `peer` is the file above, which `import peer` gives where it is another one ----------------------

peer = sys.modules[__name__]


def timed(run: trial.Run, epochs: int = 10) -> None:
    """Calls of `train` and `test` are laps, and what `test` prints is reported."""
    sys.argv += ["--seed", str(run.seed), "--epochs", str(epochs)]
    with (
        trial.timed(run, peer, train="train", test="evaluate"),
        trial.printed(run, r"\((?P<accuracy_percent>[\d.]+)%\)"),
    ):
        peer.main()
