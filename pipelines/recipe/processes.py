"""Whether so many processes can train a recipe, as far as neither the data nor the machine decide it. Imports no
torch."""

from pipelines.recipe.schema import Recipe


def check(recipe: Recipe, processes: int) -> None:
    """ValueError of one line that names option, value and remedy."""
    count = copies(recipe, processes)
    if recipe.batch_size % count:
        nearest = max(recipe.batch_size // count, 1) * count
        raise ValueError(
            f"batch_size={recipe.batch_size} cannot be shared equally by {count} processes; set batch_size={nearest}"
        )
    share = recipe.batch_size // count
    if share % recipe.accumulation:
        raise ValueError(
            f"accumulation={recipe.accumulation} does not divide the {share} images that a process has a step: use a "
            "divisor of that number"
        )
    _check_stages(recipe, processes // count)
    if processes > 1 and (alone := recipe.techniques.where(lambda technique: technique.single_process_only)):
        raise ValueError(f"techniques.{alone[0]} trains in one process, and there are {processes}: launch one")


def copies(recipe: Recipe, processes: int) -> int:
    """How many parts a batch is shared into: one for each process, or for each copy of a network that several share.

    ValueError where `parallel.size` does not divide the processes.
    """
    parallel = recipe.parallel
    size = parallel.size or processes
    if processes == 1 or not parallel.sync_gradients:
        return processes
    if processes % size:
        raise ValueError(
            f"parallel.size={size} does not divide {processes} processes: launch a multiple of {size}, or set "
            "parallel.size=null"
        )
    if parallel.strategy == "columns" and size != 2:
        raise ValueError(
            f"parallel.strategy=columns has two columns, and {size} processes share them: set parallel.size=2"
        )
    return processes // size if parallel.shares_images else processes


def _check_stages(recipe: Recipe, size: int) -> None:
    """ValueError where the schedule of a pipeline of so many processes lacks the micro-batches that it needs."""
    count, schedule = recipe.accumulation, recipe.parallel.schedule
    if recipe.parallel.strategy != "pipeline" or size == 1:
        return
    if schedule == "1f1b" and count < size:
        raise ValueError(
            f"parallel.schedule=1f1b needs as many micro-batches as stages, {size}, and accumulation={count}: set "
            f"accumulation={size} or parallel.schedule=gpipe"
        )
    if schedule == "interleaved" and count % max(1, count // size):
        raise ValueError(
            f"parallel.schedule=interleaved takes rounds of {size} micro-batches, and accumulation={count}: set "
            f"accumulation={count // size * size}"
        )
