"""What a recipe is and what it will cost, without training it."""

import torch
import yaml
from rich.console import Console
from rich.table import Table

from pipelines.data import sources, split
from pipelines.estimate import estimate
from pipelines.recipe import Recipe

GiB = 2**30


def show(console: Console, name: str, recipe: Recipe, device: torch.device) -> None:
    """Print the resolved recipe and its estimate. ValueError when recipe, data and device do not go together."""
    dataset = split.select(sources.blank(recipe.data.name), recipe.data)
    costs = estimate(recipe, dataset, device)
    console.print(f"# {name}, recipe hash {recipe.hash}", markup=False, highlight=False, soft_wrap=True)
    settings = recipe.model_dump(mode="json", exclude_none=True)
    console.print(yaml.safe_dump(settings, sort_keys=False), markup=False, highlight=False, soft_wrap=True)
    table = Table(show_header=False)
    for label, value in (
        ("parameters", f"{costs.parameters:,}"),
        ("forward pass", f"{costs.flops_per_image / 1e6:,.1f} MFLOP an image"),
        ("steps", f"{costs.steps:,}"),
        ("training", f"{costs.train_flops / 1e12:,.1f} TFLOP a trial"),
        ("memory: images", f"{costs.data_bytes / GiB:.2f} GiB"),
        ("memory: weights, gradients, optimizer", f"{costs.weight_bytes / GiB:.2f} GiB"),
        ("memory: one batch's activations", f"{costs.activation_bytes / GiB:.2f} GiB"),
        ("memory: together", f"{costs.memory_bytes / GiB:.2f} GiB, and what single operations need"),
    ):
        table.add_row(label, value)
    console.print(table)
