"""Kafka's class path: the jars of `jars.lock`, fetched once, checked by hash at every start.

A jar is taken from this package's cache (`$XDG_CACHE_HOME/stream-monitor`), else from the
machine's local Maven repository, else downloaded by `jgo`, which follows the machine's own
configuration (its settings file, certificates and proxies). Once all are in the cache no
start needs the network or `jgo`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from stream_monitor.errors import BrokerError

KAFKA_VERSION = "4.1.1"
_TRIES = 3
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock file."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def locked_jars() -> tuple[Jar, ...]:
    """What the lock file names, in its order (which is the class path's order)."""
    text = resources.files("stream_monitor.broker").joinpath("jars.lock").read_text(encoding="utf-8")
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinate, sha256 = line.split()
            group, artifact, version = coordinate.split(":")
            jars.append(Jar(group, artifact, version, sha256))
    return tuple(jars)


def cache_folder() -> Path:
    """Where the jars are kept: `$XDG_CACHE_HOME/stream-monitor/kafka-<version>`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stream-monitor" / f"kafka-{KAFKA_VERSION}"


@cache
def class_path() -> str:
    """The class path for `java -cp`, all jars present and their hashes right.

    Raises `BrokerError` where a jar is missing and cannot be had.
    """
    folder = cache_folder()
    jars = locked_jars()
    missing = [jar for jar in jars if not _is_good(folder / jar.file_name, jar)]
    if missing:
        _fetch(missing, folder)
    return os.pathsep.join(str(folder / jar.file_name) for jar in jars)


def _is_good(path: Path, jar: Jar) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256
    except OSError:
        return False


def _fetch(jars: Sequence[Jar], folder: Path) -> None:
    try:
        from jgo.config import GlobalSettings
    except ImportError as error:
        raise BrokerError(
            f"{len(jars)} of Kafka's jars are not in {folder} and jgo, which fetches them, is not installed. "
            "Install stream-monitor[broker]"
        ) from error
    settings = GlobalSettings.load()
    # Downloads land in a folder of this process and are moved when they are whole, so that
    # two processes that start at once cannot read each other's halves.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as scratch,
            ThreadPoolExecutor(8) as pool,
        ):
            for jar, path in zip(
                jars,
                pool.map(
                    lambda jar: _find(jar, settings.repo_cache, settings.repositories, Path(scratch)), jars
                ),
                strict=True,
            ):
                path.replace(folder / jar.file_name)
    except OSError as error:
        raise BrokerError(f"Kafka's jars cannot be kept in {folder}: {error}") from error


def _find(jar: Jar, local: Path, repositories: dict[str, str], scratch: Path) -> Path:
    """A good copy of the jar below `scratch`."""
    target = scratch / jar.file_name
    known = local.joinpath(*jar.group.split("."), jar.artifact, jar.version, jar.file_name)
    if _is_good(known, jar):
        shutil.copyfile(known, target)
        return target
    why: Exception | str = ""
    for attempt in range(_TRIES):
        try:
            path = _download(jar, repositories, scratch / f"try-{attempt}")
        except (OSError, RuntimeError) as error:  # OSError includes what requests raises
            why = error
            continue
        if _is_good(path, jar):
            return path
        why = "the file received has another SHA-256 than the lock file names"
    raise BrokerError(
        f"{jar} could not be fetched in {_TRIES} tries: {why}. "
        "Kafka's jars are downloaded once; see that this machine reaches a Maven repository "
        "(jgo's settings file can name a mirror)"
    )


def _download(jar: Jar, repositories: dict[str, str], scratch: Path) -> Path:
    from jgo.maven import MavenContext

    # A name `central` in jgo's settings replaces its default repository, as in jgo itself.
    context = MavenContext(repo_cache=scratch, timeout=_TIMEOUT_S)
    context.remote_repos.update(repositories)
    return context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
