"""A plain PyTorch loop, as in the MNIST example of pytorch/examples.

paceline run plain_pytorch.py:train --target 0.9 data.name=digits
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from paceline import trial


def train(run: trial.Run, lr: float = 0.1, epochs: int = 6, batch_size: int = 64) -> float:
    """A small network in a plain PyTorch loop."""
    with run.lap("load"):
        data = run.dataset()
        train_set, test_set = (
            TensorDataset(torch.tensor(images).permute(0, 3, 1, 2) / 255, torch.tensor(labels))
            for images, labels in (
                (data.train_images, data.train_labels),
                (data.test_images, data.test_labels),
            )
        )
    with run.lap("build"):
        channels, height, width = data.image_shape
        model = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * height * width, len(data.class_names)),
        ).to(run.device)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        train_loader = DataLoader(train_set, batch_size, shuffle=True)
        test_loader = DataLoader(test_set, 1000)

    accuracy = 0.0
    for epoch in run.epochs(epochs):
        with run.lap("train", epoch):
            model.train()
            losses = []
            for images, labels in train_loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images.to(run.device)), labels.to(run.device))
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        with run.lap("evaluate", epoch), torch.no_grad():
            model.eval()
            correct = [model(images.to(run.device)).argmax(1).cpu() == labels for images, labels in test_loader]
        accuracy = torch.cat(correct).float().mean().item()
        run.evaluated(epoch, accuracy=accuracy, loss=torch.stack(losses).mean())
        run.samples += len(train_set)
    return accuracy


def warm_up(run: trial.Run, lr: float, epochs: int, batch_size: int) -> None:
    """Called once per process, before the first trial, which would take a second longer: torch imports much late."""
    train(run, lr, 1, batch_size)
