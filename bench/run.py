"""The main job: train recipes under the clock and record the trials. `accelerate launch bench/run.py --help`"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # this tree, whatever else is installed
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.command_line import cli, jobs
from bench.command_line.jobs import Job, RunOptions
from pipelines.distributed import launch_variables
from pipelines.host import runtime


@cli.command
def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, prepare, train, print. Returns an exit status, as `cli.command` says."""
    options = jobs.parse(arguments)
    launch_variables.check(os.environ)
    planned = jobs.jobs(options)
    runtime.prepare(options.threads)
    return train(options, planned)


def train(options: RunOptions, planned: Sequence[Job]) -> int:
    """Train every job, each with a record of its own. Imports torch, which --help need not wait for."""
    from bench.training import live_view, ranks, run_trials, summaries
    from pipelines.distributed.process_group import check_alike

    status = cli.OK
    with ranks.joined(options.device, options.timeout) as world:
        check_alike(world, run_trials.facts_of_command(options, planned))
        shown = {"is_main": world.is_main, "as_json": options.json}
        count = len(planned) if options.is_interleaved else 1
        views = live_view.make_views(count, interleaved=options.is_interleaved, quiet=options.quiet, **shown)
        report = summaries.make_report(
            views[0].console,
            options.protocol,
            interleaved=options.is_interleaved,
            across=options.across,
            limits=jobs.limits(options, planned),
            **shown,
        )
        try:
            if options.is_interleaved:
                with cli.kept_for_json(options.json):
                    runs = run_trials.train_interleaved(planned, options, world, views)
                for run in runs:
                    report.run_ended(run)
                planned = ()
            for job in planned:
                try:
                    with cli.kept_for_json(options.json):
                        run = run_trials.train(job, options, world, views[0], is_first=job is planned[0])
                    report.run_ended(run)
                except (ValueError, OSError) as error:
                    if world.size > 1 or len(planned) == 1:
                        raise
                    status = cli.print_error(jobs.PROG, ValueError(f"{job.name}: {error}"))  # the others may train
        finally:
            report.all_ended()
    return status


if __name__ == "__main__":
    sys.exit(main())
