"""Kafka's own command line tools, run from the same jars as the embedded broker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from stream_monitor.broker.jars import class_path
from stream_monitor.broker.java import find_java
from stream_monitor.errors import BrokerError

# The tools live for a second: the first compiler alone starts them sooner.
_JVM = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def run_tool(
    main_class: str, *arguments: str | Path, stdin: bytes = b"", timeout: float = 60.0
) -> subprocess.CompletedProcess[bytes]:
    """Run a class of Kafka's jars, such as `kafka.tools.StorageTool`, to its end.

    Raises `BrokerError` with the tool's own last words where it fails or takes longer than
    `timeout` seconds.
    """
    command = [str(find_java()), *_JVM, "-cp", class_path(), main_class, *map(str, arguments)]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise BrokerError(f"{main_class} did not end within {timeout:g} s") from error
    if done.returncode != 0:
        words = (done.stderr + done.stdout).decode(errors="replace").strip()[-2000:]
        raise BrokerError(f"{main_class} ended with {done.returncode}: {words}")
    return done


def console_produce(
    brokers: str, topic: str, lines: Iterable[str], *, properties: Sequence[str] = (), timeout: float = 60.0
) -> None:
    """Write each line as one message with Kafka's console producer, acknowledged by all replicas.

    `properties` are producer settings, `name=value`. A line must not hold a line break.
    """
    arguments = ["--bootstrap-server", brokers, "--topic", topic, "--producer-property", "acks=all"]
    for each in properties:
        arguments += ["--producer-property", each]
    text = "".join(f"{line}\n" for line in lines)
    run_tool("org.apache.kafka.tools.ConsoleProducer", *arguments, stdin=text.encode(), timeout=timeout)
