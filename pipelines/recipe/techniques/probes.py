"""Measurements that change nothing."""

from typing import Annotated

from pydantic import Field

from pipelines.recipe.techniques.technique import Technique


class LoaderCosts(Technique):
    """Note in the record how fast the loader is alone, how long the training waited for its batches, and how much CPU
    time the training took, other processes of the loader included. After the last epoch it draws one more, without
    training on it, outside every lap but `total`."""

    package = "pipelines.probes"
    weight_access = "none"


class LayerScales(Technique):
    """Note in the record how large activations and gradients are in each layer before the first step."""

    package = "pipelines.probes"

    images: Annotated[int, Field(ge=1)] = 256
    """labelled images in the batch that is measured"""
