"""A function of the user's own as a trainer: loading its file, one trial. `arguments.py` reads its arguments."""

import ast
import contextlib
import copy
import difflib
import gc
import hashlib
import importlib.util
import inspect
import json
import math
import operator
import os
import random
import sys
import tokenize
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
import torch
import torch.distributed as dist

from pipelines.clock import Lap
from pipelines.data.dataset import Dataset
from pipelines.distributed import failures
from pipelines.distributed.process_group import World
from pipelines.host import gpu_sampler
from pipelines.host.devices import make_clock, peak_bytes, reset_peak_bytes
from pipelines.host.torch_settings import TorchSettings
from pipelines.host.torchvision_import import make_importable
from pipelines.recipe.scripts import Function, code_of
from pipelines.scripts import imports, timeouts
from pipelines.scripts.arguments import check_arguments, explained, read_arguments, recorded
from pipelines.scripts.run import Run, ScriptError, changed, divergence, fraction, without_nan, words_of
from pipelines.train import slowest
from pipelines.trial import Trial

CHECKOUT = Path(__file__).resolve().parents[2]
AT_START = TorchSettings.capture()
"""before a recipe of the same process has set anything"""


@dataclass(frozen=True)
class EpochProgress:
    """Where a trial of a function stands, as observers see it: the unit of its steps is an epoch."""

    seed: int
    step: int
    steps: int
    """0 where the function did not say how many epochs it trains"""
    history: Sequence[Any]
    notes: dict[str, object] = field(default_factory=dict)
    laps: Sequence[Lap] = ()
    """before its first epoch"""

    @property
    def epochs(self) -> float:
        """Of the whole trial."""
        return self.steps


