"""What /metrics shows of a node: values that its parts keep anyway, read when somebody asks.

Rules of this file: nothing here decides anything; names follow Prometheus' conventions (base units,
counters end in _total).
"""

from collections.abc import Callable

from node.core.settings import Role
from node.metrics import Registry
from node.operations import FAILURES
from node.peer_filter import CLASSES, PeerFilter
from node.replica import Replica
from node.transport import Transport


def metrics_of(
    replica: Replica, transport: Transport, peer_filter: PeerFilter
) -> Callable[[], str]:
    """What renders the metrics of a node."""
    registry = Registry()
    core, requests, snapshots = replica.core, replica.requests, replica.snapshots
    gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("node_is_leader", "1 while this node leads", lambda: core.role is Role.LEADER),
        ("node_has_leader", "1 while a leader is known", lambda: core.leader is not None),
        ("node_term", "The current term", lambda: core.term),
        ("node_commit_index", "The highest committed entry known", lambda: core.commit_index),
        ("node_applied_index", "The newest entry applied", lambda: replica.state.applied_index),
        ("node_last_index", "The newest entry of the log", lambda: core.log.last_index),
        ("node_first_index", "The oldest entry kept", lambda: core.log.first_index),
        ("node_snapshot_index", "Where the newest snapshot ends", lambda: snapshots.index),
        ("node_log_time_seconds", "The time of the log", lambda: replica.state.time_ms / 1000),
        ("node_operations_in_flight", "Operations that wait", lambda: requests.in_flight),
        ("node_voters", "Voters, the new ones while a change is under way",
         lambda: len(core.log.configuration.voters)),
        ("node_learners", "Members that do not vote (yet)",
         lambda: len(core.log.configuration.learners)),
    )  # fmt: skip
    for name, text, read in gauges:
        registry.read_gauge(name, text, read)
    counts = transport.counts
    counters: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("node_impossible_messages_total", "Messages that contradict what must be so",
         lambda: core.violations),
        ("node_snapshots_taken_total", "Snapshots of the own state", lambda: snapshots.taken),
        ("node_snapshot_sent_bytes_total", "Parts of snapshots sent", lambda: snapshots.sent_bytes),
        ("node_snapshot_received_bytes_total", "Parts of snapshots received",
         lambda: snapshots.received_bytes),
        ("node_frames_sent_total", "Frames to other nodes", lambda: counts.frames_sent),
        ("node_sent_bytes_total", "Bytes to other nodes", lambda: counts.bytes_sent),
        ("node_frames_received_total", "Frames of other nodes", lambda: counts.frames_received),
        ("node_received_bytes_total", "Bytes of other nodes", lambda: counts.bytes_received),
        ("node_frames_dropped_total", "Frames that found a full queue",
         lambda: counts.frames_dropped),
        ("node_connections_refused_total", "Connections that did not prove themselves",
         lambda: counts.connections_refused),
        ("node_role_changes_total", "Changes of role or term", lambda: replica.changes),
    )  # fmt: skip
    for name, text, read in counters:
        registry.read_counter(name, text, read)
    for code in ("", *FAILURES):
        label = (code or "ok").replace("-", "_")
        registry.read_counter(
            f"node_operations_{label}_total",
            f"Operations answered {code or 'with success'}",
            lambda code=code: requests.answered.get(code, 0),  # type: ignore[misc]
        )
    for name in CLASSES:
        registry.read_counter(
            f"node_{name}_not_heard_total",
            f"Messages of other nodes about {name} that a test had dropped",
            lambda name=name: peer_filter.total(name),  # type: ignore[misc]
        )
    return registry.render
