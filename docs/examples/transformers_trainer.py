"""A Trainer of Hugging Face transformers, whose callback times its epochs.

paceline run transformers_trainer.py:train --target 0.9 data.name=digits
"""

import contextlib
import tempfile
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import EvalPrediction, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from paceline import trial


class Laps(TrainerCallback):
    """Times every epoch as a lap `train`, every evaluation as a lap `evaluate`, and reports the accuracy."""

    def __init__(self, run: trial.Run) -> None:
        self.run, self.epoch, self.lap = run, 0, contextlib.ExitStack()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        self.epoch += 1
        self.lap.enter_context(self.run.lap("train", self.epoch))

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        self.lap.close()
        self.lap.enter_context(self.run.lap("evaluate", self.epoch))  # which comes next

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        self.lap.close()
        self.run.evaluated(self.epoch, accuracy=more["metrics"]["eval_accuracy"])


class Classifier(nn.Module):
    """A small network that returns its loss, as the Trainer wants it."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 64), nn.ReLU(), nn.Linear(64, classes))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.network(images)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def accuracy_of(prediction: EvalPrediction) -> dict[str, float]:
    """Of the logits."""
    return {"accuracy": float(np.mean(prediction.predictions.argmax(1) == prediction.label_ids))}


def train(run: trial.Run, lr: float = 0.1, epochs: int = 6, batch_size: int = 64) -> float:
    """Hugging Face's Trainer."""
    with run.lap("load"):
        data = run.dataset()
        parts = ((data.train_images, data.train_labels), (data.test_images, data.test_labels))
        train_set, test_set = (
            [
                {"images": image, "labels": label}
                for image, label in zip(torch.tensor(images).float() / 255, labels.tolist(), strict=True)
            ]
            for images, labels in parts
        )
    with run.lap("build"), tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            Classifier(data.train_images[0].size, len(data.class_names)),
            TrainingArguments(
                folder,
                num_train_epochs=len(list(run.epochs(epochs))),
                per_device_train_batch_size=batch_size,
                per_device_eval_batch_size=500,
                learning_rate=lr,
                optim="sgd",
                optim_args="momentum=0.9",
                eval_strategy="epoch",
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=run.device.type == "cpu",
                seed=run.seed,
            ),
            train_dataset=train_set,
            eval_dataset=test_set,
            compute_metrics=accuracy_of,
            callbacks=[Laps(run)],
        )
    trainer.train()
    return run.history[-1].accuracy
