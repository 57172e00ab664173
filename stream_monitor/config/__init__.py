"""The configuration: one YAML file, typed, the same for live use and replay.

Everything has a default but the models' names, and a model that is not named is watched with
the defaults.
"""

from stream_monitor.config.load import config_from, load_config
from stream_monitor.config.settings import (
    AlertBudget,
    AlertConfig,
    ColumnMapping,
    Config,
    Defaults,
    IdleConfig,
    KafkaConfig,
    LearnConfig,
    Limits,
    ModelConfig,
    ResolvedModel,
    Shares,
    WorkerConfig,
)

__all__ = [
    "AlertBudget",
    "AlertConfig",
    "ColumnMapping",
    "Config",
    "Defaults",
    "IdleConfig",
    "KafkaConfig",
    "LearnConfig",
    "Limits",
    "ModelConfig",
    "ResolvedModel",
    "Shares",
    "WorkerConfig",
    "config_from",
    "load_config",
]
