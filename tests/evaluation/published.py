"""What NAB publishes of its Windowed Gaussian: per file the score (standard profile, threshold 1.0)
and the rows that it alarmed in windows and outside. Facts from results/windowedGaussian of the
benchmark's repository (numenta/NAB, commit de8e91a).
"""

from __future__ import annotations

WINDOWED_GAUSSIAN: dict[str, tuple[float, int, int]] = {
    "realTraffic/TravelTime_387.csv": (-1.79598133079, 1, 6),
    "realTraffic/TravelTime_451.csv": (-1.0, 0, 0),
    "realTraffic/occupancy_6005.csv": (-1.0, 0, 0),
    "realTraffic/occupancy_t4013.csv": (1.72522152023, 3, 0),
    "realTraffic/speed_6005.csv": (0.832538201468, 1, 0),
    "realTraffic/speed_7578.csv": (3.47059145681, 11, 1),
    "realTraffic/speed_t4013.csv": (1.76631783122, 14, 0),
}
