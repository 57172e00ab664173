"""A topic that is not there: said within seconds, by its name, with what to do.

librdkafka lets messages to a topic that no broker knows wait for 30 s
(`topic.metadata.propagation.max.ms`), and only then says so by failing them. The wait stays: it is
what saves the first events to a topic that was made just now. A thread asks meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_monitor.sdk.sending import ProducerLike

REMEDY = "is the name right? `stream-monitor topics create` makes Stream Monitor's"

_ABSENT = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"})
_COMING = frozenset({"LEADER_NOT_AVAILABLE"})
_FIRST_S = 1.0  # most first messages are in Kafka by then, and nothing needs to be asked
_MOST_S = 30.0
_ASK_S = 5.0


def not_there(topic: str) -> str:
    """What is said of a topic that no broker knows."""
    return f"topic `{topic}` is not there; {REMEDY}"


def is_absence(error: object) -> bool:
    """Whether an error of the client (or the exception that has it) is that there is no such topic."""
    return _name(error.args[0] if isinstance(error, Exception) and error.args else error) in _ABSENT


def watch(
    producer: ProducerLike, topic: str, *, needed: Callable[[], bool], tell: Callable[[str], None]
) -> threading.Thread:
    """Ask for `topic` on a thread while `needed`; `tell` once where it is not there.

    Returns the thread, at once. Two answers in a row have to say so: a topic that the first message made, or
    that another program did, may not have reached the broker that is asked first.
    """
    thread = threading.Thread(
        target=_watch, args=(producer, topic, needed, tell), name="topic-watch", daemon=True
    )
    thread.start()
    return thread


def _watch(
    producer: ProducerLike, topic: str, needed: Callable[[], bool], tell: Callable[[str], None]
) -> None:
    wait, absent = _FIRST_S, 0
    while True:
        time.sleep(wait)
        if not needed():
            return
        try:
            error = producer.list_topics(topic, _ASK_S).topics[topic].error
        except Exception:  # noqa: BLE001 - no broker answers, of which the client tells by itself
            wait = min(2 * wait, _MOST_S)
            continue
        wait = _FIRST_S
        if _name(error) in _COMING:
            absent = 0
        elif not is_absence(error):
            return
        elif absent:
            if needed():
                tell(not_there(topic))
            return
        else:
            absent = 1


def _name(error: object) -> str | None:
    name = getattr(error, "name", None)
    return name() if callable(name) else None
