"""GPT-2 (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"): a decoder-only transformer."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.recipe import networks

STD = 0.02
"""of the initial weights"""


class Attention(nn.Module):
    """Causal self-attention of several heads, (N, length, width) to the same."""

    def __init__(self, config: networks.GPT2) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.bias)
        self.output = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(self, values: Tensor) -> Tensor:
        # (N, length, 3 * width) to three times (N, heads, length, width / heads)
        queries, keys, values = self.qkv(values).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.output(attended.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a two-layer network, each behind a norm and with a residual connection around both (pre-norm)."""

    def __init__(self, config: networks.GPT2) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.width, bias=config.bias)
        self.attention = Attention(config)
        self.mlp_norm = nn.LayerNorm(config.width, bias=config.bias)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, 4 * config.width, bias=config.bias),
            nn.GELU("tanh"),
            nn.Linear(4 * config.width, config.width, bias=config.bias),
        )

    @property
    def residual_outputs(self) -> tuple[nn.Linear, nn.Linear]:
        """The layers whose outputs are added to the residual stream."""
        return self.attention.output, self.mlp[-1]

    def forward(self, values: Tensor) -> Tensor:
        values = values + self.attention(self.attention_norm(values))
        return values + self.mlp(self.mlp_norm(values))


class GPT2(nn.Module):
    """(N, length) tokens, int64, to (N, length, vocabulary) logits of the next token at each position.

    The last layer shares its weights with the token embedding.
    """

    def __init__(self, config: networks.GPT2, image_shape: tuple[int], classes: int) -> None:
        """image_shape: (length,); classes: the tokens of the data. ValueError where the network has room for fewer."""
        super().__init__()
        (length,) = image_shape
        if classes > config.vocabulary:
            raise ValueError(
                f"model.vocabulary={config.vocabulary} is less than data.tokens.vocabulary={classes}: set "
                f"model.vocabulary={classes} or more"
            )
        if length > config.context:
            raise ValueError(
                f"model.context={config.context} is less than data.tokens.length={length}: set "
                f"model.context={length} or more"
            )
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width, bias=config.bias)
        self.reset_parameters()

    @property
    def head(self) -> nn.Embedding:
        """The module that holds the weights of the last layer."""
        return self.tokens

    def reset_parameters(self) -> None:
        """Weights from a normal distribution, those that end a residual branch smaller by the root of the number of
        branches; biases zero (section 2.3 of the paper; the deviation is that of OpenAI's code)."""
        residual = {layer for block in self.layers for layer in block.residual_outputs}
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, nn.Linear | nn.Embedding):
                scale = 1 / math.sqrt(2 * len(self.layers)) if module in residual else 1.0
                nn.init.normal_(module.weight, std=STD * scale)
                if getattr(module, "bias", None) is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        values = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.layers:
            values = block(values)
        return F.linear(self.norm(values), self.tokens.weight)
