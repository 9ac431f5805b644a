"""Runs for the page's tests: planted numbers, and names that would be markup if anything let them."""

from datetime import timedelta
from pathlib import Path

import pytest

from results.record import Lap, Run
from tests.results import builders

HOSTILE = "<img src=x onerror=window.broken=1>-</script><script>window.broken=1</script>-{{ 7*7 }}-$x^$-%{x}&amp;"


def _has_chrome():
    try:
        from choreographer.browsers.chromium import Chromium
    except ImportError:
        return False
    return Chromium.find_browser(skip_local=False) is not None


needs_chrome = pytest.mark.skipif(not _has_chrome(), reason="pictures need kaleido, and Chrome or Chromium")


def run(number=0, trials=2, factor=1.0, foreign_load=0.0, **changes):
    """A run of its own day, whose laps last `factor` times as long as the builders'."""
    record = builders.record(
        **(
            {
                "id": f"abcd{number:04d}",
                "created": builders.CREATED + timedelta(days=number),
                "commit": f"{number:040x}",
                "seeds": list(range(trials)),
            }
            | changes
        )
    )
    laps = [Lap(name=lap.name, epoch=lap.epoch, seconds=lap.seconds * factor) for lap in builders.laps()]
    own = tuple(builders.trial(seed, laps=tuple(laps), foreign_load=foreign_load) for seed in range(trials))
    return Run(record, own, Path(f"runs/{number}"))


def one_epoch(number, **changes):
    """A run that was timed for one epoch and reached nothing."""
    made = run(number, **changes)
    trials = tuple(builders.missed(seed, laps=builders.laps()) for seed in range(len(made.trials)))
    return Run(made.record, trials, made.path)


def job_array(number, tasks=5, hosts=2, **changes):
    """Runs of one trial each, with seeds of their own, whose seconds grow; on so many hosts in turn."""

    def task(seed):
        place = machine("NVIDIA H200", host_hash=f"host {seed % hosts}")
        made = run(number + seed, factor=1 + seed / 100, **({"environment": place, "commit": "a" * 40} | changes))
        record = made.record.model_copy(update={"seeds": [seed]})
        trial = made.trials[0].model_copy(update={"seed": seed, "index": 0})
        return Run(record, (trial,), made.path)

    return [task(seed) for seed in range(tasks)]


def machine(name, **more):
    return {"machine_class": name, "versions": {"torch": "2.13.0"}} | more


def processes(number, world, batch=512, strategy="DDP", **changes):
    """A run on so many GPUs that is that many times as fast."""
    recipe = {"epochs": 3, "data": {"name": "digits"}, "batch_size": batch}
    environment = machine("NVIDIA H200", strategy=strategy if world > 1 else "none")
    shared = {"recipe_name": "digits/ddp", "recipe": recipe, "environment": environment, "factor": 1 / world}
    return run(number, world_size=world, **(shared | changes))
