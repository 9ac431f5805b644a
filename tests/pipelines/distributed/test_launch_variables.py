import pytest

from pipelines.distributed import launch_variables

TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


def without(*names):
    return {name: value for name, value in TORCHRUN.items() if name not in names}


@pytest.mark.parametrize(
    "variables",
    [
        {},
        TORCHRUN,
        TORCHRUN | {"OMPI_COMM_WORLD_SIZE": "4", "PMI_SIZE": "4"},
        {"WORLD_SIZE": "1", "RANK": "0"},
        {"PMI_SIZE": "1"},
        {"SLURM_NTASKS": "16", "SLURM_STEP_NUM_TASKS": "1"},
        TORCHRUN | {"SLURM_STEP_NUM_TASKS": "2"},
        {"OMP_NUM_THREADS": "1", "ACCELERATE_MIXED_PRECISION": "no"},
        {"MASTER_ADDR": "10.0.0.1"},
        TORCHRUN | {"ACCELERATE_MIXED_PRECISION": "no"},
    ],
)
def test_one_process_or_one_of_several(variables):
    launch_variables.check(variables)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE='abc' is not a whole number of at least 1: unset WORLD_SIZE"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0' is not a whole number of at least 1"),
        (TORCHRUN | {"RANK": "-1"}, "RANK='-1' is not a whole number of at least 0"),
        (TORCHRUN | {"LOCAL_RANK": ""}, "LOCAL_RANK='' is not a whole number"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE='x' is not a whole number"),
        (TORCHRUN | {"RANK": "2"}, "RANK=2 must be less than WORLD_SIZE=2"),
        ({"RANK": "1"}, "RANK=1 must be less than WORLD_SIZE=1: unset RANK"),
        (
            {"LOCAL_RANK": "3"},
            "LOCAL_RANK=3 is set without RANK and WORLD_SIZE and LOCAL_WORLD_SIZE and MASTER_ADDR",
        ),
        (without("MASTER_PORT"), "WORLD_SIZE=2 is set without MASTER_PORT: unset WORLD_SIZE"),
        (without("LOCAL_WORLD_SIZE"), "WORLD_SIZE=2 is set without LOCAL_WORLD_SIZE: unset WORLD_SIZE"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 is set without RANK"),
        ({"OMPI_COMM_WORLD_SIZE": "2", "MASTER_ADDR": "x"}, "OMPI_COMM_WORLD_SIZE=2 is set, but mpirun cannot"),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, "SLURM_STEP_NUM_TASKS=2 is set, but srun cannot launch"),
        (TORCHRUN | {"MASTER_PORT": "http"}, "MASTER_PORT='http' is not a port number"),
        ({"PMI_SIZE": "many"}, "PMI_SIZE=many is set, but mpirun cannot"),
        (
            {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"},
            "accelerate launch was asked for several processes and started one.*unset MASTER_ADDR",
        ),
    ],
)
def test_what_another_launcher_left_is_named_with_its_remedy(variables, message):
    with pytest.raises(ValueError, match=message) as raised:
        launch_variables.check(variables)
    assert "launch with torchrun or accelerate launch" in str(raised.value)
    assert "\n" not in str(raised.value)
