"""The launch files: each is read by Accelerate's own loader, and those for a CPU launch and train."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from bench import sweep
from bench.command_line import jobs
from bench.training import cluster
from pipelines.host import runtime
from tests.bench.conftest import ONE_THREAD, RUN, SMALL, launch, only_run, wait

LAUNCH = Path(__file__).resolve().parents[1] / "configs" / "launch"
RAY_JOB = LAUNCH / "rayjob.yaml"
RAY_JOB_SCHEMA = yaml.safe_load(Path(__file__).with_name("rayjob_schema.yaml").read_text(encoding="utf-8"))
FILES = sorted(set(LAUNCH.glob("*.yaml")) - {RAY_JOB})
PROCESSES = {"cpu-1": 1, "cpu-2": 2, "cpu-4": 4, "gpu-1": 1, "gpu-8": 8, "two-machines": 16, "fsdp2": 8}
PROCESSES |= {f"deepspeed-zero-{stage}": 8 for stage in (1, 2, 3)}
STRATEGIES = {"fsdp2": ("FSDP", "FSDP2", ["parallel.strategy=fsdp2"])} | {
    f"deepspeed-zero-{stage}": (
        "DEEPSPEED",
        f"ZeRO-{stage}",
        ["parallel.strategy=deepspeed", f"parallel.zero_stage={stage}"],
    )
    for stage in (1, 2, 3)
}
"""Of a file that asks for a strategy: the kind of launch, the strategy that runs, and what the recipe must say"""


def test_every_file_is_known():
    assert {path.stem for path in FILES} == set(PROCESSES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_it(path):
    config = load_config_from_file(str(path))
    processes = PROCESSES[path.stem]
    assert config.num_processes == processes
    assert config.num_machines == (2 if path.stem == "two-machines" else 1)
    kind = STRATEGIES[path.stem][0] if path.stem in STRATEGIES else "NO" if processes == 1 else "MULTI_GPU"
    assert config.distributed_type.value == kind
    assert config.mixed_precision == "no"


@pytest.mark.parametrize("name", ["cpu-1", "gpu-1"])
def test_accelerate_prints_nothing_of_its_own(tmp_path, name):
    (tmp_path / "script.py").write_text("")
    command = ("-m", "accelerate.commands.launch", "--config_file", LAUNCH / f"{name}.yaml", "script.py")
    assert wait(launch(*command, cwd=tmp_path)) == (0, "", "")


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize("name", ["slurm.sh", "slurm-array.sh", "slurm-ray.sh"])
def test_the_slurm_scripts_are_bash(name):
    subprocess.run(["bash", "-n", LAUNCH / name], check=True)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_each_task_of_the_slurm_array_trains_its_own_seed(tmp_path):
    (tmp_path / "srun").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "7", "SLURM_CPUS_PER_TASK": "8"}
    command = ["bash", LAUNCH / "slurm-array.sh", "mnist/base"]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout.split()
    assert ran[:3] == ["--cpus-per-task=8", "python", "bench/run.py"]
    options = jobs.parse(ran[3:])
    assert (options.words, options.seed, options.trials, options.threads) == (["mnist/base"], 7, 1, 8)


@pytest.mark.parametrize("name", ["slurm.sh", "slurm-array.sh", "slurm-ray.sh"])
def test_a_step_of_slurm_has_the_cpus_of_its_job(name):
    """srun has one CPU a task by itself since Slurm 22.05."""
    text = (LAUNCH / name).read_text(encoding="utf-8")
    assert "#SBATCH --cpus-per-task=" in text
    starts = [line for line in text.splitlines() if line.startswith("srun ")]
    assert starts
    assert all('--cpus-per-task="$SLURM_CPUS_PER_TASK"' in line for line in starts)


def test_the_array_says_that_it_has_one_task():
    """Without that sbatch refuses --gpus-per-task, which the script's first lines recommend."""
    assert "\n#SBATCH --ntasks=1\n" in (LAUNCH / "slurm-array.sh").read_text(encoding="utf-8")


