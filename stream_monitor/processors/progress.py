"""What OBSERVE writes beside a committed offset: all that the partition's next owner needs.

`sm2 NEWEST SENT PAST STARTED`, whole numbers. Kafka keeps at most 4,096 bytes of it, and for
every commit, so it stays small. `sm1 NEWEST SENT` is what workers before it wrote: their groups
have no past.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_monitor.errors import StateError
from stream_monitor.windows.panes import NEVER

_NOW, _BEFORE = "sm2", "sm1"
_LENGTHS = {_NOW: 5, _BEFORE: 3}


@dataclass(frozen=True, slots=True)
class Progress:
    """Times in µs, `NEVER` where there is none."""

    newest: int = NEVER
    """Newest event time."""
    sent: int = NEVER
    """The watermark last told to JUDGE."""
    past: int = 0
    """The partition's past are the offsets below; 0 once it has been left, or where it has none."""
    started: int = 0
    """Partitions of the topic when the group first started: those above were added later."""

    def encode(self) -> str:
        """As offset metadata."""
        return f"{_NOW} {self.newest} {self.sent} {self.past} {self.started}"

    @classmethod
    def decode(cls, metadata: str | None, where: str) -> Progress:
        """From offset metadata; nothing is known where there is none.

        `StateError`, naming the partition `where`, if another program or a newer version wrote it.
        """
        if not metadata:
            return cls()
        form, *fields = metadata.split(" ")
        try:
            if len(fields) + 1 == _LENGTHS.get(form):
                return cls(*map(int, fields))
        except ValueError:
            pass  # what follows says what it looks like
        raise StateError(
            f"{where}: offset metadata {metadata[:80]!r} is not of a known version; the group was used by "
            "another program or a newer worker: run that one, or use another `kafka.group`"
        )


def known_progress(metadata: str | None) -> Progress:
    """The same, for a look at partitions of others: nothing is known of what cannot be read."""
    try:
        return Progress.decode(metadata, "")
    except StateError:
        return Progress()
