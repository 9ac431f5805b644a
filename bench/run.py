"""The main job: train recipes under the clock and keep the record. `accelerate launch bench/run.py --help`"""

import os
import sys
from itertools import pairwise

from bench import run_arguments, scaling, side_by_side
from pipelines import recipe
from pipelines.host import runtime
from results.record import Run


def main() -> int:
    """Parse, train, print. Exit status 2 for what the caller can mend, 130 and 143 after Ctrl-C and SIGTERM."""
    options = run_arguments.parse()
    try:
        if options.list:
            names = recipe.names()
            for name in names:
                print(name.ljust(max(map(len, names))), recipe.title(name), sep="  ")
            return 0
        if options.scaling:
            return scaling.main(options)
        if options.side_by_side:
            return side_by_side.main(options)
        jobs = run_arguments.jobs(options)
        runtime.prepare(options.threads)
        return run(options, jobs)
    except (ValueError, OSError) as error:
        return refuse(error)
    except KeyboardInterrupt:
        return 130


def run(options: run_arguments.Options, jobs: list[run_arguments.Job]) -> int:
    """Train every job, each with a record of its own. Imports torch, which --help and --list need not wait for."""
    from bench import dry_run, live_view, run_trials
    from pipelines.distributed import failures, process_group
    from results.efficiency import is_known
    from results.tables import comparison
    from results.tables.efficiency import efficiency_table
    from results.tables.overview import overview
    from results.tables.runs import trials_table

    world = process_group.join(options.device, options.timeout)
    console = live_view.make_console(is_main=world.is_main)
    view = live_view.make_view(console, quiet=options.quiet)
    runs: list[Run] = []
    status = 0
    try:
        if options.interleave and not options.dry_run:
            views = [live_view.TrialLines(console) for _ in jobs]
            runs, jobs = run_trials.train_in_turns(jobs, options, world, views), []
        for job in jobs:
            try:
                if options.dry_run:
                    dry_run.show(console, job.name, job.recipe, world.device)
                    continue
                runs.append(run_trials.train(job, options, world, view, is_first=job is jobs[0]))
            except (ValueError, OSError) as error:
                if world.size > 1 or len(jobs) == 1:
                    raise
                status = refuse(ValueError(f"{job.name}: {error}"))  # the other recipes may do
                continue
            console.print(trials_table(runs[-1], options.protocol).rich())
    except KeyboardInterrupt as interrupt:
        status = 143 if isinstance(interrupt, run_trials.Terminated) else 130
    except (ValueError, OSError) as error:
        status = refuse(error)
        failures.let_speak(world)
    except failures.PeerError as error:
        print(f"bench/run.py: error: rank {world.rank}: {error}", file=sys.stderr)
        sys.stdout.flush()
        os._exit(1)  # the process group cannot be left in order any more: that would wait for who does not answer
    finally:
        process_group.leave(world)
    for table in overview(runs, options.protocol):
        console.print(table.rich())
    if is_known(runs):
        console.print(efficiency_table(runs, options.protocol).rich())
    if options.interleave:
        for first, second in pairwise(runs):
            console.print(comparison.of_runs(first, second, options.protocol).rich())
    live_view.print_next_steps(console, runs)
    return status


def refuse(error: Exception) -> int:
    """Say in one line what was wrong, once for all processes of a machine, unless it is this process's alone."""
    if os.environ.get("LOCAL_RANK", "0") == "0" or type(error).__name__ == "JoinError":
        print(f"bench/run.py: error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
