"""What the networks for images have in common: they can be called in two parts."""

from torch import Tensor, nn


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
