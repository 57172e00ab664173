"""The wheel and the sdist: the same bytes whoever builds them, and nothing in them that does not belong."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.licenses import canonicalize_license_expression
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stream_monitor.cli.extras import extra_of
from tests.packaging.conftest import EPOCH, ROOT, Built, build, copy_sources

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def members(path: Path) -> dict[str, bytes]:
    """Files of a wheel or an sdist."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    with tarfile.open(path) as archive:
        return {
            member.name: found.read()
            for member in archive.getmembers()
            if (found := archive.extractfile(member)) is not None
        }


def test_the_bytes_do_not_depend_on_where_when_and_by_whom(built: Built, tmp_path: Path) -> None:
    elsewhere = copy_sources(tmp_path / "a folder with quite another name")
    for path in elsewhere.rglob("*"):
        path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build(elsewhere, umask=0o077)
    assert digest(again.wheel) == digest(built.wheel)
    assert digest(again.sdist) == digest(built.sdist)


def test_the_time_in_them_is_the_one_given(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        assert {info.date_time for info in wheel.infolist()} == {(2026, 1, 1, 0, 0, 0)}
    with tarfile.open(built.sdist) as sdist:
        assert {member.mtime for member in sdist.getmembers()} == {EPOCH}


def test_the_sdist_makes_the_same_wheel(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.sdist) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert digest(build(folder).wheel) == digest(built.wheel)


def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    package = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "stream_monitor").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    about = f"stream_monitor-{PROJECT['version']}.dist-info"
    described = {
        f"{about}/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE")
    }
    assert members(built.wheel).keys() == package | described
    assert {"stream_monitor/py.typed", "stream_monitor/broker/jars.lock"} <= package


def test_the_sdist_holds_what_is_needed_to_test_it(built: Built) -> None:
    names = {name.partition("/")[2] for name in members(built.sdist)}
    assert {
        "Makefile",
        "NOTICE",
        "requirements/dev.txt",
        "schemas/alert.v1.json",
        "tests/conftest.py",
    } <= names
    left_behind = {
        name for name in names if "__pycache__" in name or name.endswith((".pyc", ".jar", ".parquet"))
    }
    data = "tests/data/nannyml_car_loan/"
    assert left_behind == {data + "analysis.parquet", data + "reference.parquet"}
    assert {data + "LICENSE", "tests/data/nab/LICENSE"} <= names


def test_they_name_no_folder_of_the_machine_that_built_them(built: Built) -> None:
    told = [str(built.wheel.parents[1]), str(ROOT), str(Path.home()), sys.prefix]
    for path in (built.wheel, built.sdist):
        for name, value in members(path).items():
            assert not [folder for folder in told if len(folder) > 5 and folder.encode() in value], name


def test_the_lock_names_hashes_and_no_address() -> None:
    for file in (ROOT / "requirements").glob("*.txt"):
        text = file.read_text()
        assert "://" not in text, file
        assert "index" not in text.replace("importlib", ""), file
        assert all("==" in line for line in text.splitlines() if line[:1].isalnum()), file
        assert all("--hash=sha256:" in pin for pin in re.split(r"\n(?=\w)", text)), file


def test_the_metadata_is_valid_and_says_the_licence(built: Built) -> None:
    texts = {
        name.rpartition("/")[2]: value for name, value in members(built.wheel).items() if "dist-info" in name
    }
    found = Metadata.from_email(texts["METADATA"], validate=True)
    assert found.license_expression == canonicalize_license_expression("Apache-2.0")
    assert found.license_files == ["LICENSE", "NOTICE"]
    assert found.classifiers is not None
    assert not [name for name in found.classifiers if name.startswith("License ::")]
    assert found.description_content_type == "text/markdown"


def test_the_wheel_is_what_a_checker_expects(built: Built) -> None:
    command = [sys.executable, "-m", "check_wheel_contents", str(built.wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_base_is_small() -> None:
    names = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert names == {"confluent-kafka", "msgspec", "orjson"}


def test_all_brings_all_but_the_tools() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = (Requirement(line) for line in extras["all"])
    assert everything.extras == extras.keys() - {"all", "dev"}


def test_each_missing_package_is_told_with_the_extra_that_brings_it() -> None:
    modules: dict[str, list[str]] = {}
    for module, names in packages_distributions().items():
        for name in names:
            modules.setdefault(canonicalize_name(name), []).append(module)
    for extra in ("broker", "faust", "river", "worker"):
        for line in PROJECT["optional-dependencies"][extra]:
            found = modules[canonicalize_name(Requirement(line).name)]
            assert extra in {extra_of(module) for module in found}, line
    assert extra_of("nothing_of_ours") is None
