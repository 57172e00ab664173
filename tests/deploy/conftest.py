"""The container files as data, and the image's content built natively, each once a session."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.deploy.go_checker import ROOT, Checker
from tests.deploy.native_image import NativeImage


@pytest.fixture(scope="session")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Checker:
    started = time.monotonic()
    built = Checker.build(tmp_path_factory.mktemp("checker"))
    print(f"\nchecker built in {time.monotonic() - started:.1f} s")
    return built


@pytest.fixture(scope="session")
def project(checker: Checker) -> dict[str, Any]:
    """docker-compose.yml with nothing set in the environment."""
    return checker.compose(ROOT / "docker-compose.yml")


@pytest.fixture(scope="session")
def dockerfile(checker: Checker) -> dict[str, Any]:
    """deploy/Dockerfile."""
    return checker.dockerfile(ROOT / "deploy" / "Dockerfile")


@pytest.fixture(scope="session")
def image(
    checker: Checker, dockerfile: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> NativeImage:
    started = time.monotonic()
    built = NativeImage(tmp_path_factory.mktemp("image"), dockerfile, checker.context())
    print(f"\nDockerfile's commands run in {time.monotonic() - started:.1f} s")
    return built
