"""The loaders by the name that recipes give them."""

from importlib import import_module

from pipelines.data.loader import Loader, LoaderContext

LOADERS = {
    "resident": ("pipelines.data.resident", "ResidentLoader"),
    "bulk": ("pipelines.data.resident", "BulkLoader"),
    "torchvision": ("pipelines.data.torchvision_loader", "TorchvisionLoader"),
    "dali": ("pipelines.data.dali_loader", "DaliLoader"),
}
"""The module and the class of each. A module is imported when a recipe asks for it, because some
need packages that are optional or slow to import."""
TOKENS = ("pipelines.data.tokens", "TokenLoader")
"""those of sequences of tokens"""


def make_loader(context: LoaderContext) -> Loader:
    """The recipe's loader, for one trial."""
    recipe = context.recipe
    module, name = TOKENS if recipe.data.is_tokens else LOADERS[recipe.loader.name]
    loader: Loader = getattr(import_module(module), name)(context)
    return loader
