"""What `--profile` and `--energy` record: phases, a trace and joules, from trials that are not timed."""

import json
from dataclasses import asdict
from pathlib import Path

from bench.training.live_view import TrialLines
from pipelines.probes.communication import Communication
from pipelines.probes.profiling import Profile
from results.store import RunDirectory
from results.tables import NOTHING, Table

ROWS = 40
"""operations in the table, the most expensive first"""


def keep(profile: Profile, directory: RunDirectory | None, view: TrialLines) -> None:
    """Print the phases and write everything, in the process that writes the record."""
    if directory:
        view.console.print(phases_table(view.name, profile).rich())
        view.line(f"trace and operations: {write(profile, directory.path)}")


def keep_energy(measured: dict[str, object], directory: RunDirectory | None, view: TrialLines) -> None:
    """Record the energy of a trial and print it."""
    if directory:
        directory.note({"energy": measured})
        view.line(f"energy: {energy_line(measured)}")


def keep_communication(counted: Communication, directory: RunDirectory | None, view: TrialLines) -> None:
    """Record the bytes that a process sends in a step and print them."""
    if directory:
        directory.note({"communication": asdict(counted)})
        formula = (
            "no formula" if counted.formula_bytes is None else f"by its formula {counted.formula_bytes / 1e6:.4g} MB"
        )
        view.line(f"communication: a process sends {counted.bytes_per_step / 1e6:.4g} MB a step, {formula}")


def energy_line(measured: dict[str, object]) -> str:
    """The energy as people read it."""
    if "unknown" in measured:
        return f"unknown, because {measured['unknown']}"
    joules, watts, trials = measured["joules_per_trial"], measured["mean_w"], measured["trials"]
    return f"{joules:.4g} J per trial, {watts:.4g} W on average (over {trials} further trials)"


def write(profile: Profile, folder: Path) -> Path:
    """Write trace, operations and phases into `folder`/profile, and return that."""
    place = folder / "profile"
    place.mkdir(exist_ok=True)
    profile.trace.export_chrome_trace(str(place / "trace.json.gz"))
    most_expensive = "self_cpu_time_total" if profile.device_busy is None else "self_cuda_time_total"
    operations = profile.trace.key_averages().table(sort_by=most_expensive, row_limit=ROWS)
    (place / "operations.txt").write_text(operations, encoding="utf-8")
    numbers = {
        "steps": profile.steps,
        "seconds": profile.phases,
        "communication": profile.communication,
        "device_busy": profile.device_busy,
    }
    (place / "phases.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return place


def phases_table(name: str, profile: Profile) -> Table:
    """Where the time of a step goes."""
    whole = sum(profile.phases.values())
    rows = [
        (phase, f"{1000 * seconds:.1f}", f"{100 * seconds / whole:.1f}%") for phase, seconds in profile.phases.items()
    ]
    rows.append(("communication (part of the above)", f"{1000 * profile.communication:.1f}", NOTHING))
    idle = profile.device_busy
    rows.append(("device idle", NOTHING, NOTHING if idle is None else f"{100 * (1 - idle):.1f}%"))
    caption = (
        f"{profile.steps} steps and one evaluation, synchronised after each phase, in a trial that is not a timed one. "
        "Backward: with the loss. Other: techniques, the loop itself, waiting for batches. Communication and idle "
        "(of a GPU) are from the trace, where phases overlap."
    )
    if profile.steps is None:
        caption = "The laps of one epoch, in a trial that is not a timed one."
    return Table(f"{name}: phases", ("phase", "ms", "share"), tuple(rows), caption)
