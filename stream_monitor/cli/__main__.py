"""`python -m stream_monitor.cli` does what `stream-monitor` does."""

from stream_monitor.cli.main import main

raise SystemExit(main())
