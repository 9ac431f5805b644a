"""What trains the trials of a run: a recipe, or a function of the user's own. `run_trials.py` records them."""

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from bench.command_line.invocation import encodable
from bench.command_line.jobs import RunOptions
from bench.training import tracking
from bench.training.launch import without_launcher
from pipelines import strategies
from pipelines.clock import Lap
from pipelines.data import fingerprint, sources, split
from pipelines.data.dataset import Dataset
from pipelines.distributed.process_group import TIMEOUT, World
from pipelines.estimate import estimate
from pipelines.host.devices import make_clock, number_formats
from pipelines.probes import communication
from pipelines.probes.communication import Communication
from pipelines.probes.profiling import Profile, profile_function, profile_training
from pipelines.recipe import Command, Function, Recipe, Script
from pipelines.recipe.scripts import entry_from_here, sha256_of
from pipelines.recipe.training import Data
from pipelines.scripts import command
from pipelines.scripts.function import EpochProgress, FunctionTrainer, notify
from pipelines.scripts.metrics import Reported
from pipelines.scripts.run import changed
from pipelines.train import run_trial, set_up
from pipelines.trial import Trial
from pipelines.warmup import warm_up
from results.files import MOST_KEPT, source_names
from results.record import DataHashes


class Trainer:
    """Trains the trials of one run, in each of its processes."""

    description: Mapping[str, Any]
    """the resolved recipe, as the record has it"""
    hash: str
    """of what is trained"""
    data: DataHashes | None = None
    environment: Mapping[str, object] = {}
    """what the record says of the processes"""
    laps: Sequence[Lap] = ()
    """what was timed before the first trial"""
    facts: Mapping[str, str] = {}
    """what must be the same in all processes"""
    sources: Mapping[str, str] = {}
    """texts to keep beside the record, by file name"""
    warnings: Sequence[str] = ()
    starts_with_process = True
    """whether the first trial also has the laps `startup` and `total` of this process"""

    def set_up(self) -> None:
        """Build what the trials share, once the processes have agreed on the facts. By default nothing."""

    def tracker(self, folder: Path) -> Any:
        """An observer that writes TensorBoard events below a folder."""
        raise NotImplementedError

    def warm_up(self) -> Lap | None:
        """Compile, tune and allocate, before the first trial. By default nothing."""
        return None

    def run_trial(self, seed: int, observers: Sequence[Any] = ()) -> Trial:
        """Train once."""
        raise NotImplementedError

    def train_flops(self) -> float | None:
        """Floating-point operations of one trial; None where they are not known before it."""
        return None

    def profile(self, seed: int) -> Profile:
        """Where the time goes, from trials that are not timed."""
        raise NotImplementedError

    def communication(self, seed: int) -> Communication:
        """The bytes that a step sends, from a trial that is not timed."""
        raise NotImplementedError


class RecipeTrainer(Trainer):
    """Trains a recipe."""

    def __init__(self, recipe: Recipe, folder: Path, world: World, *, smoke_test: bool, track: bool) -> None:
        """Load the data. ValueError where it cannot be had."""
        clock = make_clock(world.device)
        name = recipe.data.name
        with clock.lap("load"):
            # a run without gradient all-reduce counts as a smoke test too, but its times are compared with others
            is_for_smoke = smoke_test and recipe.parallel.sync_gradients and recipe.data.is_published
            is_made_up = is_for_smoke and is_missing(name, folder, world)
            whole = sources.made_up(name) if is_made_up else load_whole(recipe.data, folder, world)
            dataset = split.select(whole, recipe.data)
        self.laps = clock.laps
        published = recipe.data.is_published and not is_made_up and fingerprint.is_published(whole)
        self.data = DataHashes(**fingerprint.in_order(dataset), is_published=published)
        del whole  # of which the recipe may leave most out
        self.facts = {
            "number formats": str(number_formats(recipe, world.device)),
            "data": self.data.digest,
        }
        self._recipe, self._world, self._dataset = recipe, world, dataset
        self.description = recipe.model_dump(mode="json")
        self.hash = recipe.hash
        warning = (
            f"{name} is not in {folder}: the smoke test trains on made-up images of its shape"
            if is_made_up
            else f"warning: the images or labels of {name} are not the published ones: the record says so"
        )
        self.warnings = (warning,) if recipe.data.is_published and not published else ()
        self._track = track
        strategies.load(recipe, world)  # so that its imports are no part of what --memory-limit counts

    def set_up(self) -> None:
        """Build what the trials share, after the processes have agreed on what they train."""
        self._setup = set_up(self._recipe, self._dataset, self._world)
        if self._track:
            tracking.check(self._setup)
        self.environment = {
            "strategy": self._setup.strategy.name,
            "gradient_bytes": self._setup.strategy.traffic.gradient_bytes,
        }

    def tracker(self, folder: Path) -> tracking.Tracker:
        return tracking.Tracker(self._setup, folder)

    def warm_up(self) -> Lap:
        return warm_up(self._setup)

    def run_trial(self, seed: int, observers: Sequence[Any] = ()) -> Trial:
        return run_trial(self._setup, seed, observers)

    def train_flops(self) -> float | None:
        if self._recipe.techniques.early_stopping:
            return None
        return estimate(self._recipe, self._dataset, self._world.device).train_flops

    def profile(self, seed: int) -> Profile:
        return profile_training(self._setup, seed)

    def communication(self, seed: int) -> Communication:
        return communication.measure(self._setup, seed)


