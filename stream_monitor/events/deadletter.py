"""Dead letters: what could not be counted or handled, why, and where it came from.

Nothing that arrives is dropped silently. A message that cannot be counted, and an alert that
a subscriber cannot handle, goes to the dead-letter topic as it was, with headers that say what
is wrong; its source position is named, so it can be mended and sent again.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_monitor.records import Output, Record

REASONS = frozenset(
    {
        "empty",  # the message has no value (a tombstone)
        "json",  # not JSON: broken text, not UTF-8, NaN or Infinity
        "not_an_object",  # JSON, but not an object
        "field_missing",  # a required field is absent or null
        "field_type",  # a field has a type that the schema does not allow
        "name",  # a model, version, feature or segment name that cannot be used
        "timestamp",  # not a time, or a time outside 2000 to 2100 (often a wrong unit)
        "future",  # event time further ahead of the log's append time than is allowed
        "too_large",  # more bytes or rows than one message may have
        "limit",  # more features, classes or segments than one event may have
        "arrow",  # an Arrow pack that cannot be read, or fails validation
        "arrow_type",  # an Arrow column of a type that a pack may not have
        "pack",  # Arrow, but not a pack: metadata or required columns are missing
        "tick",  # a control record that cannot be read
    }
)
"""The closed set of reasons: headers, metrics and logs use these words and no others."""

SUBSCRIBER_REASONS = frozenset(
    {
        "handler",  # a subscriber's handler failed at each of its tries
        "rejected",  # a subscriber's handler said that it never will succeed
    }
)
"""What alerts become dead letters for, beside being no alerts (`json`, `field_type`)."""

SCHEMA = "stream-monitor/dead-letter/v1"
MAX_DETAIL = 300
_MAX_ROWS = 900


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message, or some rows of one pack, that cannot be counted.

    `rows` names the rows of a pack that are refused, ascending; the other rows were counted.
    It is empty where the whole message is refused.
    """

    record: Record
    reason: str
    detail: str
    rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.reason not in REASONS | SUBSCRIBER_REASONS:
            known = sorted(REASONS | SUBSCRIBER_REASONS)
            raise ValueError(f"{self.reason!r} is not a dead-letter reason; use one of {known}")

    @property
    def row(self) -> int | None:
        """The first refused row of a pack; None where the whole message is refused."""
        return self.rows[0] if self.rows else None

    @property
    def count(self) -> int:
        """How many events this stands for: the refused rows, or 1 for a whole message."""
        return len(self.rows) or 1

    @property
    def source(self) -> str:
        """Where the message was read: `topic[partition]@offset`."""
        return f"{self.record.topic}[{self.record.partition}]@{self.record.offset}"

    def to_output(self, *, max_bytes: int = 900_000) -> Output:
        """The record for the dead-letter topic: original key, value and headers, and ours.

        A value of more than `max_bytes` is cut and marked (`sm-truncated`: its full size),
        since a broker that refuses the letter would stop the worker; `sm-source` still says
        where the whole message stands.
        """
        record = self.record
        value = record.value or b""
        headers = [
            ("sm-schema", SCHEMA.encode()),
            ("sm-reason", self.reason.encode()),
            ("sm-detail", self.detail[:MAX_DETAIL].encode("utf-8", "replace")),
            ("sm-source", self.source.encode("utf-8", "replace")),
        ]
        if self.rows:
            headers.append(("sm-row", _ranges(self.rows).encode()))
        if len(value) > max_bytes:
            headers.append(("sm-truncated", str(len(value)).encode()))
        kept = [header for header in record.headers if not header[0].startswith("sm-")]
        if sum(len(name) + len(content or b"") for name, content in kept) <= max_bytes // 10:
            headers += kept
        key = record.key if record.key is not None and len(record.key) <= max_bytes // 10 else None
        return Output("dead-letter", key, value[:max_bytes], headers=tuple(headers), view=self)


def _ranges(rows: tuple[int, ...]) -> str:
    """`0-2,7` for (0, 1, 2, 7); cut with `...` where it would not fit a header."""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return text if len(text) <= _MAX_ROWS else text[: text.rindex(",", 0, _MAX_ROWS)] + ",..."
