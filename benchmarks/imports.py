"""What the SDK and the command line cost a fresh process: time and memory.

    python benchmarks/imports.py [--rounds 15]

Each measurement is a process of its own. The cases take turns, so that what else the machine
does meets all of them alike; the least time and the median are shown, wall and processor time,
in milliseconds from the first statement on (commands: from start to end of the process). Memory
is the peak resident set in MB, Python's own included: see `nothing` (commands: at least that of
this program). Bytecode is cached, as it is where a wheel was installed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

MEASURED = """
import time
wall, cpu = time.perf_counter(), time.process_time()
{}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
import json
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([wall * 1e3, cpu * 1e3, int(status["VmHWM"].split()[0]) / 1e3]))
{}
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
LOGGER = "from stream_monitor.sdk import PredictionLogger"
EVENT = "logger.log({'income': 52_000.0, 'region': 'north'}, 0.83)"
JSON = f"{LOGGER}\nlogger = PredictionLogger('localhost:1', 'm', pack_min=None)"
PACKS = f"{LOGGER}\nlogger = PredictionLogger('localhost:1', 'm')"
CASES = {
    "nothing": ("pass", ""),
    "import stream_monitor.sdk": ("import stream_monitor.sdk", ""),
    "  and PredictionLogger": (LOGGER, ""),
    "  and make one, JSON only": (JSON, ""),
    "  and the first log()": (f"{JSON}\n{EVENT}", "logger.close(0)"),
    "  and make one, packs": (PACKS, ""),
    "  and the first log() ": (f"{PACKS}\n{EVENT}", "logger.close(0)"),
    "import read_alerts": ("from stream_monitor.sdk import read_alerts", ""),
    "import numpy": ("import numpy", ""),
    "import pyarrow": ("import pyarrow", ""),
}
COMMANDS = {
    "stream-monitor --help": ["--help"],
    "stream-monitor --version": ["--version"],
    "stream-monitor worker --help": ["worker", "--help"],
    "stream-monitor config schema": ["config", "schema"],
}


def measure(first: str, last: str) -> list[float]:
    """Wall ms, processor ms and peak MB of one fresh process."""
    command = [sys.executable, "-c", MEASURED.format(first, last)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    return [float(number) for number in json.loads(done.stdout)]


def measure_command(arguments: list[str]) -> list[float]:
    """The same of a command, from start to end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "stream_monitor.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    used = os.wait4(process.pid, 0)[2]
    process.returncode = 0
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [wall * 1e3, cpu * 1e3, used.ru_maxrss / 1e3]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    found: dict[str, list[list[float]]] = {name: [] for name in [*CASES, *COMMANDS]}
    for _ in range(rounds + 1):
        for name, (first, last) in CASES.items():
            found[name].append(measure(first, last))
        for name, arguments in COMMANDS.items():
            found[name].append(measure_command(arguments))
    found = {name: rows[1:] for name, rows in found.items()}  # the first filled the caches
    print(f"{'':<30} {'wall ms':>16} {'processor ms':>16} {'peak':>7}")
    print(
        f"{f'of {rounds} processes each':<30} {'least':>8}{'median':>8} {'least':>8}{'median':>8} {'MB':>7}"
    )
    for name, rows in found.items():
        walls, cpus, peaks = zip(*rows, strict=True)
        times = (
            f"{min(walls):8.1f}{statistics.median(walls):8.1f} {min(cpus):8.1f}{statistics.median(cpus):8.1f}"
        )
        print(f"{name:<30} {times} {statistics.median(peaks):7.1f}")


if __name__ == "__main__":
    main()
