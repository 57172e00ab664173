"""Which exposition format a scraper wants: Prometheus text, or OpenMetrics where it prefers that.

prometheus_client has a chooser of its own; it ignores q values and answers with whatever
version is asked for, also one that it does not write.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from prometheus_client import CollectorRegistry, exposition
from prometheus_client.openmetrics import exposition as openmetrics

Encoder = Callable[[CollectorRegistry], bytes]

_TEXT, _OPENMETRICS = "text/plain", "application/openmetrics-text"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def encoder(accept: str | None) -> tuple[Encoder, str]:
    """(encoder, content type) for an Accept header.

    OpenMetrics 1.0 only if it is named (a wildcard is not enough) in a version that 1.0 serves
    and with a q no lower than the one for text/plain.
    """
    best = {_OPENMETRICS: 0.0, _TEXT: 0.0}
    for part in (accept or "").split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        fields = dict(p.replace(" ", "").partition("=")[::2] for p in parameters)
        if kind.lower() == _OPENMETRICS and not _serves(fields.get("version", "")):
            continue
        if kind.lower() in best:
            best[kind.lower()] = max(best[kind.lower()], quality(fields.get("q", "1")))
    if best[_OPENMETRICS] > 0 and best[_OPENMETRICS] >= best[_TEXT]:
        return openmetrics.generate_latest, OPENMETRICS_TYPE
    return exposition.generate_latest, TEXT_TYPE


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether an Accept-Encoding header names gzip with a q above 0."""
    for part in (accept_encoding or "").split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind.lower() == "gzip":
            fields = dict(p.replace(" ", "").partition("=")[::2] for p in parameters)
            return quality(fields.get("q", "1")) > 0
    return False


def quality(text: str) -> float:
    """A q value in [0, 1]; one that cannot be read counts as 0 (not wanted)."""
    return min(float(text), 1.0) if re.fullmatch(r"\d(\.\d{0,3})?", text) else 0.0


def _serves(version: str) -> bool:
    return version == "" or re.fullmatch(r'"?1\.\d+\.\d+"?', version) is not None
