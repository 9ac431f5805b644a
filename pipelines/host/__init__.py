"""The machine: environment capture, NVML, threads, devices and optional dependencies."""
