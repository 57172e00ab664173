"""Figures as people write them; equal values give equal text, unequal ones differ."""

from __future__ import annotations

from collections.abc import Callable

DIGITS = 4
_MOST_DIGITS = 15


def number(value: float, digits: int = DIGITS) -> str:
    """52,310 · 0.0125 · 3.2e-05: rounded to `digits` that count, but never before the point."""
    if value != 0.0 and not 1e-4 <= abs(value) < 1e15:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{power}"
    exponent = int(f"{value:e}".partition("e")[2])
    text = f"{value:,.{max(0, digits - 1 - exponent)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float, digits: int = DIGITS) -> str:
    """34.2% · 0.03% · 100%: one decimal, more where it is small."""
    value = 100.0 * share
    if value >= 10.0 or value == 0.0:
        text = f"{value:.{digits - 3}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"
    return number(value, digits - 2) + "%"


def apart(form: Callable[[float, int], str], one: float, other: float) -> tuple[str, str]:
    """Two figures in the form `number` or `percent`, with as many digits as tell them apart."""
    digits = DIGITS
    while form(one, digits) == form(other, digits) and one != other and digits < _MOST_DIGITS:
        digits += 1
    return form(one, digits), form(other, digits)
