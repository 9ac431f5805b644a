"""One trial from the cells of a notebook, recorded as a run."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.command_line.jobs import Job
from pipelines.recipe.scripts import Cells, code_of
from pipelines.scripts.run import Run
from results import files, store


@contextlib.contextmanager
def record(
    name: str,
    *,
    target: float,
    seed: int = 0,
    data: str | None = None,
    device: str = "auto",
    out: str | Path = "runs",
    **arguments: Any,
) -> Iterator[Run]:
    """Record what happens inside as one trial: `with record("idea", target=0.94, lr=0.3) as run:`.

    Time the phases with `run.lap`, and report the accuracy with `run.evaluated`; the last one is that of the trial.
    target: the accuracy to reach, as a fraction. data: the data set that you train on, by its name in recipes, such as
    `cifar10`; other data you can name in an argument, such as `dataset="imagenet"`. device: a GPU becomes torch's
    current one. arguments: kept in the record; runs of other arguments are other recipes. In IPython the record keeps
    the text of the cell.

    ValueError for a device that is not there, a value that cannot be recorded, a run that is used wrongly, and a trial
    without an accuracy. The run's record says how it ended, also where an exception ended it.
    """
    from bench.training import records
    from pipelines.distributed import process_group
    from pipelines.host import environment
    from pipelines.host.devices import make_clock
    from pipelines.scripts.function import finish, seed_everything

    text = _cell()
    code = code_of(text) if text else None
    given = {"target": target, "data": {"name": data} if data else None, "arguments": arguments}
    try:
        config = Cells.model_validate({"title": name[:100], "code": code, **given}, strict=False)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]
        raise ValueError(f"paceline.record: {'.'.join(map(str, what['loc']))}: {what['msg']}") from None
    world = process_group.alone(device)
    job = Job(name, config, (seed,))
    captured = [environment.capture(world.device)]
    trained = {"recipe": config.model_dump(mode="json"), "recipe_hash": config.hash, "command": ["paceline.record"]}
    written = records.new_record(job, world, captured, **trained)
    directory = store.create(Path(out), written)
    files.write_sources(directory.path, {"cell.py": text} if text else {})
    run = Run(seed, world.device, target, clock=make_clock(world.device))
    try:
        seed_everything(seed)
        start = run.clock.now()
        yield run
        run.clock.synchronize()
        seconds = run.clock.now() - start
        run.check_ended()
        directory.append(records.to_record(finish(run, None, seconds, name, world), 0))
    except BaseException as error:
        is_stopped = isinstance(error, KeyboardInterrupt)
        directory.finish("interrupted" if is_stopped else "failed", f"{type(error).__name__}: {error}".strip(": "))
        raise
    directory.finish("finished", None, {"after": environment.telemetry(world.device)})


def _cell() -> str:
    """The text of the notebook's cell that is running; empty outside IPython."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return str(shell.user_ns["In"][-1]) if shell else ""
