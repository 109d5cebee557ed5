"""The run configuration: its schema, and the layers that fill it."""

from gft_lite.config.layers import (
    config_from_dict,
    load_config,
    load_preset,
    parse_override,
    preset_dir,
    preset_names,
)
from gft_lite.config.schema import (
    EMBEDDED_MODEL,
    METHOD_CONFIGS,
    DataConfig,
    DftMethod,
    EvalConfig,
    GftMethod,
    GroupConfig,
    GrpoMethod,
    LoraConfig,
    MethodConfig,
    ModelConfig,
    RunConfig,
    SftMethod,
    TrainConfig,
)

__all__ = [
    "EMBEDDED_MODEL",
    "METHOD_CONFIGS",
    "DataConfig",
    "DftMethod",
    "EvalConfig",
    "GftMethod",
    "GroupConfig",
    "GrpoMethod",
    "LoraConfig",
    "MethodConfig",
    "ModelConfig",
    "RunConfig",
    "SftMethod",
    "TrainConfig",
    "config_from_dict",
    "load_config",
    "load_preset",
    "parse_override",
    "preset_dir",
    "preset_names",
]
