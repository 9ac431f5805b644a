"""The host as a run has it: all threads, freed memory kept. Must come before anything imports torch."""

from pipelines import host

host.prepare()
