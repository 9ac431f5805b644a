"""Check the environment variables of launchers before anything uses them.

torchrun and `accelerate launch` for several processes set all of `NEEDED`. If only some are set, or those of MPI,
another launcher set them. Accelerate would wait for processes that do not exist, or each process take all cores of its
host. Imports no torch.
"""

from collections.abc import Mapping

NUMBERS = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
"""the least value of each"""
NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
OTHER_SIZES = {
    "OMPI_COMM_WORLD_SIZE": "mpirun",
    "PMI_SIZE": "mpirun",
    "MV2_COMM_WORLD_SIZE": "mpirun",
    "SLURM_STEP_NUM_TASKS": "srun",
}
"""the number of processes that a launcher has started without the variables above"""
REMEDY = "launch with torchrun or accelerate launch --multi_gpu --num_processes N (on CPUs too)"


def check(variables: Mapping[str, str]) -> None:
    """ValueError, one line that names the variable, if they describe neither one process nor one of several."""
    for name, least in NUMBERS.items():
        value = variables.get(name, str(least))
        if not value.isdecimal() or int(value) < least:
            raise ValueError(f"{name}={value!r} is not a whole number of at least {least}: unset {name}, or {REMEDY}")
    size, rank = int(variables.get("WORLD_SIZE", "1")), int(variables.get("RANK", "0"))
    if rank >= size:
        raise ValueError(f"RANK={rank} must be less than WORLD_SIZE={size}: unset RANK, or {REMEDY}")
    cause = "WORLD_SIZE" if size > 1 else "LOCAL_RANK" if "LOCAL_RANK" in variables else None
    missing = [name for name in NEEDED if name not in variables]
    if cause and missing:
        raise ValueError(
            f"{cause}={variables[cause]} is set without {' and '.join(missing)}: unset {cause}, or {REMEDY}"
        )
    if {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= variables.keys() and "RANK" not in variables:
        raise ValueError(  # huggingface/accelerate#2741
            "accelerate launch was asked for several processes and started one, as it does with --cpu, and without "
            f"--multi_gpu where there are not several GPUs: unset MASTER_ADDR, or {REMEDY}"
        )
    if not variables.get("MASTER_PORT", "0").isdecimal():
        raise ValueError(f"MASTER_PORT={variables['MASTER_PORT']!r} is not a port number: unset it, or {REMEDY}")
    for name, launcher in OTHER_SIZES.items():
        if variables.get(name, "1") != "1" and missing:
            raise ValueError(
                f"{name}={variables[name]} is set, but {launcher} cannot launch this: unset {name}, or {REMEDY}"
            )
