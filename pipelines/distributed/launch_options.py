"""What `accelerate launch`, or its configuration file, asks for beyond processes, as options of a recipe.

Accelerate passes it on in environment variables, which its own classes would read. Paceline trains what the recipe
says, so that the record describes the training: `pipelines/preflight.py` refuses a launch that asks for anything else.
Imports no torch.
"""

from collections.abc import Mapping

PRECISIONS = {
    "bf16": {"precision": "autocast"},
    "fp16": {"precision": "half", "half_dtype": "float16"},
}
"""the options for each value of `mixed_precision`"""
UNSUPPORTED = {
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "dynamo_use_fullgraph",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "dynamo_use_dynamic",
    "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "dynamo_use_regional_compilation",
    "ACCELERATE_DEEPSPEED_CONFIG_FILE": "deepspeed_config_file",
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "offload_optimizer_device",
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "offload_param_device",
    "ACCELERATE_GRADIENT_CLIPPING": "gradient_clipping under DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "distributed_type: MEGATRON_LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "parallelism_config",
    "FSDP_ACTIVATION_CHECKPOINTING": "fsdp_activation_checkpointing",
    "FSDP_OFFLOAD_PARAMS": "fsdp_offload_params",
}
"""variables that no option matches, and how each is spelled in a launch file"""
NOTHING = {"", "no", "none", "false"}
"""values that ask for nothing"""
RESHARDS = {"true", "t", "yes", "y", "on", "1", "full_shard"}
"""values of `fsdp_reshard_after_forward` that ask for what Paceline does"""


def requested(variables: Mapping[str, str]) -> dict[str, str]:
    """The options of a recipe that match what was asked for. ValueError for what no option matches."""
    asked = {name: value for name, value in variables.items() if value.lower() not in NOTHING}
    for name, spelled in UNSUPPORTED.items():
        if name in asked:
            raise ValueError(f"accelerate launch asks for {spelled}, which Paceline does not have: leave it out")
    return _strategy(asked, variables) | _precision(asked) | _compilation(asked)


def _precision(asked: Mapping[str, str]) -> dict[str, str]:
    mixed = asked.get("ACCELERATE_MIXED_PRECISION")
    if mixed is None:
        return {}
    if mixed not in PRECISIONS:
        raise ValueError(
            f"accelerate launch asks for mixed_precision {mixed}, which Paceline does not have: launch with "
            "--mixed_precision no, and set precision=autocast for bfloat16"
        )
    return PRECISIONS[mixed]


def _compilation(asked: Mapping[str, str]) -> dict[str, str]:
    backend = asked.get("ACCELERATE_DYNAMO_BACKEND")
    if backend is None:
        return {}
    if backend.lower() != "inductor":
        raise ValueError(
            f"accelerate launch asks for dynamo_backend {backend}, and Paceline compiles with inductor: launch "
            "with --dynamo_backend no and set compile=true"
        )
    return {"compile": "true", "compile_mode": asked.get("ACCELERATE_DYNAMO_MODE", "default")}


def _strategy(asked: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    if "ACCELERATE_USE_DEEPSPEED" in asked:
        options = {
            "parallel.zero_stage": variables.get("ACCELERATE_DEEPSPEED_ZERO_STAGE"),  # not set beside DeepSpeed's file
            "accumulation": asked.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS"),
        }
        chosen = {option: value for option, value in options.items() if value not in (None, "auto")}
        return {"parallel.strategy": "deepspeed"} | chosen
    if "ACCELERATE_USE_FSDP" in asked:
        if asked.get("FSDP_VERSION") != "2":
            raise ValueError(
                "accelerate launch asks for FSDP 1, and Paceline has FSDP2: set fsdp_version: 2 in its file"
            )
        reshard = variables.get("FSDP_RESHARD_AFTER_FORWARD", "true")  # whose "false" asks for something
        if reshard.lower() not in RESHARDS:
            raise ValueError(
                f"accelerate launch asks for fsdp_reshard_after_forward: {reshard}, and Paceline frees the weights of "
                "a block after its forward pass: set it to true, or leave it out"
            )
        return {"parallel.strategy": "fsdp2"}
    return {}
