"""Whether Kafka answers: known within seconds, and what stands in the way where it does not.

librdkafka tries on for ever and says by callbacks what it meets; a command has to end with one
sentence. `reach` asks until the cluster answers or `REACH_S` are over (at once where waiting
mends nothing: a wrong password, a wrong certificate), and `why` turns what the client said into
cause and remedy.
"""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import ConfigResource

from stream_monitor.config import KafkaConfig
from stream_monitor.errors import BrokerError

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, ClusterMetadata

REACH_S = 8.0
_ROUND_S = 1.0
_SURE = frozenset({"_AUTHENTICATION", "_SSL"})
"""Met twice, no waiting mends it."""
_WAITING = frozenset({"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE", *_SURE})
# `host:port/17: ...`: a broker that the cluster named, where `/bootstrap` is one that was configured.
_NAMED = re.compile(r"(?:\w+://)?(?P<address>[^/\s]+)/\d+: ")
_ADDRESS = "mend the address (`--brokers`, the variable KAFKA_BROKERS, or `kafka.brokers`)"
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("Connection refused", f"Nothing listens there: start the broker, or {_ADDRESS}"),
    ("Failed to resolve", f"That name is not known here: {_ADDRESS}"),
    ("certificate verify failed", "`ssl.ca.location` must name who signed the brokers' certificate"),
    ("PLAINTEXT broker listener", "That listener speaks no TLS: mend `security.protocol` or the port"),
    # The same seen a moment later: the broker hung up before the client could tell what it is.
    ("SSL connection closed by peer", "That listener speaks no TLS: mend `security.protocol` or the port"),
    ("SSL", "TLS does not come about: mend `security.protocol`, the port, or the `ssl.` properties"),
    ("Invalid username or password", "Mend `sasl.username` and `sasl.password` under `kafka.properties`"),
    ("current SASL state", "That listener wants no SASL: mend `security.protocol` or the port"),
    ("SASL", "Mend `sasl.mechanism`, `sasl.username` and `sasl.password` under `kafka.properties`"),
    ("imed out", f"Nothing answers: see that no firewall is between, or {_ADDRESS}"),
)  # fmt: skip


