"""The benchmark's own arithmetic and edges. No test here measures anything."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench_node import command, growth, lab, machine, measures, profiling, servers, wire
from tools.bench_node.cluster import Cluster
from tools.bench_node.growth import Finding
from tools.bench_node.load import Plan, Seen, row_of, run_load, shares, workers_for
from tools.bench_node.measures import Row, percentile
from tools.bench_node.node_command import NodeOptions, commands
from tools.bench_node.processes import Failed, Processes, cpu_s, rss_mb, run

ROW = Row(system="node", nodes=3, targets="all", clients=64, kind="write", operations=1000,
          seconds=2.0, p50_ms=1.0, p99_ms=9.0, server_cpu_s=0.5)  # fmt: skip


def row(system: str, per_second: int, clients: int = 64) -> Row:
    return replace(ROW, system=system, clients=clients, operations=per_second, seconds=1.0)


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_the_smallest_value_with_that_share_at_or_below(
    values: list[int], share: float
) -> None:
    found = percentile(sorted(values), share)
    slowly = [v for v in values if sum(w <= v for w in values) >= share * len(values)]
    assert found == min(slowly)


def test_percentiles_of_few_and_of_none() -> None:
    assert percentile([], 0.99) == 0
    assert percentile([7], 0.5) == 7
    assert percentile(list(range(1, 101)), 0.99) == 99
    assert percentile(list(range(1, 101)), 0.50) == 50


def test_a_result_above_half_of_the_same_clients_ceiling_is_client_bound() -> None:
    rows = [row("instant", 1000), row("node", 501), row("etcd", 500), row("instant", 10, clients=1)]
    assert [measures.is_client_bound(one, rows) for one in rows] == [False, True, False, False]
    assert not measures.is_client_bound(row("node", 10**6, clients=16), rows), "no ceiling is known"
    reads = replace(row("node", 501), kind="read")
    assert not measures.is_client_bound(reads, rows), "reads have a ceiling of their own"
    lines = measures.throughput_table(rows).splitlines()
    assert [line.endswith("client-bound |") for line in lines[2:]] == [False, True, False, False]
    assert "| 50% |" in lines[3]


def test_the_table_says_what_was_measured_and_what_was_not() -> None:
    absent = Row(system="etcd", nodes=0, targets="-", clients=0, kind="-", reason="none | here")
    lines = measures.throughput_table([ROW, absent]).splitlines()
    assert "| node | 3 | all | 64 | write | 500 | 1.00 | 9.00 | 0.500 | - |" in lines[2]
    assert lines[3].startswith("| etcd | - | - | - | - | - |")
    assert lines[3].endswith("not measured: none \\| here |")


def test_every_line_of_a_table_has_as_many_cells() -> None:
    text = measures.throughput_table([ROW, row("instant", 7), replace(ROW, reason="a\nb|c")])
    cells = {line.replace("\\|", "").count("|") for line in text.splitlines()}
    assert len(cells) == 1


def test_goals_compare_writes_at_the_most_clients() -> None:
    rows = [row("node", 600), row("etcd", 1000), row("pysyncobj", 100), row("node", 9, clients=1),
            row("pysyncobj", 1, clients=1)]  # fmt: skip
    lines = measures.goals_table(rows).splitlines()[2:]
    assert [line.split(" | ")[6:] for line in lines] == [
        ["6.00", ">= 10", "MISSED |"],
        ["0.60", ">= 0.6", "met |"],
    ]
    assert measures.goals_table([row("etcd", 5)]) == ""


def test_what_a_load_saw_becomes_a_row() -> None:
    plan = Plan(system="node", kind="write", clients=64, addresses=[], seconds=2.0, warm_up_s=0.0)
    seen = Seen([10**6, 2 * 10**6, 3 * 10**6], Counter({"status 503": 4}), 0.3, 0.5)
    made = row_of(replace(ROW, operations=0), plan, seen)
    assert (made.operations, made.p50_ms, made.p99_ms, made.errors) == (3, 2.0, 3.0, 4)
    assert made.cpu_s_per_1000 == pytest.approx(100.0)
    assert made.note == "4 x status 503"


@given(st.integers(1, 200), st.integers(1, 20))
def test_every_client_is_dealt_to_one_worker(clients: int, workers: int) -> None:
    dealt = shares(clients, workers)
    assert sorted(number for share in dealt for number in share) == list(range(clients))
    assert all(dealt)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


def test_workers_leave_half_of_the_cores_to_the_servers() -> None:
    assert [workers_for(clients, 2) for clients in (1, 16, 64)] == [1, 1, 1]
    assert [workers_for(clients, 16) for clients in (1, 16, 64)] == [1, 1, 2]


@pytest.mark.parametrize("system", list(servers.SYSTEMS))
@pytest.mark.parametrize("kind", wire.KINDS)
def test_a_request_says_its_own_length(system: str, kind: str) -> None:
    head, _, body = wire.request(system, kind, "k", "v").partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert (b"dg==" in body or b'"v"' in body) == (kind == wire.WRITE)


@given(st.integers(0, 200), st.sampled_from([b"Content-Length", b"content-length"]))
def test_an_answer_is_whole_with_its_last_byte_and_not_before(length: int, name: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX: y\r\n%s: %d\r\n\r\n" % (name, length) + b"z" * length
    assert wire.answer_status(answer) == 200
    for end in range(1, len(answer)):
        assert wire.answer_status(answer[:end]) == 0


def test_other_answers() -> None:
    chunked = b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert wire.answer_status(chunked) == 503
    assert wire.answer_status(chunked[:-4]) == 0
    assert wire.answer_status(b"SSH-2.0-OpenSSH\r\n") == -1


def test_the_nodes_command_line() -> None:
    members = [lab.Member("n1", "10.0.0.1", 7000, 7001), lab.Member("n2", "10.0.0.2", 7000, 7001)]
    program = ("python3", "node.pyz")

    def make(options: NodeOptions) -> tuple[str, str]:
        whole = commands(program, members[0], members, Path("d"), options)
        [made] = whole.before
        return " ".join(made), " ".join(whole.serve)

    made, serve = make(NodeOptions())
    assert made == (
        "python3 node.pyz init --data d --name n1 --cluster bench "
        "--peer n1=10.0.0.1:7000 --client n1=10.0.0.1:7001 "
        "--peer n2=10.0.0.2:7000 --client n2=10.0.0.2:7001"
    )
    assert serve == "python3 node.pyz run --data d"
    assert make(NodeOptions(snapshot_entries=0))[1] == f"{serve} --snapshot-entries 0"


def test_a_finding_that_fails_says_why() -> None:
    def fails() -> Finding:
        raise Failed("no such thing")

    empty = Finding(what="recovery", variant="on")
    assert growth.attempt(empty, fails) == replace(
        empty, result="not measured", note="no such thing"
    )


def test_a_profile_leaves_waiting_out() -> None:
    stats: dict[profiling.Function, tuple[int, int, float, float, Any]] = {
        ("~", 0, "<method 'poll' of 'select.epoll' objects>"): (1, 1, 9.0, 9.0, {}),
        ("~", 0, "<method 'send' of '_socket.socket' objects>"): (5, 5, 1.0, 1.0, {}),
        ("/a/node/core/raft.py", 7, "step"): (8, 8, 3.0, 4.0, {}),
    }
    text = profiling.profile_table(stats)
    assert text.splitlines()[2] == "| 75.0% | 3.00 | 8 | core/raft.py:7 step |"
    assert "By part: node 75%, sockets 25%." in text
    assert "Busy 4.00 s, waiting 9.00 s" in text


def test_what_the_machine_is_can_always_be_said(tmp_path: Path) -> None:
    described = dict(machine.describe(tmp_path))
    assert "median" in described["fdatasync of 4096 bytes there"]
    assert described["cores"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["nothing"], ["--systems", "oracle"], ["--nodes", "0"]])
def test_options_that_make_no_sense_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.parse(words)
    assert "error:" in capsys.readouterr().err


def test_a_command_that_cannot_run_is_a_reason() -> None:
    with pytest.raises(Failed, match="no-such-program"):
        run(("no-such-program",), limit_s=5)
    with pytest.raises(Failed, match="last words"):
        run((sys.executable, "-c", "import sys; sys.exit('last words')"), limit_s=20)


def test_a_load_against_the_instant_server_and_nothing_is_left_running(tmp_path: Path) -> None:
    processes = Processes()
    context = servers.Context(processes, tmp_path)
    try:
        with Cluster(context, servers.Instant(), lab.Loopback().members(2)) as cluster:
            cluster.start()
            cluster.settle()
            pids = cluster.pids()
            patience_s = time.monotonic() + 20  # a process begins as a copy of nothing
            while not all(rss_mb(pid) > 1 for pid in pids):
                assert time.monotonic() < patience_s, [rss_mb(pid) for pid in pids]
                time.sleep(0.02)
            places = [(member.host, member.client_port) for member in cluster.members]
            plan = Plan(system="instant", kind="read", clients=3, addresses=places, seconds=0.2,
                        warm_up_s=0.0, workers=2)  # fmt: skip
            seen = run_load(processes, plan, pids)
            assert len(seen.latencies_ns) > 3
            assert not seen.errors
            assert list(seen.latencies_ns) == sorted(seen.latencies_ns)
            cluster.stop_one("n2")
            broken = run_load(processes, replace(plan, clients=1, workers=1), pids)
            assert broken.errors, "half of the operations have nobody to answer"
            assert broken.latencies_ns
    finally:
        processes.stop_all()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert cpu_s(pid) == 0.0
