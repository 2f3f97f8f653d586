"""Real processes: how a node is made, started and refused; members, sessions, time, leases, metrics."""

import http.client
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from local_cluster import LocalCluster, until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Shared by the tests that break nothing."""
    with LocalCluster(tmp_path_factory.mktemp("cluster")) as started:
        started.leader()
        yield started


def start_once(cluster: LocalCluster, arguments: list[str]) -> tuple[int, str]:
    """Start a node that should not stay; its exit status and what it said."""
    run = subprocess.run(
        [*cluster.command, *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    return run.returncode, run.stderr


def run_in(data: Path) -> list[str]:
    return ["run", "--data", str(data)]


def test_exit_statuses_of_init(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    data = tmp_path / "n1"
    whole = ["init", "--data", str(data), "--cluster", "c", "--name"]
    members = cluster.members(cluster.names)
    assert start_once(cluster, ["init", "--name", "n1"])[0] == 2
    assert start_once(cluster, [*whole, "n7", *members])[0] == 2
    assert start_once(cluster, [*whole, "n1", *members, "--peer", "n4=nonsense"])[0] == 2
    assert start_once(cluster, [*whole, "n1", *members, "--peer", "n4=127.0.0.1:70000"])[0] == 2
    assert start_once(cluster, [*whole, "n1", *members, "--join"])[0] == 2
    short = tmp_path / "short"
    short.write_text("0123456789")
    status, said = start_once(cluster, [*whole, "n1", *members, "--secret-file", str(short)])
    assert (status, "at least 16 bytes" in said) == (2, True)
    assert not data.exists()
    assert start_once(cluster, [*whole, "n1", *members])[0] == 0
    before = (data / "identity").read_bytes()
    status, said = start_once(cluster, [*whole, "n1", *members])
    assert (status, "exists" in said) == (2, True)
    assert (data / "identity").read_bytes() == before
    assert (data / "secret").stat().st_mode & 0o077 == 0


def test_exit_statuses_of_run(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    data = tmp_path / "n1"
    status, said = start_once(cluster, run_in(data))
    assert (status, "`init` makes a new node" in said) == (6, True)
    assert start_once(cluster, [*run_in(data), "--election-timeout-ms", "50"])[0] == 2
    assert start_once(cluster, [*run_in(data), "--snapshot-entries", "-1"])[0] == 2
    assert start_once(cluster, [*run_in(data), "--chunk-bytes", "1000000"])[0] == 2
    with cluster:
        cluster.write("n1", "k", 1)
        cluster.write("n1", "k", 2)
        status, said = start_once(cluster, run_in(data))
        assert (status, "in use" in said) == (5, True)
        shutil.copytree(data, tmp_path / "copy")
        (tmp_path / "copy" / "lock").unlink()
        status, said = start_once(cluster, run_in(tmp_path / "copy"))
        assert (status, "listen" in said) == (5, True)
    # A log that was put among the data of another node.
    stolen = tmp_path / "n2"
    for path in stolen.glob("wal-*"):
        path.unlink()
    for path in data.glob("wal-*"):
        shutil.copy(path, stolen / path.name)
    status, said = start_once(cluster, run_in(stolen))
    assert status == 2, said
    # Damaged below what was durable.
    wal = next(data.glob("wal-*"))
    content = bytearray(wal.read_bytes())
    content[len(content) // 3] ^= 4
    wal.write_bytes(content)
    status, said = start_once(cluster, run_in(data))
    assert status == 3
    assert wal.name in said
    assert "offset" in said


def test_a_wiped_node_does_not_start_and_made_anew_is_not_let_in(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        cluster.write("n1", "k", 1)
        until(lambda: cluster.status("n3")["applied_index"] >= 2, "replication to n3")
        cluster.kill("n3")
        shutil.rmtree(tmp_path / "n3")
        assert start_once(cluster, run_in(tmp_path / "n3"))[0] == 6
        # Somebody makes it anew under its old name: nobody counts with it.
        leader = cluster.leader(["n1", "n2"])
        other = "n2" if leader == "n1" else "n1"
        cluster.start("n3")
        until(lambda: "came back without its data" in cluster.log(leader), "refusal")
        assert cluster.status("n3")["last_index"] == 0
        # With the other one stopped there is no majority, though two processes run.
        cluster.kill(other)
        assert cluster.try_call(leader, op="write", key="k", value=2) is None
        cluster.start(other)
        # Removed and added again it is a member like any other.
        cluster.kill("n3")
        leader = cluster.leader(["n1", "n2"])
        until(lambda: cluster.admin(leader, op="remove_member", name="n3")[0] == 200, "removal")
        until(lambda: cluster.status(leader)["voters"] == ["n1", "n2"], "two voters")
        cluster.start("n3")
        at = {"peer": cluster.peers["n3"], "client": cluster.clients["n3"]}
        where = {kind: f"127.0.0.1:{port}" for kind, port in at.items()}
        until(
            lambda: cluster.admin(leader, op="add_member", name="n3", **where)[0] == 200, "addition"
        )
        until(lambda: cluster.status(leader)["voters"] == ["n1", "n2", "n3"], "three voters")
        assert cluster.read("n3", "k") in (1, 2)


def test_members_come_and_go_and_leadership_moves(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, options=["--snapshot-entries", "20"]) as cluster:
        leader = cluster.leader()
        for number in range(60):
            cluster.write(leader, "k", number)
        # The new one gets a snapshot, since the log no longer begins at its beginning.
        assert cluster.status(leader)["first_index"] > 1
        cluster.add("n4", "--snapshot-entries", "20")
        where = {
            "peer": f"127.0.0.1:{cluster.peers['n4']}",
            "client": f"127.0.0.1:{cluster.clients['n4']}",
        }
        assert cluster.admin(leader, op="add_member", name="n4", **where)[0] == 200
        until(lambda: cluster.status("n4")["voters"] == ["n1", "n2", "n3", "n4"], "four voters")
        assert cluster.status("n4")["snapshot_index"] > 0
        assert cluster.read("n4", "k") == 59
        status, answer = cluster.admin(leader, op="transfer", to="n4")
        assert (status, answer["value"]) == (200, "n4")
        assert cluster.leader([*cluster.names, "n4"]) == "n4"
        removal = {"op": "remove_member", "name": leader}
        until(lambda: cluster.admin("n4", **removal)[0] == 200, "removal of the former leader")
        left = [name for name in (*cluster.names, "n4") if name != leader]
        until(lambda: cluster.status("n4")["voters"] == sorted(left), "three voters")
        # The leader removes itself, and the others go on.
        removal = {"op": "remove_member", "name": "n4"}
        until(lambda: cluster.admin("n4", **removal)[0] == 200, "removal of the leader itself")
        left.remove("n4")
        follows = cluster.leader(left)
        cluster.write(left[0], "k", "at last")
        assert cluster.read(left[1], "k") == "at last"
        members = cluster.request(follows, "GET", "/v1/members")[1]
        assert members["voters"] == sorted(left)
        assert cluster.admin(follows, op="remove_member", name="nobody")[1]["error"]["code"] == (
            "unknown-member"
        )
        follower = next(name for name in left if name != follows)
        status, answer = cluster.admin(follower, op="remove_member", name=follower)
        assert (status, answer["error"]["code"]) == (503, "not-leader")
        assert answer["error"]["leader"] == follows


def test_a_session_makes_a_retry_through_another_node_happen_once(cluster: LocalCluster) -> None:
    session = until(lambda: cluster.try_call("n1", op="open_session"), "session")["value"]
    asked = {"op": "append", "key": "once", "value": 1,
             "session": {"id": session, "seq": 1, "ack": 0}}  # fmt: skip
    answers = [until(partial(cluster.try_call, name, **asked), "append") for name in cluster.names]
    assert [answer["value"] for answer in answers] == [1, 1, 1]
    assert cluster.read("n1", "once") == [1]


def test_what_has_a_time_to_live_is_gone_everywhere(cluster: LocalCluster) -> None:
    cluster.call(cluster.leader(), op="write", key="short", value=1, ttl_ms=300)
    until(lambda: [cluster.read(name, "short") for name in cluster.names] == [None] * 3, "expiry")

    def converged() -> list[Any] | None:
        states = [cluster.status(name) for name in cluster.names]
        return states if len({state["applied_index"] for state in states}) == 1 else None

    applied = until(converged, "convergence") or []
    assert len(applied) == 3
    assert len({state["state_hash"] for state in applied}) == 1


def test_reads_by_lease_and_stale_reads(tmp_path: Path) -> None:
    with LocalCluster(tmp_path, options=["--leases"]) as cluster:
        leader = cluster.leader()
        cluster.write(leader, "k", 1)
        for name in cluster.names:
            for mode in ("lease", "linear"):
                answer = cluster.try_call(name, op="read", key="k", mode=mode)
                assert answer["value"] == 1, (name, mode)
        for name in cluster.names:
            if name != leader:
                cluster.kill(name)
        # Nobody can confirm anything any more, but what is here can be seen.
        assert cluster.try_call(leader, op="read", key="k", mode="stale")["value"] == 1
        assert cluster.try_call(leader, op="read", key="k", mode="linear") is None
        assert cluster.try_call(leader, op="read", key="k", mode="lease") is None


def test_metrics_say_what_happened(cluster: LocalCluster) -> None:
    cluster.write("n1", "counted", 1)
    connection = http.client.HTTPConnection("127.0.0.1", cluster.clients["n1"], timeout=6)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#")
    )
    assert int(values["node_commit_index"]) >= 2
    assert int(values["node_operations_ok_total"]) >= 1
    assert values["node_voters"] == "3"
