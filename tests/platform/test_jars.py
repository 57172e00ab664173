"""Kafka's jars: only what the lock names, by hash, whatever the cache or a repository holds."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from stream_monitor.broker import jars
from stream_monitor.broker.jars import Jar, cache_folder, class_path, locked_jars
from stream_monitor.errors import BrokerError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A local Maven repository with all jars, and an empty cache beside it; no network."""
    class_path()
    good, maven = cache_folder(), tmp_path / "maven"
    for jar in locked_jars():
        target = _place(maven, jar)
        target.parent.mkdir(parents=True)
        shutil.copyfile(good / jar.file_name, target)
    monkeypatch.setenv("M2_REPO", str(maven))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(jars, "_download", _no_network)
    class_path.cache_clear()
    yield maven
    class_path.cache_clear()


def _place(repository: Path, jar: Jar) -> Path:
    return repository.joinpath(*jar.group.split("."), jar.artifact, jar.version, jar.file_name)


def _no_network(*_: object) -> NoReturn:
    raise OSError("no route to the repository")


def test_jars_come_from_the_local_repository_and_then_from_the_cache_alone(repository: Path) -> None:
    paths = class_path().split(os.pathsep)
    assert [Path(path).name for path in paths] == [jar.file_name for jar in locked_jars()]
    assert all(Path(path).parent == cache_folder() for path in paths)
    shutil.rmtree(repository)
    class_path.cache_clear()
    assert class_path().split(os.pathsep) == paths


def test_a_damaged_jar_in_the_cache_is_replaced(repository: Path) -> None:
    path = Path(class_path().split(os.pathsep)[0])
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    class_path.cache_clear()
    class_path()
    assert path.read_bytes() == good
    assert sorted(entry.name for entry in path.parent.iterdir()) == sorted(
        jar.file_name for jar in locked_jars()
    )


def test_a_jar_with_another_hash_is_not_taken(repository: Path) -> None:
    jar = locked_jars()[3]
    _place(repository, jar).write_bytes(b"something else")
    with pytest.raises(BrokerError, match=f"{jar} could not be fetched .* no route"):
        class_path()
    assert not (cache_folder() / jar.file_name).exists()


def test_a_download_with_another_hash_is_not_taken(
    repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jar = locked_jars()[0]
    _place(repository, jar).unlink()
    other = tmp_path / "other.jar"
    other.write_bytes(b"not what was locked")
    monkeypatch.setattr(jars, "_download", lambda *_: other)
    with pytest.raises(BrokerError, match="another SHA-256"):
        class_path()
    assert not (cache_folder() / jar.file_name).exists()
