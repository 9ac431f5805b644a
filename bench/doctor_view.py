"""How an examination is shown: tables on the console, and pictures."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from bench.command_line import cli
from pipelines.doctor import Examination, Finding, Sweep
from pipelines.host.extras import require
from pipelines.host.torchvision_import import import_torchvision
from pipelines.recipe import Recipe
from results.tables import NOTHING, Table

COLUMNS = 10
"""images of each class in the picture"""


def show(console: Console, name: str, recipe: Recipe, examination: Examination, out: Path) -> None:
    """Print the verdicts, and write what the network is fed and the range test as pictures under `out`."""
    console.print(findings_table(name, examination.findings).rich())
    console.print(layers_table(examination).rich())
    out.mkdir(parents=True, exist_ok=True)
    stem = name.replace("/", "-")
    fed = out / f"{stem}-fed.png"
    picture = grid(examination.observed.images, examination.observed.labels)
    import_torchvision().utils.save_image(picture, fed)
    lines = [f"picture: {fed} (what the network is fed, a class a row)"]
    try:
        lines.append(f"picture: {draw_sweep(examination.sweep, recipe, out / f'{stem}-range.png')} (range test)")
    except ValueError as error:  # also for a missing extra
        lines.append(f"no picture of the range test: {error}")
    for line in lines:
        cli.print_line(console, line)


def findings_table(name: str, findings: Iterable[Finding], absent: Mapping[str, str] | None = None) -> Table:
    """One row a check. absent: why a check was not made."""
    found = [(finding.check, finding.verdict, finding.sentence) for finding in findings]
    found += [(check, NOTHING, f"not examined: {why}") for check, why in (absent or {}).items()]
    return Table(f"{name}: examination", ("check", "verdict", "what was seen"), tuple(found))


def layers_table(examination: Examination) -> Table:
    """One row a trained matrix or filter."""
    rows = tuple(
        (layer.name, f"{layer.gradient:.1e}", NOTHING if layer.update is None else f"{layer.update:.1e}")
        for layer in examination.layers
    )
    caption = "As shares of the weights' norm: the first gradient, and a step at the recipe's rate after a ramp."
    return Table("layer by layer", ("layer", "gradient", "update"), rows, caption)


def grid(images: Tensor, labels: Tensor) -> Tensor:
    """(3, height, width) from 0 to 1: images (N, C, height, width), a row for each class that is there. Three channels
    are colours, others a mean in grey."""
    images, labels = images.float().cpu(), labels.cpu()
    images = images if images.shape[1] == 3 else images.mean(1, keepdim=True)
    rows = []
    for number in labels.unique():
        row = images[labels == number][:COLUMNS]
        rows.append(torch.cat([row, row.new_full((COLUMNS - len(row), *row.shape[1:]), images.amin())]))
    return import_torchvision().utils.make_grid(torch.cat(rows), nrow=COLUMNS, normalize=True, padding=1)


def draw_sweep(sweep: Sweep, recipe: Recipe, path: Path) -> Path:
    """The loss over the learning rate. MissingExtraError without matplotlib. ValueError for a sweep without a loss."""
    if not sweep.losses:
        raise ValueError("the loss is NaN or infinite from the first step on")
    figure = require("matplotlib.figure", "report").Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(sweep.rates, sweep.losses)
    for label, rate, style in (("recipe", recipe.optimizer.lr, "-"), ("falls fastest", sweep.suggestion, "--")):
        if rate is not None:
            axes.axvline(rate, color="grey", linestyle=style, label=f"{label}: {rate:.2g}")
    axes.set_ylim(0, 1.5 * sweep.losses[0])
    axes.set(xlabel="optimizer.lr", ylabel="training loss", title="Learning-rate range test")
    axes.legend()
    figure.savefig(path)
    return path
