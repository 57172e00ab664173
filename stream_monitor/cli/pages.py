"""Writes the files that the code has the words of: `python -m stream_monitor.cli.pages`, in a checkout.

Each page raises LookupError where the code says less than the page must, so that none falls behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from stream_monitor.cli import reference as commands
from stream_monitor.config import reference as configuration
from stream_monitor.config import schema
from stream_monitor.sdk import reference as sdk
from stream_monitor.serve import reference as metrics

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "docs/cli.md": commands.reference,
    "docs/configuration.md": configuration.reference,
    "docs/metrics.md": metrics.reference,
    "docs/sdk.md": sdk.reference,
    "schemas/config.v1.json": schema.schema_text,
}
"""The text of each file, by its path in the checkout."""


def main(arguments: Sequence[str]) -> int:
    """Write all of them below the folder given, or here; returns the exit code."""
    root = Path(*arguments[:1])
    folders = sorted({str((root / path).parent) for path in PAGES})
    absent = [folder for folder in folders if not Path(folder).is_dir()]
    if len(arguments) > 1 or absent:
        sys.stderr.write("usage: python -m stream_monitor.cli.pages [folder of the checkout]\n")
        sys.stderr.writelines(f"not there: {folder}\n" for folder in absent)
        return 2
    for path, text in PAGES.items():
        (root / path).write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
