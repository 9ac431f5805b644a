"""The networks. The network `name` is built by `pipelines/models/<name>.py`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pipelines.recipe.config import Config

Channels = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Depth = Literal[2, 3]


class Norm(Config):
    """Batch normalisation (Ioffe & Szegedy 2015)."""

    group_size: Annotated[int, Field(ge=2)] | None = None
    """images that are normalised together (ghost batch norm, Hoffer et al. 2017); null: the whole batch. Each of
    several processes normalises its own share of the batch. Its groups are those of a single process where the size
    divides that share, with `accumulation` that of a micro-batch"""
    scale: bool = True
    """learn the scale of each channel; false: it stays 1"""
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """share of the newest batch in the running statistics"""
    eps: Annotated[float, Field(gt=0)] = 1e-5
    """added to the variance"""
    half: bool = False
    """under `precision: half`, keep scales, biases and statistics in half precision too, as the DAWNBench entry of
    April 2018 did; false: they are float32"""

    sync: bool = False
    """normalise with the mean and variance over the images of all processes (SyncBN); false: each with its own"""

    @model_validator(mode="after")
    def _goes_together(self) -> "Norm":
        if self.half and (self.sync or self.group_size is not None):
            raise ValueError("half=true cannot be combined with a group_size or sync=true; set half=false")
        if self.sync and self.group_size is not None:
            raise ValueError("norm.sync=true makes one group of all images: set norm.group_size=null")
        return self


class Activation(Config):
    """The non-linearity."""

    name: Literal["relu", "celu", "gelu", "silu", "elu", "leaky_relu", "mish", "tanh", "sigmoid"] = "relu"
    """the function"""
    alpha: Annotated[float, Field(gt=0)] = 1.0
    """scale of CELU and ELU: the negative side tends to -alpha"""
    slope: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """factor of leaky ReLU on the negative side"""

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Activation":
        for option, names in (("alpha", ("celu", "elu")), ("slope", ("leaky_relu",))):
            value = getattr(self, option)
            if self.name not in names and value != type(self).model_fields[option].default:
                raise ValueError(f"{option}={value} does nothing for {self.name}: it is for {' and '.join(names)}")
        return self


class Dropout(Config):
    """In training, set each value to zero with this probability and scale the others up (Srivastava et al. 2014)."""

    input: Rate = 0.0
    """of the pixels, before the first layer"""
    blocks: Rate = 0.0
    """of what each block, stage or convolution with its pooling puts out"""
    head: Rate = 0.0
    """of the features that the last layer gets"""


class Pool(Config):
    """The pooling between the layers; what is left of the image before the head is max-pooled whatever this says."""

    name: Literal["max", "average", "fractional"] = "max"
    """over 2x2 pixels, side by side (max, average); or the maximum over overlapping 2x2 pixels at places drawn for each
    image and channel, in evaluation at even distances (Graham 2014)"""
    ratio: Annotated[float, Field(gt=0.5, lt=1)] = 0.7071
    """side of the image after fractional pooling over that before; the others halve it"""

    @model_validator(mode="after")
    def _halves_unless_fractional(self) -> "Pool":
        if self.halves and self.ratio != type(self).model_fields["ratio"].default:
            raise ValueError(f"ratio={self.ratio} does nothing for {self.name}: it is for fractional")
        return self

    @property
    def halves(self) -> bool:
        """Whether half of the side is left."""
        return self.name != "fractional"


class Whitening(Config):
    """A frozen first layer that decorrelates the pixels of a patch (post 8 of "How to train your ResNet")."""

    images: Annotated[int, Field(ge=1)] = 10_000
    """training images, unpadded, whose patches give the covariance"""
    eps: Annotated[float, Field(gt=0)] = 1e-2
    """added to the eigenvalues of the covariance"""
    kernel_size: Annotated[int, Field(ge=2)] = 3
    """side of a patch in pixels"""
    padding: Annotated[int, Field(ge=0)] = 1
    """zeros around the image, in pixels"""
    both_signs: bool = False
    """a second output for each, with the opposite sign, so that an activation after it loses nothing (airbench)"""
    centred: bool = True
    """whiten by the covariance of the patches (hlb-CIFAR10); false: by their second moments about zero (cifar10-fast,
    airbench)"""
    bias: bool = False
    """a bias after the whitening, which is trained; see `techniques.whitening_bias` for how long"""
    bias_init: Literal["uniform", "zeros"] = "uniform"
    """where that bias starts: torch's uniform distribution (airbench94_muon), or zero (airbench94, 95 and 96)"""

    @model_validator(mode="after")
    def _has_the_bias_that_starts(self) -> "Whitening":
        if self.bias_init != "uniform" and not self.bias:
            raise ValueError(f"bias_init={self.bias_init} does nothing without a bias: set bias=true")
        return self