class Complaints:
    """What a client says of its connections (`error_cb`), instead of printing each retry."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._last = ""
        self._named = ""

    def __call__(self, error: KafkaError) -> None:
        name = error.name()
        # The summary that all brokers are down says less than the reason that came before it.
        if name == "_ALL_BROKERS_DOWN":
            return
        self._times[name] = self._times.get(name, 0) + 1
        # What the client says of being cut off is no reason where it had one before.
        if not self._last or name in _SURE or not _SURE & self._times.keys():
            self._last = error.str()
        if _NAMED.match(error.str()):
            self._named = error.str()

    @property
    def last(self) -> str:
        """The complaint that says most; empty where there was none."""
        return self._named or self._last

    @property
    def sure(self) -> bool:
        """Whether waiting is of no use."""
        return any(self._times.get(name, 0) >= 2 for name in _SURE)

    def settings(self) -> dict[str, Any]:
        """Client settings that send the complaints here."""
        return {"log_level": 0, "error_cb": self}


def reach(admin: AdminClient, kafka: KafkaConfig, doing: str, complaints: Complaints) -> ClusterMetadata:
    """The cluster's metadata, once one of the brokers that it names has answered.

    `BrokerError` with the cause after `REACH_S` at most.
    """
    deadline = time.monotonic() + REACH_S
    while True:
        left = deadline - time.monotonic()
        try:
            found = admin.list_topics(timeout=max(0.1, min(_ROUND_S, left)))
        except KafkaException as error:
            admin.poll(0)  # delivers the complaints
            refused = error.args[0].name() not in _WAITING
            if refused or complaints.sure or time.monotonic() >= deadline:
                raise BrokerError(why(kafka, doing, error.args[0], complaints)) from error
        else:
            if found.brokers:
                return _heard_from(admin, kafka, doing, complaints, found, deadline)
        time.sleep(0.05)


def _heard_from(
    admin: AdminClient,
    kafka: KafkaConfig,
    doing: str,
    complaints: Complaints,
    found: ClusterMetadata,
    deadline: float,
) -> ClusterMetadata:
    """`found`, if any of its brokers answers at the address that the cluster gives for it."""
    answers = broker_answers(admin, found, max(1.0, deadline - time.monotonic()))
    worst = None
    for failure in answers.values():
        if failure is None:
            return found
        worst = failure
    admin.poll(0)
    assert worst is not None
    raise BrokerError(why(kafka, doing, worst, complaints))


def broker_answers(
    admin: AdminClient, found: ClusterMetadata, timeout: float
) -> dict[int, KafkaError | None]:
    """By broker id: None where it answered at its own address within `timeout` seconds, else why not.

    The question is for its settings; a refusal is an answer.
    """
    asked = {
        number: admin.describe_configs(
            [ConfigResource(ConfigResource.Type.BROKER, str(number))], request_timeout=timeout
        )
        for number in found.brokers
    }
    answers: dict[int, KafkaError | None] = {}
    for number, futures in asked.items():
        answers[number] = None
        for future in futures.values():
            try:
                future.result(timeout + 1.0)
            except KafkaException as error:
                if error.args[0].name() in _WAITING:
                    answers[number] = error.args[0]
    return answers


def why(kafka: KafkaConfig, doing: str, error: KafkaError, complaints: Complaints) -> str:
    """One message: where, what was being done, what came in the way, what to do."""
    if right := lacking(kafka, error):
        return f"Kafka at {kafka.brokers}: {doing}: {right}"
    said = complaints.last
    words = said or error.str().rstrip(".")
    if error.name() not in _WAITING and not said:
        return f"Kafka at {kafka.brokers}: {doing}: {words}"
    return f"Kafka at {kafka.brokers}: {doing}: {words}. {_remedy(kafka, words, heard=bool(said))}"


def lacking(kafka: KafkaConfig, error: KafkaError) -> str:
    """What to say of an error that means a missing right; empty for any other."""
    kind = error.name().removesuffix("_AUTHORIZATION_FAILED")
    if kind == error.name():
        return ""
    what = kind.replace("_", " ").lower()
    user = kafka.properties.get("sasl.username")
    who = f"user {user}" if user else "this client"
    return (
        f"{who} lacks a right on a {what} ({error.str().rstrip('.')}): "
        "`stream-monitor doctor` says which, and how to give it"
    )


def told(error: KafkaError) -> str:
    """What the client says of an error, with the remedy where one error has one wherever it is met."""
    if error.code() == KafkaError.KAFKA_STORAGE_ERROR:
        return (
            f"{error.str()}: the broker's disk is full or broken; make room and start the broker, then this"
        )
    return error.str()


def _remedy(kafka: KafkaConfig, words: str, *, heard: bool) -> str:
    named = _NAMED.match(words)
    if named and named["address"] not in [each.strip() for each in kafka.brokers.split(",")]:
        return (
            f"The cluster itself gives {named['address']} as a broker's address: mend the brokers' "
            "`advertised.listeners`, or make that address reachable from here"
        )
    for sign, remedy in _REMEDIES:
        if heard and sign in words:
            return remedy
    if any(listens(address) for address in kafka.brokers.split(",")):
        protocol = kafka.properties.get("security.protocol", "plaintext")
        return (
            f"Something listens there but breaks the connection off: `security.protocol` ({protocol}) "
            "does not fit that listener (TLS or SASL is missing here), or it is no Kafka broker"
        )
    return f"Nothing answers: start the broker, or {_ADDRESS}"


def listens(address: str, timeout: float = 1.0) -> bool:
    """Whether a TCP connection to `host:port` comes about."""
    host, _, port = address.strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=timeout).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
