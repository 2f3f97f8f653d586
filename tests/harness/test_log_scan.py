"""What logs give away: every runtime's way to say it, no false alarm, and who is accused."""

from pathlib import Path
from typing import Any

import pytest

from checker.verdict import Verdict
from harness.experiment import Findings
from harness.host_files import scan_logs
from harness.judge import log_scan
from harness.log_scan import HITS_MAX, STANDARD, TEXT_MAX, Hit, Scan, scan
from harness.nemesis.conductor import FaultRecord
from harness.nemesis.faults import Certainty, Report
from harness.nemesis.plan import Fault
from harness.systems import KINDS

PANIC = "panic: runtime error: index out of range [3] with length 3"


def hits(*lines: str, system: str = "raft") -> list[Hit]:
    return list(scan(lines, KINDS[system].log_patterns, node="n1", file="log").hits)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (PANIC, "panic"),
        ("fatal error: all goroutines are asleep - deadlock!", "panic"),
        ("SIGSEGV: segmentation violation", "panic"),
        ("thread 'main' panicked at 'no entry', src/main.rs:7:5", "panic"),
        ('Exception in thread "main" java.lang.NullPointerException', "panic"),
        ('{"level":"panic","ts":"2026-11-24T10:00:00Z","msg":"unexpected removal"}', "panic"),
        ("WARNING: DATA RACE", "data race"),
        ("WARNING: ThreadSanitizer: data race (pid=9)", "data race"),
        ("==9==ERROR: AddressSanitizer: heap-use-after-free on address 0x60", "sanitizer"),
        ("raft.c:31:9: runtime error: signed integer overflow: 2147483647 + 1", "sanitizer"),
        ("node: raft.c:31: append: Assertion `term >= last' failed.", "assertion"),
        ("AssertionError: term went back", "assertion"),
        ("fatal error: runtime: out of memory", "out of memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "out of memory"),
        ("MemoryError", "out of memory"),
        ("12 unexpected: Exception in callback Node._pump(): KeyError(1)", "unexpected"),
    ],
)
def test_every_runtime_has_its_way_to_say_it(line: str, name: str) -> None:
    (hit,) = hits("all is well", line)
    assert (hit.pattern.name, hit.line, hit.text) == (name, 2, line)


@pytest.mark.parametrize(
    "line",
    [
        "27576904 cannot connect to n1 at 198.18.4.1:7000: no answer",
        "27576904 lost n1: [Errno 104] Connection reset by peer",
        "37119634 the disk refused: [Errno 24] Too many open files: '/srv/data/snapshot.tmp'",
        "9 unexpected: socket.accept() out of system resource: OSError(24, 'Too many open files')",
        '{"level":"info","msg":"trace[1] range","detail":"{range_begin:panic; }"}',
        '{"level":"warn","msg":"failed to reach peer","error":"out of memory budget"}',
        '{"level":"fatal","msg":"etcdserver: no space left on device"}',
        "recovered after a panic: nothing was lost",
        "  File 'assertion.py', line 3, in AssertionErrors",
    ],
)
def test_what_is_only_spoken_of_is_no_hit(line: str) -> None:
    assert hits(line) == []


def test_of_a_traceback_the_line_is_told_that_says_what_it_was() -> None:
    trace = ["Traceback (most recent call last):", '  File "node.py", line 3', "    x()", ""]
    (hit,) = hits(*trace, "KeyError: 'n1'", "12 n1 serves")
    assert hit.text == "Traceback (most recent call last): ... KeyError: 'n1'"
    assert (hit.line, hit.pattern.name) == (1, "traceback")
    (hit,) = hits(*trace, "AssertionError: two leaders")
    assert hit.pattern.name == "assertion"
    (hit,) = hits(*trace, "MemoryError")
    assert not hit.pattern.accuses_system
    (hit,) = hits(*trace[:2])  # killed in the middle of it
    assert hit.pattern.name == "traceback"


def test_one_sort_of_hit_does_not_hide_another_and_all_are_counted() -> None:
    seen = scan([PANIC] * 100 + ["WARNING: DATA RACE"], STANDARD, node="n1", file="log")
    assert [hit.pattern.name for hit in seen.hits] == ["panic"] * HITS_MAX + ["data race"]
    assert (seen.lines, seen.total) == (101, 101)


def test_long_lines_are_cut() -> None:
    (hit,) = hits("panic: " + "x" * 10_000)
    assert len(hit.text) == TEXT_MAX


