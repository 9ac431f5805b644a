"""What the networks for images have in common: they can be called in two parts."""

from torch import Tensor, nn

from pipelines.models import chain
from pipelines.models.layers import PatchWhitening, scaled


class Classifier(nn.Module):
    """(N, channels, height, width) images to (N, classes) logits, by way of the features that the last layer gets.

    A subclass has `layers`, from images to features, and `head`, from features to logits. Where more belongs to one of
    the two, it overrides `features` or `logits`. Techniques that need the features call these two, so that they train
    the same network as the others.
    """

    layers: nn.Module
    head: nn.Linear

    def features(self, images: Tensor) -> Tensor:
        """(N, features), what the last layer gets."""
        return self.layers(images)

    def logits(self, features: Tensor) -> Tensor:
        """(N, classes), from the features."""
        return self.head(features)

    def features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both, from one forward pass."""
        features = self.features(images)
        return features, self.logits(features)

    def forward(self, images: Tensor, train_features: bool = True) -> Tensor:
        """train_features: whether a gradient goes into the features; an argument, which a compiled network sees."""
        features = self.features(images)
        return self.logits(features if train_features else features.detach())


class StagedClassifier(Classifier):
    """Stages behind an input dropout and a whitening layer, which run as blocks where those are faster."""

    input_dropout: nn.Module | None
    whiten: PatchWhitening | None
    layers: nn.Sequential
    logit_scale: float

    def features(self, images: Tensor, train_whitening_bias: bool = True, frozen_stages: int = 0) -> Tensor:
        """frozen_stages: so many of the stages, and what is before them, get no gradient."""
        if self.input_dropout:
            images = self.input_dropout(images)
        return chain.run(self.whiten, self.layers, images, train_whitening_bias, frozen_stages)

    def logits(self, features: Tensor) -> Tensor:
        return scaled(self.head(features), self.logit_scale)

    def forward(self, images: Tensor, train_whitening_bias: bool = True, frozen_stages: int = 0) -> Tensor:
        return self.logits(self.features(images, train_whitening_bias, frozen_stages))
