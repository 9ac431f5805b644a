"""The knobs of training in large batches and by many processes."""

from typing import Annotated, Literal

from pydantic import Field

from pipelines.recipe.knobs import Knobs, NonNegative, Positive


class Scaling(Knobs):
    """What a batch of another size changes in the learning rate (Goyal et al. 2017, arXiv 1706.02677).

    k is `batch_size` over `reference_batch`: how many processes share the batch makes no difference.
    """

    reference_batch: Annotated[int, Field(ge=1)]
    """the batch size that `optimizer.lr` is meant for"""
    lr: Literal["linear", "sqrt", "none"] = "linear"
    """multiply the learning rate by k, by its square root, or by nothing"""
    warmup: Literal["gradual", "constant", "none"] = "gradual"
    """the way there: in a straight line from the unscaled rate; at the unscaled rate, and then at once; or none"""
    warmup_epochs: NonNegative = 5.0
    """how long the way is"""


class Parallel(Knobs):
    """How several processes share the work of a step. One process alone takes no notice of it."""

    engine: Literal["ddp", "fsdp2", "deepspeed"] = "ddp"
    """`ddp`: every process has the whole network, and gradients are averaged (torch's DistributedDataParallel);
    `fsdp2`: each has a shard of weights, gradients and optimizer state, and the weights of a block are gathered when it
    is computed (torch's fully_shard); `deepspeed`: DeepSpeed, with what `zero_stage` says shared out (extra
    `deepspeed`). Under the latter two the images alone are in the order of `channels_last`"""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """what DeepSpeed shares out: nothing; optimizer state; gradients as well; weights as well, but for those of fewer
    than 100,000 numbers (ZeRO, Rajbhandari et al. 2020, arXiv 1910.02054)"""
    bucket_mb: Positive | None = None
    """DDP exchanges gradients in buckets of so many MiB, each as soon as it is full; null: torch's own size"""
    exchange: bool = True
    """false: every process trains on its share alone, which shows what the exchange of gradients costs and is no
    training of the recipe"""
