"""A worker: OBSERVE and JUDGE on Kafka, each in a thread of its own, until told to stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaException

from stream_monitor.baselines.directory import BaselineDirectory, same_activation
from stream_monitor.baselines.profile import Baseline
from stream_monitor.baselines.records import ANY_VERSION, Activation, encode_activation
from stream_monitor.config import Config, KafkaConfig
from stream_monitor.config.directory import ConfigDirectory
from stream_monitor.engines.connection import admin_of, find_topics, publish
from stream_monitor.engines.kafka.agreement import agree
from stream_monitor.engines.kafka.judge import JudgeStage
from stream_monitor.engines.kafka.observe import ObserveStage
from stream_monitor.engines.kafka.reading import TopicFollower, baselines_into, configs_into
from stream_monitor.engines.kafka.stage import Shared, Stage
from stream_monitor.engines.reach import Complaints, why
from stream_monitor.engines.rights import UNUSED, lacks
from stream_monitor.engines.telemetry import Telemetry
from stream_monitor.errors import BrokerError, StageHungError, StreamMonitorError
from stream_monitor.records import TOPICS

log = logging.getLogger(__name__)

POLL_S = 0.2
STOP_TIMEOUT_S = 30.0
HUNG_S = 60.0
"""Longer than any sequence of bounded calls between two rounds of a loop should take."""


class KafkaWorker:
    """Both stages. If one fails the other is stopped in order, and `run` raises its error.

    `baselines` are those that the configuration names, by model: put on the topic at the start
    where they are not there yet.
    """

    def __init__(
        self, config: Config, telemetry: Telemetry, baselines: Mapping[str, Baseline] | None = None
    ) -> None:
        self._config = config
        self._baselines = baselines or {}
        self.stop = threading.Event()
        self._directory = BaselineDirectory()
        self._configs = ConfigDirectory(config)
        self._follower = TopicFollower(
            config.kafka,
            {"baselines": baselines_into(self._directory), "configs": configs_into(self._configs)},
        )
        self._directory.refresh = self._configs.refresh = self._follower.refresh
        shared = Shared(config, telemetry, self.stop, self._directory, self._configs, self._follower)
        self.stages: list[Stage] = [ObserveStage(shared), JudgeStage(shared)]
        self._failed: list[BaseException] = []

    def run(self, on_poll: Callable[[], None] = lambda: None) -> None:
        """Until `stop` is set or a stage fails; `on_poll` is called some times a second."""
        check_topics(self._config.kafka)
        self._follower.start()
        self._publish()
        agree(self._config, self._configs)
        threads = [
            threading.Thread(target=self._guarded, args=(stage,), name=stage.name, daemon=True)
            for stage in self.stages
        ]
        for thread in threads:
            thread.start()
        while not self.stop.wait(POLL_S):
            on_poll()
            self._check_beats()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in threads:
            # Bounded: a stage that hangs in a call is left to the transaction timeout.
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._failed:
            failed = self._failed[0]
            if isinstance(failed, KafkaException):
                raise BrokerError(
                    why(self._config.kafka, "working", failed.args[0], Complaints())
                ) from failed
            raise failed
        if any(thread.is_alive() for thread in threads):
            raise StageHungError(
                f"a stage did not end within {STOP_TIMEOUT_S:.0f} s; what it had open is aborted"
            )
        self._follower.close()

    def _check_beats(self) -> None:
        """`StageHungError` where a stage's loop has not gone round for long: its calls are all bounded."""
        now = time.monotonic()
        for stage in self.stages:
            if now - stage.beat > HUNG_S:
                self.stop.set()
                raise StageHungError(
                    f"{stage.name}: in one call for {HUNG_S:.0f} s; ending, so that a restart goes on from "
                    "the last commit"
                )

    def _publish(self) -> None:
        """Activate the configured baselines for any version; several workers may do it at once."""
        wanted = [Activation(model, ANY_VERSION, 0, b) for model, b in sorted(self._baselines.items())]
        known = self._directory.since(0)
        missing = [a for a in wanted if not any(same_activation(a, old) for old in known)]
        if missing:
            publish(self._config.kafka, [encode_activation(activation) for activation in missing])
            self._follower.refresh()
            log.info("published baselines of %s", ", ".join(a.model for a in missing))

    def _guarded(self, stage: Stage) -> None:
        try:
            stage.run()
        except BaseException as error:
            # Whatever it is must end the worker: a stage that is silently gone loses the promise.
            # What we raise on purpose says all in its message; a traceback is for the rest.
            expected = isinstance(error, StreamMonitorError)
            log.log(logging.ERROR, "%s failed: %s", stage.name, error, exc_info=None if expected else error)
            self._failed.append(error)
        finally:
            self.stop.set()


def check_topics(kafka: KafkaConfig) -> None:
    """`BrokerError` where no broker answers, a topic or a right is missing: before a transaction meets it."""
    with admin_of(kafka, "looking for the topics") as admin:
        present = find_topics(admin, kafka, [name for name in TOPICS if name not in UNUSED])
        missing = lacks(admin, kafka, present)
    if missing:
        user = kafka.properties.get("sasl.username")
        raise BrokerError(
            f"Kafka at {kafka.brokers}: {f'user {user}' if user else 'this client'} lacks the rights "
            f"{', '.join(map(str, missing))}: `stream-monitor doctor` has the commands that give them"
        )
    states, summaries = (len(present[name].partitions) for name in ("state", "summaries"))
    if states < summaries:
        raise BrokerError(
            f"topic {kafka.topic('state')} has {states} partitions, {kafka.topic('summaries')} has "
            f"{summaries}: state lies in the partition of the same number, so it needs as many"
        )
