"""A loop of Accelerate, in one process or several.

accelerate launch -m paceline run accelerate_loop.py:train --target 0.9 data.name=digits
"""

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from paceline import trial


def train(run: trial.Run, lr: float = 0.1, epochs: int = 6, batch_size: int = 64) -> float:
    """An Accelerate loop."""
    with run.lap("load"):
        data = run.dataset()
        parts = ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
        train_set, test_set = (
            TensorDataset(torch.tensor(images).float() / 255, torch.tensor(labels)) for images, labels in parts
        )
    with run.lap("build"):
        accelerator = Accelerator(cpu=run.device.type == "cpu")  # finds the process group that Paceline has made
        model = nn.Sequential(
            nn.Flatten(),
            nn.Linear(data.train_images[0].size, 64),
            nn.ReLU(),
            nn.Linear(64, len(data.class_names)),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        model, optimizer, train_loader, test_loader = accelerator.prepare(
            model, optimizer, DataLoader(train_set, batch_size, shuffle=True), DataLoader(test_set, 500)
        )

    accuracy = 0.0
    for epoch in run.epochs(epochs):
        with run.lap("train", epoch):
            model.train()
            for images, labels in train_loader:
                optimizer.zero_grad()
                accelerator.backward(F.cross_entropy(model(images), labels))
                optimizer.step()
        with run.lap("evaluate", epoch), torch.no_grad():
            model.eval()
            correct = []
            for images, labels in test_loader:
                predicted, truth = accelerator.gather_for_metrics((model(images).argmax(1), labels))
                correct.append(predicted == truth)
        accuracy = torch.cat(correct).float().mean().item()
        run.evaluated(epoch, accuracy=accuracy)
    accelerator.free_memory()
    return accuracy