def ray_job():
    return yaml.safe_load(RAY_JOB.read_text(encoding="utf-8"))


def test_the_ray_job_is_one_of_kuberay():
    jsonschema.validate(ray_job(), RAY_JOB_SCHEMA)
    assert (ray_job()["apiVersion"], ray_job()["kind"]) == ("ray.io/v1", "RayJob")


@pytest.mark.parametrize(
    ("key", "value"), [("groupname", "gpu"), ("rayStartParams", {"num-cpus": 0}), ("replicas", "4"), ("template", {})]
)
def test_a_ray_job_that_kuberay_would_refuse_is_found(key, value):
    job = ray_job()
    (workers,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    workers[key] = {"spec": {}} if value == {} else value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, RAY_JOB_SCHEMA)


def test_the_command_of_the_ray_job_parses_and_its_pods_lend_no_cpu():
    spec = ray_job()["spec"]
    python, script, *words = shlex.split(spec["entrypoint"])
    assert (python, script) == ("python", "bench/sweep.py")
    assert sweep.parse(words).cluster == "auto"
    head, (workers,) = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"]
    for group in (head, workers):
        (container,) = group["template"]["spec"]["containers"]
        assert {"name": cluster.NICENESS, "value": "0"} in container["env"]
        assert container["resources"]["limits"] == container["resources"]["requests"], "no CPU is lent to other pods"


def launch_with(name, folder, *command):
    """What the caller of `accelerate launch` sees of a command under a launch file."""
    if "deepspeed" in name:
        pytest.importorskip("deepspeed", reason="the extra deepspeed is not installed")
    file = LAUNCH / f"{name}.yaml"
    return wait(launch("-m", "accelerate.commands.launch", "--config_file", file, *command, cwd=folder))


@pytest.mark.slow
def test_one_process_trains_on_all_cores(tmp_path):
    if runtime.cores() == 1:
        pytest.skip("there is one core")
    ended = launch_with("cpu-1", tmp_path, RUN, *SMALL, "--trials", "1")
    assert ended.status == 0, ended.err
    record = only_run(tmp_path / "runs").record
    assert (record.status, record.world_size, record.environment.ranks) == ("finished", 1, [])
    assert record.environment.strategy == "none"
    assert record.environment.threads.intra_op == runtime.cores(), "the launcher's OMP_NUM_THREADS=1 was obeyed"


@pytest.mark.slow
def test_two_processes_train_and_write_one_record(tmp_path):
    ended = launch_with("cpu-2", tmp_path, RUN, *SMALL, *ONE_THREAD, "--trials", "1")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.count("trial 1/1, seed 0") == ended.out.count("record: ") == 1
    record = only_run(tmp_path / "runs").record
    assert (record.status, record.world_size, record.environment.strategy) == ("finished", 2, "DDP")
    assert [rank["rank"] for rank in record.environment.ranks] == [0, 1]


REQUESTED = """
import os, sys
from bench import run
from pipelines.distributed import launch_options
found = " ".join(f"{option}={value}" for option, value in launch_options.requested(os.environ).items())
os.write(1, f"{found}\\n".encode())  # in one part: the lines of two processes that print came mixed
sys.exit(run.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsdp2", "deepspeed-zero-2"])
def test_what_a_file_asks_for_is_understood_and_trained(tmp_path, name):
    """A recipe that says something else is refused (tests/pipelines/test_preflight.py)."""
    _, strategy, config = STRATEGIES[name]
    (tmp_path / "script.py").write_text(REQUESTED)
    words = ("script.py", *SMALL, *ONE_THREAD, "--trials", "1", *config)
    ended = launch_with(name, tmp_path, "--num_processes", 2, *words)
    assert ended.status == 0, ended.err
    understood = [
        line for line in ended.out.splitlines() if line.startswith("parallel.")
    ]  # DeepSpeed has its own lines
    assert understood == [" ".join(config)] * 2
    record = only_run(tmp_path / "runs").record
    assert (record.status, record.world_size, record.environment.strategy) == ("finished", 2, strategy)
