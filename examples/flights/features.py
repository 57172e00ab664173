"""What is known at the moment of departure, and nothing later.

Three kinds of feature: the schedule (distance, hour, carrier, origin, dest, and the delay at
departure itself); the weather as last observed; and two that the stream makes of itself, the
mean delay of the flights that left the same airport in the hour before, and how many they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from examples.flights.data import Flights, Weather

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
TextArray = NDArray[np.object_]

NUMBERS = (
    "dep_delay",
    "distance",
    "hour",
    "temp",
    "visib",
    "wind_speed",
    "precip",
    "recent_delay",
    "recent_departures",
)
CATEGORIES = ("carrier", "origin", "dest")
OLDEST_WEATHER_HOURS = 3


def build_features(flights: Flights, weather: Weather) -> dict[str, FloatArray | TextArray]:
    """Columns by name, in the flights' order; NaN where a number is not known."""
    recent_delay, recent_departures = previous_hour(flights.departed, flights.origin, flights.dep_delay)
    return {
        "dep_delay": flights.dep_delay,
        "distance": flights.distance,
        "hour": flights.hour.astype(np.float64),
        **weather_before(flights.departed, flights.origin, weather),
        "recent_delay": recent_delay,
        "recent_departures": recent_departures,
        "carrier": flights.carrier,
        "origin": flights.origin,
        "dest": flights.dest,
    }


def weather_before(departed: IntArray, origin: TextArray, weather: Weather) -> dict[str, FloatArray]:
    """The weather of the last full hour before departure, at most three hours old, else NaN.

    The observation named 10:00 may have been made at any minute up to 10:59, so a departure
    within hour h may know hour h - 1 at best.
    """
    found = {name: np.full(len(departed), np.nan) for name in weather.values}
    hour = departed // 60
    for name in np.unique(weather.origin.astype(str)):
        rows = np.flatnonzero(origin == name)
        station = np.flatnonzero(weather.origin == name)
        at = np.searchsorted(weather.hour[station], hour[rows], side="left") - 1
        fresh = (at >= 0) & (hour[rows] - weather.hour[station][at] <= OLDEST_WEATHER_HOURS)
        for column, values in weather.values.items():
            found[column][rows[fresh]] = values[station][at[fresh]]
    return found


def previous_hour(departed: IntArray, origin: TextArray, delay: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean delay and number of flights that left the same airport in the 60 minutes before.

    `departed` must ascend. Flights of the same minute do not see each other, so their order
    does not matter. No flight in that hour: mean NaN, number 0.
    """
    mean = np.full(len(departed), np.nan)
    number = np.zeros(len(departed))
    for name in np.unique(origin.astype(str)):
        rows = np.flatnonzero(origin == name)
        minute = departed[rows]
        first = np.searchsorted(minute, minute - 60, side="left")
        end = np.searchsorted(minute, minute, side="left")
        # Delays are whole minutes: the running sums are exact.
        total = np.concatenate(([0.0], np.cumsum(delay[rows])))
        count = (end - first).astype(np.float64)
        number[rows] = count
        some = count > 0
        mean[rows[some]] = ((total[end] - total[first])[some]) / count[some]
    return mean, number
