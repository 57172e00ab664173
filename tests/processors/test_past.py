"""The past of a first start: what is said of it is marked, and what outlasts it is told once more."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from stream_monitor.baselines.directory import BaselineDirectory
from stream_monitor.baselines.records import Activation
from stream_monitor.errors import StateError
from stream_monitor.events.alert import decode_alert
from stream_monitor.processors.judge import JudgePartition
from stream_monitor.processors.observe import ObservePartition
from stream_monitor.processors.progress import Progress, known_progress
from stream_monitor.records import Record
from stream_monitor.windows.increments import WatermarkRecord, decode_summary
from stream_monitor.windows.panes import NEVER
from stream_monitor.windows.past import Past
from tests.processors.harness import SECOND, START, Played, ended, play, record, tick
from tests.processors.logs import drifting_baseline, drifting_log, small_config

MINUTE = 60 * SECOND


def at(seconds: float, offset: int) -> Record:
    """An event of that second."""
    body = {"id": "i", "model": "m", "timestamp": START // 1000 + round(seconds * 1000), "features": {"x": 1}}
    return record(0, offset, body)


def told(batches: Sequence[Sequence[Record]], past: int) -> tuple[list[WatermarkRecord], list[str]]:
    """Watermark records and metadata of a partition that is handed over after every batch."""
    said, metadata = [], [Progress(past=past, started=3).encode()]
    for batch in batches:
        observe = ObservePartition(
            small_config(),
            BaselineDirectory(),
            partition=0,
            partitions=1,
            judges=1,
            progress=Progress.decode(metadata[-1], "predictions[0]"),
        )
        observe.process(batch)
        summaries = [decode_summary(o.value) for o in observe.flush() if o.topic == "summaries" and o.value]
        said += [one for one in summaries if isinstance(one, WatermarkRecord)]
        metadata.append(observe.metadata())
    return said, metadata


LOG = [at(20, 0), at(31, 1), at(12, 2), at(55, 3), at(40, 4)]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_who_leaves_the_past_says_its_newest_event_once(size: int) -> None:
    """However the log is cut: three events are past, the newest of them at 31 s."""
    said, metadata = told([LOG[i : i + size] for i in range(0, 5, size)], past=3)
    over = [one for one in said if not one.past]
    assert [one.past_until for one in over if one.past_until != NEVER] == [START + 31 * SECOND]
    assert over[0].past_until == START + 31 * SECOND, "the first record behind the past says it"
    assert all(one.past_until == NEVER for one in said if one.past)
    assert len(metadata[-1]) < 60
    assert Progress.decode(metadata[-1], "").past == 0
    assert all(Progress.decode(text, "").started == 3 for text in metadata)


def test_ticks_move_the_time_of_the_past() -> None:
    """Moments that a tick let pass are past, although no event of the past is as new."""
    log = [at(20, 0), tick(0, 1, START + MINUTE), at(70, 2)]
    said, _ = told([log], past=2)
    assert said[0].past_until == START + MINUTE + 5 * SECOND  # watermark and the out-of-orderness bound
    for size in (1, 2):
        parts, _ = told([log[i : i + size] for i in range(0, 3, size)], past=2)
        assert [one.past_until for one in parts if one.past_until != NEVER] == [said[0].past_until]


def test_a_past_without_events_is_left_without_a_word() -> None:
    said, metadata = told([[record(0, 0, b"{not json")], [at(20, 1)]], past=1)
    assert [(one.past, one.past_until) for one in said] == [(False, NEVER)]
    assert Progress.decode(metadata[1], "").past == 0


def test_a_gap_at_the_end_of_the_past_ends_it_too() -> None:
    """Transaction markers and compaction leave offsets without records."""
    said, _ = told([[at(20, 0)], [at(33, 9)]], past=5)
    assert [(one.past, one.past_until) for one in said] == [(True, NEVER), (False, START + 20 * SECOND)]


def test_what_is_past() -> None:
    past = Past()
    assert not past.holds(START)
    past.take(0, inside=True, newest=NEVER)
    assert past.holds(START + 10**15), "none is over"
    past.take(0, inside=False, newest=START)
    assert past.holds(START)
    assert not past.holds(START + 1)
    past.take(1, inside=False, newest=START - 5)
    again = Past()
    again.load(orjson.loads(orjson.dumps(past.state())))
    assert again.state() == past.state()
    assert again.newest == START


def drift(past_minutes: float | None) -> Played:
    """`amount` drifts from minute 10 to 18; what came before `past_minutes` is the past."""
    config = small_config(alert_budget={"false_alarms": 1, "per": "week"}, learn=10**6)
    published = [Activation("loans", "*", 0, drifting_baseline(rows=6000))]
    events = drifting_log(7, minutes=30, drift=(10, 18), size=0.8, new_feature=2, late=0.0)
    ends = {
        p: sum(
            orjson.loads(r.value or b"")["timestamp"] < START // 1000 + past_minutes * 60_000 for r in found
        )
        for p, found in events.items()
        if past_minutes is not None
    }
    return play(config, ended(events), published, past=ends)


def story(played: Played) -> list[tuple[str, bool]]:
    return [(view["state"], view["backfill"]) for view in played.views("alerts")]


@pytest.fixture(scope="module")
def without() -> Played:
    return drift(None)


def test_without_a_past_nothing_is_marked(without: Played) -> None:
    assert story(without) == [("opened", False), ("lasting", False), ("resolved", False)]
    assert not any(view["backfill"] for view in without.views("aggregates"))


def test_trouble_of_the_past_is_marked_from_its_opening_to_its_end(without: Played) -> None:
    played = drift(25)
    assert story(played) == [("opened", True), ("lasting", True), ("resolved", True)]
    for mine, plain in zip(played.views("alerts"), without.views("alerts"), strict=True):
        assert mine == plain | {"backfill": True}, "nothing else is different"
    windows = [(view["end"], view["backfill"]) for view in played.views("aggregates")]
    assert {end < "2026-01-01T00:25:01Z" for end, backfill in windows if backfill} == {True}
    assert {end > "2026-01-01T00:25:00Z" for end, backfill in windows if not backfill} == {True}


def test_trouble_that_outlasts_the_past_is_told_once_more(without: Played) -> None:
    played = drift(15)
    assert story(played) == [("opened", True), ("lasting", True), ("opened", False), ("resolved", False)]
    first, lasting, live, end = played.views("alerts")
    assert len({first["id"], lasting["id"], live["id"], end["id"]}) == 4
    assert [first["id"], lasting["id"], end["id"]] == [view["id"] for view in without.views("alerts")]
    assert live["evidence"]["persistence"]["verdict"] == "shift"
    for same in ("episode", "incident", "fingerprint", "labels", "startsAt", "endsAt"):
        assert live[same] == first[same]
    assert "began in the past" in live["annotations"]["description"]
    assert all(decode_alert(orjson.dumps(view)).backfill is view["backfill"] for view in (first, live, end))


def test_trouble_that_begins_behind_the_past_is_live() -> None:
    assert story(drift(8)) == [("opened", False), ("lasting", False), ("resolved", False)]


def test_of_two_that_outlast_the_past_the_first_opens_and_the_other_joins() -> None:
    """Whoever sees live alerts alone meets an incident that is opened before it is joined."""
    log = drifting_log(3, minutes=30, drift=(10, 24), size=1.0, new_feature=2, late=0.0)
    ends = {}
    for p, records in log.items():
        for i, one in enumerate(records):
            body = orjson.loads(one.value or b"")
            minute = (body["timestamp"] - START // 1000) / 60_000
            if 11 <= minute < 22:
                body["features"]["age"] = None
                records[i] = one._replace(value=orjson.dumps(body))
            if minute < 16:
                ends[p] = i + 1
    config = small_config(alert_budget={"false_alarms": 1, "per": "week"}, learn=10**6)
    published = [Activation("loans", "*", 0, drifting_baseline(rows=6000))]
    alerts = play(config, ended(log), published, past=ends).views("alerts")
    past, live = (
        [a for a in alerts if a["backfill"] is which and a["state"] != "lasting"] for which in (True, False)
    )
    assert [a["state"] for a in past[:2]] == ["opened", "joined"]
    firing = [a for a in live if a["status"] == "firing"]
    assert firing[0]["state"] == "opened"
    assert {a["state"] for a in firing[1:]} == {"joined"}
    assert {a["episode"] for a in past} <= {a["episode"] for a in firing}
    assert len({a["incident"] for a in alerts}) == 1
    opened = [a["episode"] for a in firing]
    assert sorted(opened) == sorted(a["episode"] for a in live if a["status"] == "resolved")


def test_open_trouble_of_a_version_that_says_nothing_more_stays_in_the_past() -> None:
    """Nothing shows that it is still there; that another version goes on is no sign of it."""
    log = drifting_log(7, minutes=15, drift=(10, 15), size=0.8, new_feature=2, late=0.0, partitions=1)
    end = len(log[0])
    later = drifting_log(8, minutes=8, drift=(9, 9), new_feature=2, late=0.0, partitions=1, versions=("2",))
    for one in later[0]:
        body = orjson.loads(one.value or b"")
        body["timestamp"] += 20 * 60_000
        log[0].append(replace_offset(one, len(log[0]), body))
    config = small_config(windows=["1m"], alert_budget={"false_alarms": 1, "per": "week"}, learn=10**6)
    published = [Activation("loans", "*", 0, drifting_baseline(rows=6000))]
    played = play(config, ended(log), published, past={0: end})
    assert story(played) == [("opened", True), ("lasting", True)]
    assert [view["backfill"] for view in played.judge.firing()] == [True]
    assert any(not v["backfill"] for v in played.views("aggregates") if v["version"] == "2")


def replace_offset(one: Record, offset: int, body: object) -> Record:
    return one._replace(offset=offset, value=orjson.dumps(body))


# ── offset metadata of other versions ───────────────────────────────────────────────────────


def test_progress_is_read_as_it_was_written() -> None:
    for progress in (Progress(), Progress(START, START - SECOND, 17, 4)):
        assert Progress.decode(progress.encode(), "") == progress
    assert Progress.decode("", "") == Progress.decode(None, "") == Progress()


def test_progress_of_the_version_before_has_no_past() -> None:
    assert Progress.decode(f"sm1 {START} {START - SECOND}", "") == Progress(START, START - SECOND, 0, 0)


@pytest.mark.parametrize(
    "text", ["sm3 1 2 3 4", "sm2 1 2", "sm2 1 2 3 x", "sm1 1 2 3", "faust", "sm2 1 2 3 4 5"]
)
def test_progress_that_is_not_known_says_where_what_and_what_to_do(text: str) -> None:
    with pytest.raises(
        StateError, match=r"p\[3\]: offset metadata '.*' is not of a known version.*kafka\.group"
    ):
        Progress.decode(text, "p[3]")
    assert known_progress(text) == Progress()


def test_a_clock_of_the_version_before_has_no_past() -> None:
    judge = JudgePartition(small_config(), BaselineDirectory())
    judge.take(WatermarkRecord(0, 1, 5, START, past=True))
    state = judge.clock.state()
    assert state.pop("past") == {"inside": [0], "newest": NEVER}
    fresh = JudgePartition(small_config(), BaselineDirectory())
    fresh.clock.load(state)
    assert (fresh.clock.value, fresh.clock.past.holds(START + 10**15)) == (START, False)