class OwnTrainer(Trainer):
    """Trains a function of the user's own. Its laps are the author's word."""

    def __init__(
        self,
        config: Function,
        folder: Path,
        world: World,
        *,
        smoke_test: bool,
        track: bool,
        timeout: float | None = None,
    ) -> None:
        """Import the file. ScriptError where the function or its arguments will not do."""
        if track:
            tracking.check_packages()
        load = partial(load_data, config.data, folder, world) if config.data else None
        clock = make_clock(world.device)
        with clock.lap("load"):
            self._trainer = FunctionTrainer(
                config, world, cache(load) if load else None, smoke_test=smoke_test, timeout=timeout
            )
        self.laps = clock.laps
        resolved = self._trainer.config
        self.description = resolved.model_dump(mode="json") | {"entry": encodable(entry_from_here(resolved))}
        self.hash = resolved.hash
        self.sources = {resolved.path.name: self._trainer.source}

    def tracker(self, folder: Path) -> tracking.Curves:
        return tracking.Curves(folder)

    def warm_up(self) -> Lap | None:
        return self._trainer.warm_up()

    def run_trial(self, seed: int, observers: Sequence[Any] = ()) -> Trial:
        return self._trainer.run_trial(seed, observers)

    def profile(self, seed: int) -> Profile:
        return profile_function(self._trainer, seed)


class CommandTrainer(Trainer):
    """Starts a command of the user's own, one process a trial."""

    starts_with_process = False

    def __init__(self, config: Command, world: World, timeout: float, *, probes: bool) -> None:
        """Read the files that it names. ValueError where it cannot be timed as was asked for."""
        if world.size > 1:
            raise ValueError("a command starts its processes itself: run bench/run.py --command without a launcher")
        if probes:
            raise ValueError("--track and --profile look into a training, and a command is timed from outside")
        program = shlex.split(config.command)[0]
        if shutil.which(program) is None:
            raise ValueError(f"--command: there is no program {program!r}")
        paths = config.paths()
        files = {path.as_posix(): sha256_of(path) for path in paths}
        if others := [name for name, code in (config.files or {}).items() if files[name] != code]:
            raise ValueError(f"{changed(others[0])}; put {{seed}} into the name of a file that the command writes")
        config = config.model_copy(update={"files": files})
        self.description = config.model_dump(mode="json")
        self.hash = config.hash
        self.sources = {
            name: path.read_text(encoding="utf-8", errors="replace")
            for path, name in source_names(paths).items()
            if path.stat().st_size <= MOST_KEPT
        }
        self._trainer = command.CommandTrainer(config, timeout, without_launcher(os.environ))

    def run_trial(self, seed: int, observers: Sequence[Any] = ()) -> Trial:
        def tell(reported: Reported) -> None:
            if results := reported.results:
                notify(observers, "epoch_end", EpochProgress(seed, results[-1].epoch, 0, results))

        notify(observers, "trial_start", EpochProgress(seed, 0, 0, ()))
        return self._trainer.run_trial(seed, tell)


def make_trainer(recipe: Recipe | Script, options: RunOptions, world: World, *, smoke_test: bool) -> Trainer:
    """The trainer of a job. ValueError where it cannot train here."""
    if isinstance(recipe, Recipe):
        return RecipeTrainer(recipe, options.data_dir, world, smoke_test=smoke_test, track=options.track)
    if options.communication:
        raise ValueError("--communication counts in the steps of a recipe: leave it out for a training of your own")
    if isinstance(recipe, Command):
        return CommandTrainer(recipe, world, options.timeout or TIMEOUT, probes=options.track or options.profile)
    assert isinstance(recipe, Function)
    return world.run_on_all(
        lambda: OwnTrainer(
            recipe, options.data_dir, world, smoke_test=smoke_test, track=options.track, timeout=options.timeout
        )
    )


def load_data(config: Data, folder: Path, world: World) -> Dataset:
    """The recipe's part of its data set; rank 0 downloads what is missing, alone."""
    return split.select(load_whole(config, folder, world), config)


def is_missing(name: str, folder: Path, world: World) -> bool:
    """Whether rank 0 does not find a data set in the folder."""
    return world.broadcast_object(world.is_main and sources.source(name).find(folder) is None)


def load_whole(config: Data, folder: Path, world: World) -> Dataset:
    """A whole data set; rank 0 downloads what is missing, alone."""
    first = world.run_on_all(lambda: sources.load_of(config, folder) if world.is_main else None)
    return world.run_on_all(lambda: first or sources.load_of(config, folder, download=False))
