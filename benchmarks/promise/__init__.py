"""The statistical promise, measured: see `docs/statistics.md` and `python -m benchmarks.promise --help`."""
