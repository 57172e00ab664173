"""A worker's file and the configs topic: what is new in the file is put into effect, once.

What is proposed and why stands in `processors.proposal`; here it is looked up and written.
"""

from __future__ import annotations

import logging

from stream_monitor.config import Config, KafkaConfig
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.config.records import ALL_OTHERS, ConfigActivation, encode_body, encode_config_activation
from stream_monitor.engines.connection import publish
from stream_monitor.engines.kafka.clients import make_consumer, make_reader
from stream_monitor.engines.kafka.positions import committed_offsets, partition_count
from stream_monitor.engines.kafka.reading import TopicFollower, configs_into, read_to_end
from stream_monitor.processors.observe import summaries_partition
from stream_monitor.processors.progress import known_progress
from stream_monitor.processors.proposal import propose
from stream_monitor.windows.panes import NEVER, rfc3339

log = logging.getLogger(__name__)


def agree(config: Config, configs: ConfigDirectory) -> None:
    """Put into effect what the file has that the group never judged by; say what is not followed.

    `configs` must have been read to the topic's end, and refreshes itself. `ConfigError` where the
    file changes the panes of what the group judges.
    """
    written, superseded = put_into_effect(config, configs)
    for activation in written:
        if activation.first_pane:
            log.info("%s: judged by configuration %s from %s on", *told(activation))
    if superseded:
        log.warning(
            "the file is not followed for %s: what it says was replaced in this group by a newer "
            "configuration, which holds (a rolling deploy, or an old file). To go back to the file's: "
            "`stream-monitor config activate --config FILE`",
            ", ".join("models that are not named" if name == ALL_OTHERS else name for name in superseded),
        )


def put_into_effect(
    config: Config, configs: ConfigDirectory, *, revive: bool = False, first_pane: int | None = None
) -> tuple[list[ConfigActivation], list[str]]:
    """Write what `propose` proposes. Returns activations written and models whose file is not followed."""
    newest = newest_of_group(config.kafka)
    proposal = propose(
        config,
        configs,
        None if newest == NEVER else newest,
        was_judged=lambda model: has_state(config.kafka, model),
        revive=revive,
        first_pane=first_pane,
    )
    if proposal.activations:
        # Bodies first: whoever sees an activation can look up what it says.
        bodies = {settings.hash: settings for _, settings in proposal.activations}
        records = [encode_body(settings) for settings in bodies.values()]
        records += [encode_config_activation(activation) for activation, _ in proposal.activations]
        publish(config.kafka, records)
        if configs.refresh is not None:
            configs.refresh()
    return [activation for activation, _ in proposal.activations], proposal.superseded


def told(activation: ConfigActivation) -> tuple[str, str, str]:
    """Who, by which hash, since when: for people."""
    who = "models that are not named" if activation.model == ALL_OTHERS else f"model {activation.model}"
    since = rfc3339(activation.first_pane) if activation.first_pane else "the beginning"
    return who, activation.hash, since


def read_configs(config: Config) -> ConfigDirectory:
    """The configs topic of a group as it is now; the directory reads on by `refresh`."""
    directory = ConfigDirectory(config)
    follower = TopicFollower(config.kafka, {"configs": configs_into(directory)})
    follower.start()
    directory.refresh = follower.refresh
    return directory


def newest_of_group(kafka: KafkaConfig) -> int:
    """The newest event time, µs, that OBSERVE of this group has committed; `NEVER` if none."""
    consumer = make_consumer(kafka, f"{kafka.group}-observe")
    try:
        topic = kafka.topic("predictions")
        partitions = range(partition_count(consumer, topic))
        found = committed_offsets(consumer, topic, partitions)
    finally:
        consumer.close()
    return max((known_progress(metadata).newest for _, metadata in found.values()), default=NEVER)


def has_state(kafka: KafkaConfig, model: str) -> bool:
    """Whether a checkpoint of this group holds a version of the model."""
    consumer = make_reader(kafka)
    try:
        partition = summaries_partition(model, partition_count(consumer, kafka.topic("summaries")))
        begin = f"{kafka.group}-judge\x1f{model}\x1e".encode()
        records = read_to_end(consumer, kafka.topic("state"), partition)
        return any((record.key or b"").startswith(begin) for record in records if record.value is not None)
    finally:
        consumer.close()
