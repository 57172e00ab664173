"""What watches a worker's stages: a loop that does not go round ends the process."""

from __future__ import annotations

import pytest

from stream_monitor.config import Config
from stream_monitor.engines.kafka.worker import HUNG_S, KafkaWorker
from stream_monitor.errors import StageHungError
from stream_monitor.serve.metrics import Metrics


def test_a_stage_that_does_not_come_back_ends_the_worker() -> None:
    worker = KafkaWorker(Config(), Metrics())
    worker._check_beats()
    assert not worker.stop.is_set()
    worker.stages[1].beat -= HUNG_S - 1
    worker._check_beats()
    worker.stages[1].beat -= 2
    with pytest.raises(StageHungError, match="judge: in one call"):
        worker._check_beats()
    assert worker.stop.is_set()
