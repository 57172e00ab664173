"""Texts and embeddings that change: found by what is derived from them, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from stream_monitor.baselines.files import read_batches
from stream_monitor.baselines.named import baseline_of_rows
from stream_monitor.baselines.records import ANY_VERSION, Activation
from stream_monitor.config import Config, config_from
from stream_monitor.engines.local import LocalEngine
from stream_monitor.events.derived import TEXT_PARTS
from tests.processors.harness import START, Play, ended, play, record

Rows = list[dict[str, Any]]
COUNT = 6_000
WORDS = {
    "english": "the loan was paid late because of a new job and some bills that came in",
    "german": "Kreditrückzahlung verspätete Überweisung wegen Arbeitsplatzwechsel größerer Rechnungen",
}


def config(**model: Any) -> Config:
    document = {
        "defaults": {"windows": ["1m"], "alert_budget": {"false_alarms": 1, "per": "week"}},
        "models": {"m": {"types": {"note": "text"}, **model}},
    }
    return config_from(document, env={})


def sentences(rng: np.random.Generator, count: int, language: str = "english") -> list[str]:
    words = np.array(WORDS[language].split(), object)
    texts = []
    for length in rng.integers(6, 14, count).tolist():
        text = " ".join(rng.choice(words, length))
        texts.append(f"{text.capitalize()} {rng.integers(1, 32)}.")
    return texts


def embeddings(rng: np.random.Generator, count: int, turn: bool = False) -> np.ndarray[Any, Any]:
    """16 numbers; along hidden axes that all stand upright on (1, ..., 1), so none moves the mean.

    `turn` exchanges the 4th axis with the 12th: lengths and means are the same.
    """
    hidden = np.linalg.qr(np.c_[np.ones(16), np.random.default_rng(7).normal(size=(16, 15))])[0].T[1:]
    made = rng.normal(size=(count, 15)) * 0.8 ** np.arange(15)
    if turn:
        made[:, [3, 11]] = made[:, [11, 3]]
    found: np.ndarray[Any, Any] = made @ hidden
    return found


def write(path: Path, notes: list[str], vectors: np.ndarray[Any, Any], gap: float = 0.2) -> Path:
    lines = [
        orjson.dumps({"timestamp": START // 1000 + round(i * gap * 1000), "note": note, "v": vector})
        for i, (note, vector) in enumerate(zip(notes, vectors.tolist(), strict=True))
    ]
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("reference") / "rows.jsonl"
    return write(path, sentences(rng, 8_000), embeddings(rng, 8_000))


def found_in(path: Path, reference: Path | None, settings: Config) -> set[str]:
    """Features with an alert that opened in the second half, where there may be something; none before.

    Pairs of features, which change together with either, are left out.
    """
    published = []
    if reference is not None:
        published = [Activation("m", ANY_VERSION, 0, baseline_of_rows([reference], settings, "m"))]
    rows = read_batches(path, model="m", texts={"note"}, rows=1_000, need_time=True)
    alerts = [o.view for o in LocalEngine(settings, published).run(rows) if o.topic == "alerts"]
    opened = [alert for alert in alerts if alert["state"] in ("opened", "joined")]
    half = np.datetime64(START // 1_000_000 + COUNT // 10, "s")
    assert all(np.datetime64(alert["startsAt"].rstrip("Z")) >= half for alert in opened)
    return {name for alert in opened if "×" not in (name := alert["labels"]["feature"])}


def halves(path: Path, change: Callable[[list[str]], list[str]] | None, turn: bool = False) -> Path:
    rng = np.random.default_rng(5)
    notes = sentences(rng, COUNT)
    if change is not None:
        notes[COUNT // 2 :] = change(notes[COUNT // 2 :])
    vectors = np.r_[embeddings(rng, COUNT // 2), embeddings(rng, COUNT // 2, turn)]
    return write(path, notes, vectors)


def german(notes: list[str]) -> list[str]:
    return sentences(np.random.default_rng(9), len(notes), "german")


def of_vector(*parts: str) -> set[str]:
    return {f"v.{part}" for part in parts}


def of_note(*parts: str) -> set[str]:
    return {f"note.{part}" for part in parts}


@pytest.mark.parametrize(
    ("change", "must", "may"),
    [
        (None, set(), set()),
        (german, of_note("token_rate", "other", "capitals"), of_note(*TEXT_PARTS)),
        (lambda notes: [note.upper() for note in notes], of_note("capitals"), of_note("capitals")),
        (lambda notes: [note[:30] for note in notes], of_note("length"), of_note(*TEXT_PARTS)),
        (
            lambda notes: [note.replace("a", "\ufffd") for note in notes],
            of_note("other", "letters"),
            of_note("other", "letters"),
        ),
        (
            lambda notes: ["The loan was paid in time by account 12."] * len(notes),
            of_note("length"),
            of_note(*TEXT_PARTS),
        ),
    ],
    ids=["none", "language", "case", "truncation", "encoding", "template"],
)
def test_texts(
    change: Callable[[list[str]], list[str]] | None,
    must: set[str],
    may: set[str],
    tmp_path: Path,
    reference: Path,
) -> None:
    found = found_in(halves(tmp_path / "rows.jsonl", change), reference, config())
    assert must <= found <= may


@pytest.mark.parametrize("learned", [False, True])
def test_an_embedding_turned_in_a_minor_direction(learned: bool, tmp_path: Path, reference: Path) -> None:
    """Neither norm nor mean shows it; a projection does, and what is left beside the projections."""
    path = halves(tmp_path / "rows.jsonl", None, turn=True)
    settings = config(features=["v"], learn={"events": 2_000}) if learned else config(features=["v"])
    found = found_in(path, None if learned else reference, settings)
    assert found & of_vector("pc4")
    assert found <= of_vector("pc3", "pc4", "pc5", "residual")


def test_an_embedding_of_another_length(tmp_path: Path, reference: Path) -> None:
    """Another embedding model: what is projected is unseen, norm and mean are watched on."""
    rng = np.random.default_rng(3)
    lines = (
        write(tmp_path / "rows.jsonl", sentences(rng, COUNT), embeddings(rng, COUNT))
        .read_bytes()
        .split(b"\n")
    )
    for at in range(COUNT // 2, COUNT):
        row = orjson.loads(lines[at])
        lines[at] = orjson.dumps(row | {"v": row["v"][:12]})
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines))
    settings = config(features=["v.norm", "v.pc1", "v.residual"])
    published = [Activation("m", ANY_VERSION, 0, baseline_of_rows([reference], settings, "m"))]
    rows = read_batches(tmp_path / "rows.jsonl", model="m", need_time=True)
    outputs = list(LocalEngine(settings, published).run(rows))
    opened = {
        o.view["labels"]["feature"]: o.view["labels"]["alertname"] for o in outputs if o.topic == "alerts"
    }
    assert opened["v.pc1"] == opened["v.residual"] == "UnseenValues"
    last = [o.view for o in outputs if o.topic == "aggregates" and o.view["rows"]][-1]["features"]
    assert last["v.pc1"]["unseen"] == last["v.norm"]["count"] > 0
    assert last["v.norm"]["unseen"] == 0


def test_no_text_leaves_observe(reference: Path) -> None:
    """Neither in raw rows nor in counts nor in a baseline."""
    notes = ["Secret words here", "the secret again", None, "SECRET " * 3]
    bodies = [
        {
            "id": str(i),
            "model": "m",
            "timestamp": START // 1000 + i * 500,
            "features": {"note": notes[i % 4], "x": i % 7},
        }
        for i in range(400)
    ]
    settings = config_from({"models": {"m": {"types": {"note": "text"}, "learn": {"events": 100}}}}, env={})
    played = play(settings, ended({0: [record(0, i, body) for i, body in enumerate(bodies)]}), (), Play(3))
    assert [a.baseline.texts for a in played.views("baselines")] == [("note",)]
    assert played.views("aggregates")[-1]["features"]["note.length"]["missing"] > 0
    said = [o.value or b"" for o in played.outputs] + played.messages + list(played.state.values())
    assert not [one for one in said if b"secret" in one.lower()]
