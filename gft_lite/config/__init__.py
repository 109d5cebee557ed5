"""The run configuration: its schema, and the layers that fill it."""

from gft_lite.config.layers import (
    changed,
    config_from_dict,
    load_config,
    load_preset,
    nearest,
    parse_override,
)
from gft_lite.config.methods import (
    METHOD_CONFIGS,
    AsftMethod,
    ChordMethod,
    DftMethod,
    GftMethod,
    GrpoMethod,
    LuffyMethod,
    MethodConfig,
    PsftMethod,
    SftMethod,
)
from gft_lite.config.presets import card_presets, preset_dir, preset_names, preset_path
from gft_lite.config.schema import (
    EMBEDDED_MODEL,
    DataConfig,
    EvalConfig,
    GroupConfig,
    LoraConfig,
    ModelConfig,
    RunConfig,
    TrainConfig,
)
from gft_lite.config.stages import Stage, method_names, stages_of, total_steps

__all__ = [
    "EMBEDDED_MODEL",
    "METHOD_CONFIGS",
    "AsftMethod",
    "ChordMethod",
    "DataConfig",
    "DftMethod",
    "EvalConfig",
    "GftMethod",
    "GroupConfig",
    "GrpoMethod",
    "LoraConfig",
    "LuffyMethod",
    "MethodConfig",
    "ModelConfig",
    "PsftMethod",
    "RunConfig",
    "SftMethod",
    "Stage",
    "TrainConfig",
    "card_presets",
    "changed",
    "config_from_dict",
    "load_config",
    "load_preset",
    "method_names",
    "nearest",
    "parse_override",
    "preset_dir",
    "preset_names",
    "preset_path",
    "stages_of",
    "total_steps",
]
