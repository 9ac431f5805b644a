"""What `--track` keeps of a trial for TensorBoard, beside the record: written when an epoch ends, outside every lap."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import yaml
from torch import Tensor

from pipelines.data.preprocess import preprocess
from pipelines.events import State
from pipelines.host.extras import require
from pipelines.losses import make_loss
from pipelines.scripts.function import EpochProgress
from pipelines.train import TrainingSetup

if TYPE_CHECKING:  # an extra
    from matplotlib.figure import Figure

SHOWN = 32
"""images in the grid"""


def check_packages() -> None:
    """MissingExtraError where the packages of tracking are not installed."""
    for module in ("tensorboard", "matplotlib"):
        require(module, "track")


def check(setup: TrainingSetup) -> None:
    """ValueError where tracking lacks what it needs: its packages (MissingExtraError), test images, or whole weights in
    one place."""
    check_packages()
    if not len(setup.dataset.test_images):
        raise ValueError(f"--track evaluates on test images, and {setup.dataset.name} has none: leave --track out")
    if not setup.strategy.has_whole_weights:
        raise ValueError(
            f"--track needs the whole network in one process, and under {setup.strategy.name} none has it: "
            "leave --track out, or set parallel.strategy=ddp"
        )


class Curves:
    """An observer that writes what a function of the user's own reports to `folder`/tensorboard/seed-<seed>."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def trial_start(self, progress: EpochProgress) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder / "tensorboard" / f"seed-{progress.seed}"))

    def epoch_end(self, progress: EpochProgress) -> None:
        result = progress.history[-1]
        curves = {
            "loss/training": result.train_loss,
            "accuracy/training": result.train_accuracy,
            "accuracy/evaluation": result.accuracy,
        }
        for name, value in curves.items():
            if value is not None:
                self._writer.add_scalar(name, value, result.epoch)

    def trial_end(self, progress: EpochProgress) -> None:
        self._writer.close()


class Tracker:
    """An observer that writes a trial's curves, pictures and settings to `folder`/tensorboard/seed-<seed>.

    It looks at the weights that are being trained (a technique may have others evaluated) and changes nothing: a
    tracked trial is the untracked one.
    """

    def __init__(self, setup: TrainingSetup, folder: Path) -> None:
        self._setup, self._folder = setup, folder
        images = preprocess(torch.from_numpy(setup.dataset.test_images), setup.dataset, setup.dtype)
        self._images = images.permute(0, 3, 1, 2)
        self._labels = torch.from_numpy(setup.dataset.test_labels)
        self._weights: dict[str, Tensor] = {}

    def epoch_end(self, state: State) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if state.epoch == 0:
            self._writer = SummaryWriter(str(self._folder / "tensorboard" / f"seed-{state.seed}"))
            self._weights = {}
        self._logits = self._evaluate(state)
        result = state.history[-1]
        # of the mean loss, whatever the recipe back-propagates, as the training loss of the history is
        loss = make_loss(state.recipe.loss.model_copy(update={"reduction": "mean"}))
        curves = {
            "loss/training": result.train_loss,
            "loss/evaluation": loss(self._logits, self._labels).item(),
            "accuracy/training": result.train_accuracy,
            "accuracy/evaluation": result.accuracy,
            "accuracy/evaluation, one view": result.accuracy_plain,
        }
        groups = [group for optimizer in state.optimizer.optimizers for group in optimizer.param_groups]
        for number, group in enumerate(groups):  # as the optimizer has it: of the summed loss, if that is trained on
            curves[f"learning rate/{number} {group['role']}"] = group["lr"]
        curves |= {f"update of the epoch/{name}": share for name, share in self._updates(state).items()}
        for name, value in curves.items():
            if value is not None:
                self._writer.add_scalar(name, value, result.epoch)

    def trial_end(self, state: State) -> None:
        epoch, recipe = state.history[-1].epoch, state.recipe
        self._writer.add_figure("images and predictions", self._draw_images(), epoch)
        self._writer.add_figure("confusion matrix", self._draw_confusion(), epoch)
        settings = recipe.model_dump(mode="json", exclude_none=True)
        text = yaml.safe_dump(settings, sort_keys=False)
        self._writer.add_text("recipe", "".join(f"    {line}\n" for line in text.splitlines()), epoch)
        accuracy = state.history[-1].accuracy
        metrics = {"accuracy": float("nan") if accuracy is None else accuracy}
        self._writer.add_hparams(flat(settings), metrics, run_name=".", global_step=epoch)
        self._writer.close()
        state.notes["tracked"] = True

    @torch.no_grad()
    def _evaluate(self, state: State) -> Tensor:
        """(N, classes) logits of the evaluation images, on the host. The network itself is called, because a replicated
        one would wait for the other processes."""
        device = self._setup.world.device
        network: Callable[[Tensor], Tensor] = state.network
        state.network.eval()
        with torch.autocast(device.type, torch.bfloat16, enabled=state.recipe.precision == "autocast"):
            batches = self._images.split(state.recipe.evaluation.batch_size)
            logits = torch.cat([network(batch.to(device)).float().cpu() for batch in batches])
        state.network.train()
        return logits

    def _updates(self, state: State) -> dict[str, float]:
        """How far each matrix and filter went in this epoch, as a share of its norm; empty for the first epoch, before
        which nothing could be copied outside the clock."""
        floating = [name for name, tensor in state.network.state_dict().items() if tensor.is_floating_point()]
        full = dict(zip(floating, state.optimizer.master_tensors(state.network), strict=True))
        trained = [name for name, weights in state.network.named_parameters() if weights.ndim > 1]
        before, self._weights = self._weights, {name: full[name].detach().clone() for name in trained}
        return {name: ((self._weights[name] - old).norm() / old.norm()).item() for name, old in before.items()}

    def _draw_images(self) -> "Figure":
        from matplotlib.figure import Figure

        figure = Figure(figsize=(12, 7), layout="constrained")
        names = self._setup.dataset.class_names
        predicted = self._logits.argmax(1)
        images = self._setup.dataset.test_images[:SHOWN]
        for number, (axes, image) in enumerate(zip(figure.subplots(4, 8).flat, images, strict=False)):
            right = predicted[number] == self._labels[number]
            axes.imshow(drawable(image), cmap="gray")
            title = names[predicted[number]] + ("" if right else f", not {names[self._labels[number]]}")
            axes.set_title(title, fontsize=8, color="black" if right else "red")
            axes.set_axis_off()
        return figure

    def _draw_confusion(self) -> "Figure":
        from matplotlib.figure import Figure
        from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

        figure = Figure(figsize=(7, 6), layout="constrained")
        names = self._setup.dataset.class_names
        matrix = confusion_matrix(self._labels, self._logits.argmax(1), labels=range(len(names)))
        ConfusionMatrixDisplay(matrix, display_labels=names).plot(ax=figure.subplots(), xticks_rotation="vertical")
        return figure


def drawable(image: np.ndarray) -> np.ndarray:
    """An image (height, width, channels) as matplotlib takes it: three channels are colours, others a mean in grey."""
    return image if image.shape[2] == 3 else image.mean(2)


def flat(settings: dict, prefix: str = "") -> dict[str, bool | int | float | str]:
    """A tree of settings as dotted keys; lists as texts."""
    found: dict[str, bool | int | float | str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