class FunctionTrainer:
    """Calls a function once a trial.

    The settings of torch that the file makes are in force while it runs, and not while others train. So are its working
    directory and the modules beside it. The file finds the settings of the start of the process, whatever was trained
    before it; only the number of threads is Paceline's. Each call gets arguments of its own.
    """

    def __init__(
        self,
        config: Function,
        world: World,
        load: Callable[[], Dataset] | None = None,
        *,
        smoke_test: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Import the file and check the arguments. ScriptError where either will not do.

        timeout: seconds without a lap or a report after which a call of the function is ended; None: never.
        """
        self.world, self._load, self._smoke_test, self._timeout = world, load, smoke_test, timeout
        name = config.entry
        text = read_source(config.path)
        code = code_of(text)
        if config.code and config.code != code:
            raise changed(config.path)
        self.source = text
        self._observer_error: Exception | None = None
        ours = TorchSettings.capture()
        replace(AT_START, threads=ours.threads).apply()
        with imports.beside(config.path):
            try:
                with guarded():
                    self._module = load_module(config.path, text)
                    self._settings, self._folder = TorchSettings.capture(), Path.cwd()
            finally:
                ours.apply()
            self._function = function_of(self._module, config)
            arguments = read_arguments(self._function, name)
            values = check_arguments(arguments, config.arguments, name)
            with explained(name):
                self._call = arguments.call(values)
            resolved = recorded(values, name)
        title = config.title or (inspect.getdoc(self._function) or name).partition("\n")[0][:100]
        self.config = config.model_copy(update={"code": code, "arguments": resolved, "title": title})

    def warm_up(self) -> Lap | None:
        """Call the file's function `warm_up`, if there is one."""
        warm_up = getattr(self._module, "warm_up", None)
        if not callable(warm_up):
            return None
        clock = make_clock(self.world.device)
        with clock.lap("compile"):
            self._run(warm_up, self._make_run(0))
        return clock.laps[0]

    def run_trial(self, seed: int, observers: Sequence[Any] = (), epoch_limit: int | None = None) -> Trial:
        """Call the function once. ScriptError where it raises, returns no accuracy or uses its run wrongly."""

        def tell(run: Run) -> None:
            progress = EpochProgress(seed, run.history[-1].epoch, run.planned, run.history, run.notes)
            try:
                notify(observers, "epoch_end", progress)
            except Exception as error:
                self._observer_error = error
                raise

        run = self._make_run(seed)
        run.on_epoch, run.epoch_limit = tell, epoch_limit or run.epoch_limit
        notify(observers, "trial_start", EpochProgress(seed, 0, 0, ()))
        reset_peak_bytes(self.world.device)
        with gpu_sampler.sampled(self.world.device) as samples:
            returned, seconds = self._run(self._function, run)
        trial = finish(run, returned, seconds, self.config.entry, self.world)
        notify(observers, "trial_end", EpochProgress(seed, run.planned, run.planned, run.history, run.notes))
        return replace(trial, gpus=gpu_sampler.of_all_processes(samples, self.world))

    def _make_run(self, seed: int) -> Run:
        world = self.world
        return Run(
            seed=seed,
            device=world.device,
            target=self.config.target,
            rank=world.rank,
            world_size=world.size,
            smoke_test=self._smoke_test,
            epoch_limit=1 if self._smoke_test else None,
            clock=make_clock(world.device),
            load=self._load,
        )

    def _run(self, function: Callable[..., Any], run: Run) -> tuple[Any, float]:
        """What the function returns, and the seconds that it took. ScriptError for whatever goes wrong in it."""
        seed_everything(run.seed)
        name, ours = self.config.entry, TorchSettings.capture()
        self._settings.apply()
        path = self.config.path
        try:
            with imports.beside(path), arguments_of(path), guarded(), timeouts.limited(self._timeout, run):
                os.chdir(self._folder)
                arguments = copy.deepcopy(self._call)
                start = run.clock.now()
                returned = function(run, **arguments)
                run.clock.synchronize()
                seconds = run.clock.now() - start
            run.check_ended()
        except (Exception, SystemExit) as error:
            if failures.is_of_a_peer(error) or error is self._observer_error:
                raise
            raise ScriptError(f"{name}: {_place(error, path)}{words_of(error)}") from error
        finally:
            ours.apply()
            gc.collect()
        if self.world.size > 1 and not dist.is_initialized():
            raise ScriptError(f"{name}: destroyed the process group, which belongs to Paceline: leave that out")
        return returned, seconds


def seed_everything(seed: int) -> None:
    """Seed random, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def finish(run: Run, returned: Any, seconds: float, name: str, world: World) -> Trial:
    """What a run that has ended leaves behind.

    returned: the accuracy at the end; None: the last one that was reported. Of several processes that of rank 0 counts,
    so that it may report alone. seconds: of the whole trial, which is its lap `train` where it has none. ScriptError
    where there is no accuracy, or the processes timed different laps.
    """
    last = run.history[-1] if run.history else None
    own = fraction(returned, f"{name} returned a value that")
    accuracy = world.broadcast_object(last and last.accuracy if own is None else own)
    if accuracy is None:
        raise ScriptError(f"{name}: gave no accuracy: return it, or report it with run.evaluated, as a fraction")
    laps = run.clock.laps or [Lap("train", seconds)]
    names = [(lap.name, lap.epoch) for lap in laps]
    if any(theirs != names for theirs in world.gather(names)):
        raise ScriptError(f"{name}: the processes timed different laps: time the same ones on every rank")
    outside = seconds - sum(lap.seconds for lap in laps)
    steps, samples = (_count(getattr(run, what), f"{name}: run.{what}") for what in ("steps", "samples"))
    notes = _check_notes(run.notes, name)
    reason = divergence(accuracy, last)
    host_bytes, device_bytes = world.maximum(peak_bytes(world.device)).tolist()
    return Trial(
        seed=run.seed,
        outcome="diverged" if reason else "reached" if accuracy >= run.target else "missed",
        reason=reason,
        accuracy=None if math.isnan(accuracy) else accuracy,
        accuracy_plain=None,
        target=run.target,
        epochs=tuple(without_nan(result) for result in run.history),
        laps=slowest(laps, world),
        steps=steps,
        samples=samples,
        peak_host_bytes=host_bytes,
        peak_device_bytes=device_bytes if world.device.type == "cuda" else None,
        notes=notes | {"seconds": seconds, "seconds_outside_laps": max(outside, 0.0)},
    )


def _count(value: Any, what: str) -> int:
    """A whole number. ScriptError for anything else."""
    try:
        count = operator.index(value)
    except (TypeError, ValueError):
        raise ScriptError(f"{what} is {value!r}: it must be a whole number") from None
    if count < 0:
        raise ScriptError(f"{what} is {value!r}: it cannot be negative")
    return count


def _check_notes(notes: Any, name: str) -> dict[str, Any]:
    """The notes as JSON has them, with text as keys. ScriptError where the record could not hold them."""
    what = f"{name}: run.notes must be a dictionary of JSON values"
    if not isinstance(notes, dict):
        raise ScriptError(f"{what}, not {type(notes).__name__}")
    try:
        return json.loads(json.dumps(notes))
    except (TypeError, ValueError, RecursionError) as error:
        raise ScriptError(f"{what}: {error}") from None


def read_source(path: Path) -> str:
    """The text of the file. ScriptError where it cannot be read or is no Python."""
    try:
        with tokenize.open(path) as file:
            text = file.read()
        tree = ast.parse(text, str(path))
    except FileNotFoundError:
        raise ScriptError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(f"{path}: cannot be read: {error}") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        raise ScriptError(
            f"{path}{f':{line}' if line else ''}: is not Python: {getattr(error, 'msg', error)}"
        ) from None
    _check_imports(path, tree)
    return text


def _check_imports(path: Path, tree: ast.Module) -> None:
    """ScriptError where the file imports a module beside it that has the name of a package of Paceline.

    A file in the root of the checkout has Paceline's own packages beside it.
    """
    if path.resolve().parent == CHECKOUT:
        return
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
        for name in {name.partition(".")[0] for name in names} & set(imports.OURS):
            beside = path.resolve().parent / name
            if beside.with_suffix(".py").exists() or beside.is_dir():
                raise ScriptError(
                    f"{path}:{node.lineno}: imports {name}, which is also a package of Paceline: rename it"
                )


def load_module(path: Path, text: str) -> ModuleType:
    """Import the file under its own name, or another one where that is taken. ScriptError where it raises."""
    name = path.stem
    if not name.isidentifier() or _is_taken(name, path):
        name = f"own_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    make_importable()  # torchvision beside a CPU-only torch
    module = ModuleType(name)
    module.__file__ = str(path.resolve())
    sys.modules[name] = module
    try:
        with arguments_of(path):
            exec(compile(text, module.__file__, "exec"), module.__dict__)  # noqa: S102  what the user asked to run
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ScriptError(f"{path}: cannot be imported: {_place(error, path)}{words_of(error)}") from error
    return module


def _is_taken(name: str, path: Path) -> bool:
    """Whether an import of the name would give another module than the file."""
    if name in sys.modules:
        return True
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin != str(path.resolve())


@contextlib.contextmanager
def arguments_of(path: Path) -> Iterator[None]:
    """Let `sys.argv` be that of `python FILE`, so that a file which parses its command line finds its defaults."""
    before, sys.argv = sys.argv, [str(path)]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Undo what a function did to the process: another working directory, another standard output. Its standard input
    is empty, unless it is a terminal.

    A process that it forked, and that comes back from it, ends here: it would write the record a second time.
    """
    process, folder, output = os.getpid(), Path.cwd(), sys.stdout
    try:
        with without_input():
            yield
    finally:
        if os.getpid() != process:
            print("a process that the function forked came back from it, and was ended", file=sys.stderr, flush=True)
            os._exit(1)
        os.chdir(folder)
        sys.stdout = output
    if output.closed:
        raise ScriptError("closed standard output: leave that out")


@contextlib.contextmanager
def without_input() -> Iterator[None]:
    """Let standard input be empty, also that of processes that are started in the block: `input()` raises EOFError.

    Nobody answers in a nightly job, and a run that another process interleaves reads there when it may train. A
    terminal stays, for `breakpoint()`.
    """
    if sys.stdin.isatty():
        yield
        return
    kept, before = os.dup(0), sys.stdin
    sys.stdin = _empty()
    os.dup2(sys.stdin.fileno(), 0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        sys.stdin = before


@cache
def _empty() -> IO[str]:
    """Never closed: a module may keep it."""
    return Path(os.devnull).open(encoding="utf-8")


def function_of(module: ModuleType, config: Function) -> Callable[..., Any]:
    """The function of the entry. ScriptError where the file has none of that name."""
    function = getattr(module, config.function, None)
    if callable(function):
        return function
    there = [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    close = difflib.get_close_matches(config.function, there, n=1)
    hint = f"did you mean {close[0]}?" if close else f"its functions are {', '.join(there) or 'none'}"
    raise ScriptError(f"{config.path}: has no function {config.function!r}; {hint}")


def notify(observers: Sequence[Any], event: str, progress: EpochProgress) -> None:
    """Call the observers that have a method for an event."""
    for observer in observers:
        if hook := getattr(observer, event, None):
            hook(progress)


def _place(error: BaseException, path: Path) -> str:
    """The last line of the user's file that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.resolve()]
    return f"line {lines[-1]}: " if lines else ""
