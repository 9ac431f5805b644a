"""What `--profile` and `--energy` keep: phases, a trace and joules, from trials that are not timed ones."""

import json
from pathlib import Path

from bench.live_view import TrialLines
from pipelines.probes.profiling import Profile
from results.store import RunDirectory
from results.tables import NOTHING, Table

ROWS = 40
"""operations in the table, the dearest first"""


def keep(profile: Profile, directory: RunDirectory | None, view: TrialLines) -> None:
    """Show the phases and keep everything, on the process that keeps the record."""
    if directory:
        view.console.print(phases_table(view.name, profile).rich())
        view.line(f"trace and operations: {write(profile, directory.path)}")


def keep_energy(measured: dict[str, object], directory: RunDirectory | None, view: TrialLines) -> None:
    """Put the energy of a trial into the record, and say it in a line."""
    if directory:
        directory.note({"energy": measured})
        view.line(f"energy: {energy_line(measured)}")


def energy_line(measured: dict[str, object]) -> str:
    """As a person reads it."""
    if "unknown" in measured:
        return f"unknown, because {measured['unknown']}"
    joules, watts, trials = measured["joules_per_trial"], measured["mean_w"], measured["trials"]
    return f"{joules:.4g} J a trial, {watts:.4g} W on average (over {trials} trials more)"


def write(profile: Profile, folder: Path) -> Path:
    """Write trace, operations and phases into `folder`/profile, and return that."""
    place = folder / "profile"
    place.mkdir(exist_ok=True)
    profile.trace.export_chrome_trace(str(place / "trace.json.gz"))
    dearest = "self_cpu_time_total" if profile.device_busy is None else "self_cuda_time_total"
    operations = profile.trace.key_averages().table(sort_by=dearest, row_limit=ROWS)
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
    rows.append(("of it communication", f"{1000 * profile.communication:.1f}", NOTHING))
    idle = profile.device_busy
    rows.append(("device idle", NOTHING, NOTHING if idle is None else f"{100 * (1 - idle):.1f}%"))
    caption = (
        f"{profile.steps} steps and one evaluation, synchronised after each phase, in a trial that is not a timed one. "
        "Backward: with the loss. Other: techniques, the loop itself, waiting for batches. Communication and idle "
        "(of a GPU) are from the trace, where phases overlap."
    )
    return Table(f"{name}: phases", ("phase", "ms", "share"), tuple(rows), caption)
