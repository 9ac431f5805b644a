"""This process among all that train a run: joining them, and leaving them in order whatever happens."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

from bench.command_line import cli, jobs
from pipelines.distributed import failures, process_group
from pipelines.distributed.process_group import World
from pipelines.host.errors import with_causes


@contextlib.contextmanager
def joined(device: str, timeout: float | None) -> Iterator[World]:
    """The processes of this run. Raises as `process_group.join`.

    Where another process is lost, this one cannot leave the group in order, which would wait for the lost one. It
    prints why and ends at once. What the caller can mend is printed here too where there are several processes: the
    launcher stops rank 0 as soon as another one has ended.
    """
    world = process_group.join(device, timeout or process_group.TIMEOUT)
    try:
        yield world
    except failures.PeerError as error:
        cli.print_error(jobs.PROG, error)
        sys.stdout.flush()
        os._exit(cli.INTERNAL)
    except BaseException as error:
        _drop_locals(error)
        if world.size == 1 or not isinstance(error, ValueError | OSError):
            raise
        status = cli.print_error(jobs.PROG, error)
        failures.wait_for_report_of_main(world)
        raise SystemExit(status) from None
    finally:
        process_group.leave()


def _drop_locals(error: BaseException) -> None:
    """Release what the frames of an exception hold. A replicated network must be gone before its process group is."""
    for one in with_causes(error):
        traceback.clear_frames(one.__traceback__)
