"""What stands in a worker's way, asked of the machine and the cluster without changing either.

Each module here examines one matter and yields `Finding`s; `examine_machine` and
`examine_cluster` put them in order. Nothing is written into a topic, no group is joined and no
setting is changed. One trace is left: the right to transactions cannot be asked for, so a
transactional id of the doctor's own is registered, in which nothing is begun; Kafka forgets it
after `transactional.id.expiration.ms` (7 days).
"""

from stream_monitor.engines.doctor.examine import examine_cluster, examine_machine
from stream_monitor.engines.doctor.finding import Finding, Status

__all__ = ["Finding", "Status", "examine_cluster", "examine_machine"]
