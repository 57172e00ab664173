"""How many packages each extra brings, theirs included, and what they take on the disk.

    make dependencies

Counts what the installed packages say they need on this Python and this machine. `new` is
what the extra adds to the base, that is to `pip install stream-monitor`.
"""

from __future__ import annotations

from importlib.metadata import Distribution, distribution, distributions, metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "stream-monitor"


def closure(project: str, extra: str) -> set[str]:
    """Names of all that `project[extra]` needs, itself left out."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(project), extra), (canonicalize_name(project), "")]
    while waiting:
        name, asked = waiting.pop()
        if (name, asked) in seen:
            continue
        seen.add((name, asked))
        for line in distribution(name).requires or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": asked}):
                found = canonicalize_name(need.name)
                waiting += [(found, part) for part in ("", *need.extras)]
    return {name for name, _ in seen} - {canonicalize_name(project)}


def megabytes(found: Distribution) -> float:
    """What the files of a distribution take, compiled Python left out."""
    paths = [found.locate_file(file) for file in found.files or [] if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6  # type: ignore[attr-defined]


def main() -> None:
    """Print one line an extra."""
    sizes: dict[str, float] = {canonicalize_name(found.name): megabytes(found) for found in distributions()}
    base = closure(PROJECT, "")
    print(f"{'extra':<8} {'packages':>8} {'new':>5} {'MB':>6}")
    for extra in ("", *sorted(metadata(PROJECT).get_all("Provides-Extra") or [])):
        needed = closure(PROJECT, extra)
        size = sum(sizes[name] for name in needed)
        print(f"{extra or '(base)':<8} {len(needed):>8} {len(needed - base):>5} {size:>6.0f}")
    print(f"the base: {', '.join(sorted(base))}")


if __name__ == "__main__":
    main()