def test_every_hosts_logs_are_looked_through_and_named_by_file_and_line(tmp_path: Path) -> None:
    for node, text in (("n1", b"fine\n\xff\n"), ("n2", f"fine\n{PANIC}\n".encode())):
        (tmp_path / "hosts" / node).mkdir(parents=True)
        (tmp_path / "hosts" / node / "system.log").write_bytes(text)
        (tmp_path / "hosts" / node / "clock.json").write_text(PANIC)
    scans = scan_logs(tmp_path / "hosts", STANDARD)
    assert [one.lines for one in scans] == [2, 2]
    (hit,) = [hit for one in scans for hit in one.hits]
    assert hit.detail == f"panic at hosts/n2/system.log:2: {PANIC}"


def judged(
    line: str,
    *,
    fault: tuple[str, str] = ("kill", "kill-one"),
    struck: str = "n1",
    seen: Certainty = Certainty.INSTALLED,
    contained: bool = False,
) -> Any:
    kind, name = fault
    planned = Fault(id=0, kind=kind, name=name, start_ns=0, stop_ns=1, targets=(struck,),
                    fallback=(struck,))  # fmt: skip
    reports = {struck: Report(seen, "seen", contained=contained)}
    record = FaultRecord(planned, targets=(struck,), begun=reports)
    found = scan([line], KINDS["raft"].log_patterns, node="n1", file="log")
    findings = Findings(log_scans=[found], records=[record])
    (check,) = log_scan(findings)
    return check, findings.failures


def test_a_panic_that_no_fault_explains_is_a_violation_with_file_line_and_text() -> None:
    check, failures = judged(PANIC)
    assert check.name == "log-scan"
    assert check.verdict is Verdict.INVALID
    assert check.reason == f"n1: panic at log:1: {PANIC}"
    assert check.to_json()["hits"][0]["line"] == 1
    assert failures == []


@pytest.mark.parametrize(
    ("line", "fault", "struck", "verdict"),
    [
        (PANIC, ("disk", "full"), "n1", Verdict.VALID),
        (PANIC, ("resource", "memory"), "n1", Verdict.VALID),
        (PANIC, ("resource", "descriptors"), "n1", Verdict.VALID),
        (PANIC, ("resource", "cpu"), "n1", Verdict.INVALID),
        (PANIC, ("disk", "full"), "n2", Verdict.INVALID),
        (PANIC, ("disk", "power-loss-all"), "n1", Verdict.INVALID),
        ("WARNING: DATA RACE", ("disk", "full"), "n1", Verdict.INVALID),
    ],
)
def test_want_explains_a_panic_of_who_was_struck_and_never_a_data_race(
    line: str, fault: tuple[str, str], struck: str, verdict: Verdict
) -> None:
    check, failures = judged(line, fault=fault, struck=struck)
    assert check.verdict is verdict
    assert ("explained by faults: n1: " in check.reason) is (verdict is Verdict.VALID)
    assert failures == []


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Certainty.SKIPPED, Verdict.INVALID),
        (Certainty.INDETERMINATE, Verdict.VALID),
        (Certainty.INSTALLED, Verdict.VALID),
    ],
)
def test_a_fault_that_the_host_could_not_do_explains_nothing(
    seen: Certainty, verdict: Verdict
) -> None:
    assert judged(PANIC, fault=("resource", "memory"), seen=seen)[0].verdict is verdict


def test_a_node_that_refuses_damaged_data_may_say_so_in_its_own_way() -> None:
    flipped = ("damage", "bit-flip")
    assert judged(PANIC, fault=flipped, contained=True)[0].verdict is Verdict.VALID
    assert judged(PANIC, fault=flipped)[0].verdict is Verdict.INVALID


def test_memory_that_ran_out_by_itself_is_the_hosts_failure_and_accuses_nobody() -> None:
    check, failures = judged("fatal error: runtime: out of memory")
    assert check.verdict is Verdict.VALID
    assert len(failures) == 1
    assert failures[0].startswith("n1: out of memory at log:1: fatal error")
    assert judged("MemoryError", fault=("resource", "memory"))[1] == []


def test_a_log_that_could_not_be_had_was_not_looked_through() -> None:
    findings = Findings(log_scans=[Scan(9, (), 0)], unread_logs=["n2: not fetched"])
    (check,) = log_scan(findings)
    assert (check.verdict, check.reason) == (Verdict.UNKNOWN, "n2: not fetched")
    panic = hits(PANIC)
    findings.log_scans = [Scan(9, tuple(panic), len(panic))]
    assert log_scan(findings)[0].verdict is Verdict.INVALID
    (check,) = log_scan(Findings(unread_logs=["n1: not fetched"]))
    assert check.verdict is Verdict.UNKNOWN


def test_logs_in_which_nothing_was_found_are_a_check_too_and_no_logs_are_none() -> None:
    (check,) = log_scan(Findings(log_scans=[Scan(9, (), 0)]))
    assert (check.verdict, check.reason) == (Verdict.VALID, None)
    assert check.to_json()["lines"] == 9
    assert log_scan(Findings()) == []