class Regularized(Config):
    """What every network has."""

    stages: ClassVar[int] = 0
    """stages that `techniques.freeze_out` can freeze"""

    name: str
    """the network"""
    dropout: Dropout = Dropout()
    """dropout rates, by place"""
    drop_connect: Rate = 0.0
    """in training, set this share of the last layer's weights to zero, drawn anew for each batch, and scale the others
    up (Wan et al. 2013)"""


class DavidNet(Regularized):
    """The nine-layer residual network of David Page's "How to train your ResNet" (2018-2019)."""

    stages = 6

    name: Literal["davidnet"]
    """the network"""
    widths: tuple[Channels, Channels, Channels, Channels] = (64, 128, 256, 512)
    """channels after the first layer and after each of the three stages"""
    pool: Pool = Pool()
    """the pooling of the three stages"""
    pool_before_norm: bool = False
    """pool right after the convolution, so that norm and activation touch a quarter of the pixels"""
    norm: Norm = Norm()
    """the norm after every convolution"""
    activation: Activation = Activation()
    """the activation after every norm"""
    whitening: Whitening | None = None
    """whiten 3x3 patches with a frozen layer, then mix them with a 1x1 convolution; null: a plain 3x3 convolution"""
    stochastic_depth: Rate = 0.0
    """in training, leave out the last residual branch for this share of the images, and the one before for half of it
    (Huang et al. 2016)"""
    logit_scale: Annotated[float, Field(gt=0)] = 0.125
    """factor on the logits"""


class AirNet(Regularized):
    """The network of airbench94, 95 and 96 (Jordan 2024)."""

    stages = 3

    name: Literal["airnet"]
    """the network"""
    widths: tuple[Channels, Channels, Channels] = (64, 256, 256)
    """channels of the three stages"""
    depth: Depth | tuple[Depth, Depth, Depth] = 2
    """convolutions a stage, for all three or for each"""
    residual_depth: Depth = 3
    """stages of at least so many convolutions have a residual connection around all but the first"""
    norm: Norm = Norm()
    """the norm after every convolution"""
    activation: Activation = Activation(name="gelu")
    """the activation after every norm"""
    first_activation: Activation | None = None
    """the activation after the first layer; null: as everywhere"""
    whitening: Whitening | None = None
    """whiten 2x2 patches with a frozen first layer; null: a trained 2x2 convolution with 24 channels"""
    pool: Pool = Pool()
    """the pooling of the three stages"""
    global_pool: bool = False
    """max-pool over the rest of the image, so that smaller images pass too; false: over 3x3 pixels"""
    mean_features: bool = False
    """the last layer also gets the mean of each channel beside its maximum; needs global_pool"""
    stochastic_depth: Rate = 0.0
    """in training, leave out the residual branch of the last stage for this share of the images, those of the first two
    for a third and two thirds of it (Huang et al. 2016); needs residual connections in all stages"""
    logit_scale: Annotated[float, Field(gt=0)] = 1 / 9
    """factor on the logits"""

    @model_validator(mode="after")
    def _has_branches_to_drop(self) -> "AirNet":
        if self.stochastic_depth and min(self.depths) < self.residual_depth:
            raise ValueError("stochastic_depth needs residual branches in every stage: set depth=3 or residual_depth=2")
        return self

    @model_validator(mode="after")
    def _takes_the_mean_of_all_pixels(self) -> "AirNet":
        if self.mean_features and not self.global_pool:
            raise ValueError("mean_features needs global_pool: true")
        return self

    @property
    def depths(self) -> tuple[int, int, int]:
        """Convolutions of each stage."""
        return (self.depth,) * 3 if isinstance(self.depth, int) else self.depth


class ResNet18(Regularized):
    """The pre-activation ResNet-18 of Ben Johnson's DAWNBench entry (2018)."""

    name: Literal["resnet18"]
    """the network"""
    widths: tuple[Channels, Channels, Channels, Channels] = (64, 128, 256, 256)
    """channels of the four stages; all but the first halve height and width"""
    duplicate_norm: bool = False
    """norm and activation after the first convolution, although the first block begins with them as well"""
    norm: Norm = Norm()
    """the norm before every convolution but the first"""
    activation: Activation = Activation()
    """the activation after every norm"""
    stochastic_depth: Rate = 0.0
    """in training, leave out the last of the eight residual branches for this share of the images, and the n-th for n
    eighths of it (Huang et al. 2016)"""


