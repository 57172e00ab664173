"""The statistical promise, measured.

    python -m benchmarks.promise [part ...] --size ci|full --seed N --out FILE.json --jobs 2

Thresholds are the product's own, set before anything is drawn. Ends with 1 if a limit is broken, or if a
mutant is not found out. Parts: cells, exact, sampling, correlated, whole, many, mutants, cost.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.promise import cells, correlated, exact, many, mutants, whole
from benchmarks.promise.rows import Row
from benchmarks.promise.shapes import SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTS = ("cells", "exact", "sampling", "correlated", "whole", "many", "mutants", "cost")
BASELINES = (1000, 5000, 50_000)


@dataclass(frozen=True)
class Task:
    """One call that gives rows; tasks run in any order and share nothing."""

    part: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]

    def rows(self) -> list[Row]:
        """Run it."""
        found = self.call(*self.arguments)
        return found if isinstance(found, list) else [found]


def mutant_rows(seed: int) -> list[Row]:
    """One row for each mutant: 1 where it was found out and the sound detector was not, else 0."""
    rows = []
    for name, broken, sound in mutants.measured(seed):
        said = ["; ".join(row.breaches) or "nothing" for row in (broken, sound)]
        note = f"wrong with the mutant: {said[0]}; with the sound one: {said[1]}"
        right = bool(broken.breaches) and not sound.breaches
        rows.append(Row("mutant", {"is": name}, float(right), 1.0, 1.0, 1.0, note=note))
    return rows


def tasks(size: str, seed: int, parts: tuple[str, ...]) -> list[Task]:
    """What is run; the longest first, so that two jobs end at about the same time."""
    return [task for task in _tasks(size == "full", seed) if task.part in parts]


def _tasks(full: bool, seed: int) -> Iterator[Task]:
    levels = cells.LEVELS if full else cells.LEVELS[:1]
    alphas = (1e-2, 1e-3, 1e-4) if full else (1e-2, 1e-3)
    exact_levels = (10_000, 100_000, 1_000_000) if full else (10_000,)
    for together in ("independent", "identical", "correlated .5"):
        yield Task("many", many.null, ([seed, 1], *((100, together) if full else (1, together, 50))))
    yield Task("many", many.found, ([seed, 2], *((20,) if full else (2, 100))))
    for at, shape in enumerate(shape.name for shape in SHAPES):
        for m in BASELINES if full else BASELINES[1:2]:
            yield Task("cells", cells.sequential, ([seed, 3, at, m], shape, m, levels))
            yield Task("cells", cells.windows, ([seed, 4, at, m], shape, m, alphas))
            for level in whole.LEVELS if full else whole.LEVELS[:1]:
                yield Task("whole", whole.openings, ([seed, 5, at, m], shape, m, level))
        for level in exact_levels:
            yield Task("exact", exact.cusum, ([seed, 6, at], shape, level))
        yield Task("sampling", exact.cusum_default, ([seed, 7, at], shape, 20_000 if full else 2000))
    for level in exact_levels:
        yield Task("exact", exact.adwin, ([seed, 8], "normal", level))
    size = (1_000_000, 1000) if full else (64_000, 200)
    yield Task("sampling", exact.adwin_default, ([seed, 9], *size))
    yield Task("sampling", exact.e_default, ([seed, 10], 30_000 if full else 1000))
    for phi in (0.5, 0.9):
        yield Task("correlated", correlated.autoregressive, ([seed, 11], phi))
    yield Task("correlated", whole.daily, ([seed, 12],))
    yield Task("mutants", mutant_rows, (seed,))
    for features in (20, 1000):
        yield Task("cost", whole.cost, (features,))


def main() -> int:
    """Run, print, keep; 0 if everything is as promised."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help="which parts (default: all)")
    parser.add_argument("--size", choices=("ci", "full"), default="ci")
    parser.add_argument("--seed", type=int, help="default: from the hash of the commit")
    parser.add_argument("--out", type=Path, help="keep all rows here, as JSON")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    commit = _commit()
    seed = arguments.seed
    if seed is None:
        seed = int(hashlib.sha256(commit.encode()).hexdigest()[:8], 16)
    print(f"commit {commit}, size {arguments.size}, seed {seed}", flush=True)
    begun = time.monotonic()
    wanted = tasks(arguments.size, seed, tuple(arguments.parts) or PARTS)
    kept, broken = [], 0
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for task, rows in zip(wanted, pool.map(Task.rows, wanted), strict=True):
            for row in rows:
                print(f"{task.part:<10} {row.line()}", flush=True)
                broken += bool(row.breaches)
                kept.append({"part": task.part} | row.to_dict())
    seconds = time.monotonic() - begun
    print(f"{len(kept)} rows, {broken} broken, {seconds:,.0f} s")
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "commit": commit,
            "size": arguments.size,
            "seed": seed,
            "seconds": seconds,
            "broken": broken,
            "rows": kept,
        }
        arguments.out.write_text(json.dumps(document, indent=1, default=float) + "\n")
    return 1 if broken else 0


def _commit() -> str:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
