"""A Trainer of Lightning, whose callback times its epochs.

paceline run lightning_trainer.py:train --target 0.9 data.name=digits
"""

import contextlib

import lightning
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from paceline import trial


class Laps(lightning.Callback):
    """Times every epoch as a lap `train`, every validation as a lap `evaluate`, and reports the accuracy."""

    def __init__(self, run: trial.Run) -> None:
        self.run, self.lap = run, contextlib.ExitStack()

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.lap.enter_context(self.run.lap("train", trainer.current_epoch + 1))

    def on_validation_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.lap.close()  # Lightning validates before its training epoch ends
        self.lap.enter_context(self.run.lap("evaluate", trainer.current_epoch + 1))

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.lap.close()
        self.run.evaluated(trainer.current_epoch + 1, accuracy=trainer.callback_metrics["accuracy"])


class Classifier(lightning.LightningModule):
    """A small network."""

    def __init__(self, pixels: int, classes: int, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 64), nn.ReLU(), nn.Linear(64, classes))

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        images, labels = batch
        self.log("accuracy", (self.network(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


def train(run: trial.Run, lr: float = 0.1, epochs: int = 6, batch_size: int = 64) -> float:
    """Lightning's Trainer."""
    with run.lap("load"):
        data = run.dataset()
        parts = ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
        train_set, test_set = (
            TensorDataset(torch.tensor(images).float() / 255, torch.tensor(labels)) for images, labels in parts
        )
    with run.lap("build"):
        module = Classifier(data.train_images[0].size, len(data.class_names), lr)
        trainer = lightning.Trainer(
            max_epochs=len(list(run.epochs(epochs))),
            accelerator="gpu" if run.device.type == "cuda" else "cpu",
            devices=1,
            callbacks=[Laps(run)],
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    trainer.fit(module, DataLoader(train_set, batch_size, shuffle=True), DataLoader(test_set, 500))
    return run.history[-1].accuracy