class WideResNet(Regularized):
    """The wide residual networks of Zagoruyko and Komodakis (2016, arXiv 1605.07146): WRN-depth-factor."""

    name: Literal["wide_resnet"]
    """the network"""
    depth: Annotated[int, Field(ge=10)] = 16
    """convolutions, and the shortcuts' own where a group begins: 6n + 4 for n blocks in each of the three groups"""
    factor: Annotated[int, Field(ge=1)] = 8
    """how many times 16, 32 and 64 channels the groups have"""
    norm: Norm = Norm()
    """the norm before every convolution but the first"""
    activation: Activation = Activation()
    """the activation after every norm"""
    stochastic_depth: Rate = 0.0
    """in training, leave out the last of the residual branches for this share of the images, and the n-th of N for n/N
    of it (Huang et al. 2016)"""

    @model_validator(mode="after")
    def _has_whole_blocks(self) -> "WideResNet":
        if (self.depth - 4) % 6:
            depth = max(10, 6 * round((self.depth - 4) / 6) + 4)
            raise ValueError(f"depth={self.depth} is not 6n + 4: set depth={depth}")
        return self


EvenChannels = Annotated[int, Field(ge=2, multiple_of=2)]


class AlexNet(Regularized):
    """AlexNet (Krizhevsky et al. 2012) in its two columns: half of the channels of each layer. Layers 2, 4 and 5 see
    their own column alone."""

    name: Literal["alexnet"]
    """the network"""
    widths: tuple[EvenChannels, EvenChannels, EvenChannels, EvenChannels, EvenChannels] = (96, 256, 384, 384, 256)
    """channels after each convolution, of both columns"""
    hidden: EvenChannels = 4096
    """features of the two hidden linear layers, of both columns"""
    kernel_size: Side = 11
    """side of the first convolution's kernel in pixels; 5 for images of 32 x 32"""
    stride: Annotated[int, Field(ge=1)] = 4
    """pixels from one place of that kernel to the next; 1 for images of 32 x 32"""
    activation: Activation = Activation()
    """the activation after every layer but the last"""


class ConvNet(Regularized):
    """Convolutions, each with activation and pooling, and one or two linear layers: the baseline of the MNIST
    tutorials."""

    name: Literal["convnet"]
    """the network"""
    widths: Annotated[tuple[Channels, ...], Field(min_length=1)] = (16, 32)
    """channels after each convolution"""
    kernel_size: Side | tuple[Side, ...] = 5
    """side of the convolutions' kernels in pixels: of all of them, or one for each"""
    padding: Literal["same", "valid"] = "same"
    """zeros around the image that keep its size, or none"""
    pool_after: Literal["each", "last"] = "each"
    """convolution that pooling follows"""
    hidden: Channels | None = None
    """features after a linear layer and activation before the last layer; null: none"""
    norm: Norm | None = None
    """a norm between every convolution and its activation; null: none"""
    activation: Activation = Activation()
    """the activation after every convolution"""
    pool: Pool = Pool()
    """the pooling"""

    @model_validator(mode="after")
    def _kernels_match(self) -> "ConvNet":
        if isinstance(self.kernel_size, tuple) and len(self.kernel_size) != len(self.widths):
            raise ValueError(
                f"kernel_size has {len(self.kernel_size)} sides for {len(self.widths)} convolutions: give one for each"
            )
        return self

    @property
    def kernel_sizes(self) -> tuple[int, ...]:
        """One for each convolution."""
        sizes = self.kernel_size
        return sizes if isinstance(sizes, tuple) else (sizes,) * len(self.widths)


class Torchvision(Config):
    """A classification network of torchvision, without pretrained weights and without auxiliary heads. Its norms,
    dropout, stem and initialization are those of torchvision."""

    name: Literal["torchvision"]
    """the network"""
    architecture: Annotated[str, Field(min_length=1)]
    """the name of torchvision.models, such as resnet50 or vit_b_16"""


class GPT2(Config):
    """GPT-2, a decoder-only transformer of tokens (Radford et al. 2019), by default that of 124 million parameters. It
    has no dropout."""

    name: Literal["gpt2"]
    """the network"""
    layers: Annotated[int, Field(ge=1)] = 12
    """blocks of attention and two linear layers"""
    width: Channels = 768
    """features of a token; the first of the two linear layers has four times as many"""
    heads: Annotated[int, Field(ge=1)] = 12
    """heads of each attention, which divide the width"""
    vocabulary: Annotated[int, Field(ge=2)] = 50257
    """tokens that have an embedding and a logit. More than the data has make rounder matrices: 50,304 is a multiple of
    64"""
    context: Annotated[int, Field(ge=1)] = 1024
    """tokens of the longest sequence"""
    bias: bool = True
    """biases of linear layers and norms"""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "GPT2":
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}: use a divisor of it")
        return self


Network = Annotated[
    DavidNet | AirNet | ResNet18 | WideResNet | AlexNet | ConvNet | Torchvision | GPT2, Field(discriminator="name")
]
