"""What NAB publishes of its Windowed Gaussian: per file the score (standard profile, threshold 1.0)
and the rows that it alarmed in windows and outside. Facts from results/windowedGaussian of the
benchmark's repository (numenta/NAB, commit de8e91a).
"""

from __future__ import annotations

WINDOWED_GAUSSIAN: dict[str, tuple[float, int, int]] = {
    "artificialNoAnomaly/art_daily_no_noise.csv": (0.0, 0, 0),
    "artificialNoAnomaly/art_daily_perfect_square_wave.csv": (0.0, 0, 0),
    "artificialNoAnomaly/art_daily_small_noise.csv": (0.0, 0, 0),
    "artificialNoAnomaly/art_flatline.csv": (0.0, 0, 0),
    "artificialNoAnomaly/art_noisy.csv": (0.0, 0, 0),
    "artificialWithAnomaly/art_daily_flatmiddle.csv": (-1.0, 0, 0),
    "artificialWithAnomaly/art_daily_jumpsdown.csv": (-1.0, 0, 0),
    "artificialWithAnomaly/art_daily_jumpsup.csv": (-1.0, 0, 0),
    "artificialWithAnomaly/art_daily_nojump.csv": (-1.0, 0, 0),
    "artificialWithAnomaly/art_increase_spike_density.csv": (-1.0, 0, 0),
    "artificialWithAnomaly/art_load_balancer_spikes.csv": (-0.692444609523, 18, 15),
    "realTraffic/TravelTime_387.csv": (-1.79598133079, 1, 6),
    "realTraffic/TravelTime_451.csv": (-1.0, 0, 0),
    "realTraffic/occupancy_6005.csv": (-1.0, 0, 0),
    "realTraffic/occupancy_t4013.csv": (1.72522152023, 3, 0),
    "realTraffic/speed_6005.csv": (0.832538201468, 1, 0),
    "realTraffic/speed_7578.csv": (3.47059145681, 11, 1),
    "realTraffic/speed_t4013.csv": (1.76631783122, 14, 0),
    "realTweets/Twitter_volume_AAPL.csv": (1.51399683626, 42, 24),
    "realTweets/Twitter_volume_AMZN.csv": (1.55848299457, 10, 20),
    "realTweets/Twitter_volume_CRM.csv": (0.763845764094, 10, 0),
    "realTweets/Twitter_volume_CVS.csv": (0.773682061394, 22, 18),
    "realTweets/Twitter_volume_FB.csv": (0.119750278191, 6, 15),
    "realTweets/Twitter_volume_GOOG.csv": (-0.146777355167, 23, 9),
    "realTweets/Twitter_volume_IBM.csv": (-0.799109479229, 14, 25),
    "realTweets/Twitter_volume_KO.csv": (-0.914196106944, 22, 33),
    "realTweets/Twitter_volume_PFE.csv": (0.26557999349, 7, 12),
    "realTweets/Twitter_volume_UPS.csv": (-2.2051646682, 57, 63),
}
