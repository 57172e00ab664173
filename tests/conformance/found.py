"""What there is, found by looking through the packages: nothing new can be forgotten."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import stream_monitor.detectors
import stream_monitor.sketches
from stream_monitor.detectors.base import Detector


def _classes(package: ModuleType) -> list[type[Any]]:
    found = set()
    for module in pkgutil.iter_modules(package.__path__):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        for _, member in inspect.getmembers(loaded, inspect.isclass):
            if member.__module__.startswith(package.__name__):
                found.add(member)
    return sorted(found, key=lambda member: (member.__module__, member.__name__))


DETECTORS: list[type[Detector]] = [
    one
    for one in _classes(stream_monitor.detectors)
    if issubclass(one, Detector) and not inspect.isabstract(one)
]
SKETCHES: list[type[Any]] = [one for one in _classes(stream_monitor.sketches) if hasattr(one, "merge")]
