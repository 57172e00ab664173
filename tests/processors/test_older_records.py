"""Records of other versions: every form there ever was is read, a later one is refused by name."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream_monitor import codec
from stream_monitor.baselines.baseline import Baseline
from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import decode_activation
from stream_monitor.engines.kafka.checkpoints import join
from stream_monitor.errors import BaselineError, CodecError
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.progress import Progress
from stream_monitor.records import Record
from stream_monitor.windows.increments import Increments, WatermarkRecord, decode_summary
from tests.processors.written import FOLDER, STAGE, settings, write

FORMS = sorted(FOLDER.glob("*.json.gz"))


def data(text: str | None) -> bytes:
    return base64.b64decode(text or "")


@pytest.fixture(
    scope="module", params=[*FORMS, None], ids=[path.name.partition(".")[0] for path in FORMS] + ["now"]
)
def written(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Records of one version; the last one is this one's."""
    path: Path | None = request.param
    found: dict[str, Any] = write() if path is None else json.loads(gzip.decompress(path.read_bytes()))
    return found


def test_forms_are_kept() -> None:
    assert {path.name for path in FORMS} >= {"form-1.json.gz", "form-2.json.gz", "form-3.json.gz"}


def test_a_judge_goes_on_from_any_form(written: dict[str, Any]) -> None:
    key, body = written["baseline"]
    activation = decode_activation(data(key), data(body))
    assert activation is not None
    records = [Record("state", 0, at, -1, data(k), data(v)) for at, (k, v) in enumerate(written["state"])]
    restored = join(STAGE, "state[0]", records)
    assert set(restored.offsets.values()) == {42}
    judge = JudgePartition(settings(), BaselineDirectory([activation]))
    judge.restore(restored.parts)
    (unit,) = judge.units()
    assert unit.baseline == activation.baseline
    assert unit.closed == written["closed"]
    assert sorted(episode.id for episode in unit.alarms.incidents.episodes.values()) == written["episodes"]
    assert {view["backfill"] for view in judge.firing()} == {False}
    assert all(view["annotations"]["summary"].startswith("loans 1: ") for view in judge.firing())
    # Old summaries in the log, a repeat among them, and then time goes on.
    before = judge.increments
    for value in written["summaries"]:
        judge.take(decode_summary(data(value)))
    assert judge.increments == before, "they were counted before"
    judge.take(WatermarkRecord(0, 1, 10**6, written["newest"] + 3600 * 1_000_000))
    views = [output.view for output in judge.flush() if output.topic in ("aggregates", "alerts")]
    assert views
    assert not any(view["backfill"] for view in views)
    assert JudgePartition(settings(), BaselineDirectory([activation])).units() == []


def test_offset_metadata_of_any_form(written: dict[str, Any]) -> None:
    progress = Progress.decode(written["metadata"], "predictions[0]")
    assert (progress.newest, progress.past) == (written["newest"], 0)


def test_summaries_of_any_form(written: dict[str, Any]) -> None:
    decoded = [decode_summary(data(value)) for value in written["summaries"]]
    assert {type(one) for one in decoded} == {Increments, WatermarkRecord}
    for one in decoded:
        assert not isinstance(one, WatermarkRecord) or not one.past


@pytest.mark.parametrize("form", [0, 4, "x"])
def test_summaries_of_a_later_form_are_refused_by_name(form: object) -> None:
    message = WatermarkRecord(0, 1, 5, 0).encode()
    meta, arrays = codec.unpack(message)
    later = codec.pack(meta | {"form": form, "kind": "anything"}, arrays)
    with pytest.raises(CodecError, match=rf"of form {form!r}, this worker reads forms 1 to 3"):
        decode_summary(later)


def test_baselines_of_a_later_version_are_refused_by_name() -> None:
    """Whatever else they hold."""
    key, body = write()["baseline"]
    record = orjson.loads(data(body))
    later = {"schema": "stream-monitor/baseline/v2", "bins": {}}
    with pytest.raises(BaselineError, match=r"\$\.schema: found '.*/v2', this version reads '.*/v1'.*create"):
        Baseline.from_json(orjson.dumps(later))
    with pytest.raises(BaselineError, match=r"\$\.schema: found '.*baseline/v2'"):
        decode_activation(data(key), orjson.dumps(record | {"baseline": later}))
    says = r"activation record with key .*loans.*: \$\.schema: found '.*/v2'.*the version that wrote it"
    with pytest.raises(BaselineError, match=says):
        decode_activation(data(key), orjson.dumps({"schema": "stream-monitor/activation/v2", "of": 1}))
