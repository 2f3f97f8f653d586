"""The page of text that people read: what is on it, how wide it is, and that it cannot be abused."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from certificates import history

from checker import Verdict, check, model_named
from checker import decide as decide  # the kernels are in memory, whatever else was run
from checker.history import Event, EventType, History
from checker.models import model_from
from checker.page import as_text, picture
from checker.verdict import CheckResult, KeyResult

CAS = model_named("cas-register")
OK, FAIL, INFO, INVOKE = EventType.OK, EventType.FAIL, EventType.INFO, EventType.INVOKE
WIDTH = 100


def timed(random: History) -> History:
    """Return the history with a time for each event, a millisecond apart."""
    return History(tuple(replace(e, time=1_000_000 * n) for n, e in enumerate(random.events)))


def result(verdict: Verdict, **more: Any) -> CheckResult:
    keys = more.pop("keys", (KeyResult(key=None, verdict=verdict, operations=3),))
    return CheckResult(verdict=verdict, algorithm="depth-first", operations=3, seconds=0.126,
                       peak_mb=12.6, keys=keys, **more)  # fmt: skip


def page(random: History, model: Any = CAS) -> str:
    found = check(random, model)
    return as_text("h.jsonl", replace(found, seconds=0.5, peak_mb=7.0, algorithm="x"))


def test_valid() -> None:
    ordered = KeyResult(key=None, verdict=Verdict.VALID, operations=3, linearization=(0, 2, 4))
    assert as_text("h.jsonl", result(Verdict.VALID, keys=(ordered,))).splitlines() == [
        "h.jsonl: valid",
        "  3 operations, 1 keys, depth-first, 0.13 s, 13 MB",
        "  proved by an order of the operations, played through the model",
    ]


def test_a_verdict_without_an_order_claims_none() -> None:
    assert as_text("h.jsonl", result(Verdict.VALID)).splitlines() == [
        "h.jsonl: valid",
        "  3 operations, 1 keys, depth-first, 0.13 s, 13 MB",
    ]


def test_unknown() -> None:
    why = "time (5 of 9 operations ordered, 100 steps)"
    assert as_text("h.jsonl", result(Verdict.UNKNOWN, reason=why)).splitlines() == [
        f"h.jsonl: unknown ({why})",
        "  3 operations, 1 keys, depth-first, 0.13 s, 13 MB",
    ]
    empty = result(Verdict.UNKNOWN, keys=(), reason="no operations")
    assert as_text("h", empty).startswith("h: unknown (no operations)\n  3 operations, 0 keys")


def test_invalid_with_its_picture() -> None:
    random = timed(history("0 write@a 1", "2 write@a 5", "0 ok", "1 read@a", "1 ok 5", "2 info",
                           "3 read@a", "3 ok 7"))  # fmt: skip
    lines = page(random).splitlines()
    after = lines.index("", 3)
    assert " ".join(" ".join(lines[3:after]).split()) == (
        "key a: All operations that returned before process 3's read 7 (event 6) can be ordered, "
        "but after no order of them can it take effect: it would need the value 7, but it is 5."
    )
    assert [*lines[:3], *lines[after:]] == [
        "h.jsonl: invalid",
        "  4 operations, 1 keys, x, 0.50 s, 7 MB",
        "",
        "",
        "  event  start ms  end ms  process  operation  outcome",
        "  0      0.000     2.000   0        write 1    ok",
        "  1      1.000             2        write 5    info",
        "  3      3.000     4.000   1        read 5     ok",
        "  6      6.000     7.000   3        read 7     ok",
        "        ^ would need the value 7, but it is 5",
        "",
        "  0  write 1  |---------------|",
        "  2  write 5          |----------------------------------------...",
        "  1  read 5                           |-------|",
        "  3  read 7                                           |-------|",
        "",
        "  before it, every order that is left ends in one of these states: 5",
        "",
        "  proved by a core of 1 operations that has no order, 1 of which must have taken effect",
    ]


def test_invalid_with_its_circle() -> None:
    lines = page(timed(history("0 write@a 1", "0 ok", "1 read@a", "1 ok null"))).splitlines()
    at = lines.index("  a circle of what must come before what:")
    assert lines[at + 1 :] == [
        "    read null (event 2) saw a value that write 1 (event 0) changed, so it came before",
        "    write 1 (event 0) returned before read null (event 2) was invoked",
        "",
        "  proved by a core of 2 operations that has no order, 2 of which must have taken effect",
    ]


def operation(**more: Any) -> dict[str, Any]:
    return {"index": 0, "process": 0, "f": "read", "key": None, "value": 1, "type": "ok",
            "start_ns": 0, "end_ns": 5, "node": None, "why_not": None, **more}  # fmt: skip


class TestPicture:
    """Bars over the order of events."""

    def test_what_overlaps_overlaps(self) -> None:
        times = [(0, 10), (5, 20), (12, 30), (31, 40)]
        drawn = picture([operation(start_ns=a, end_ns=b) for a, b in times])
        spans = [(line.index("|"), line.rindex("|")) for line in drawn]
        for one, (a, b) in zip(spans, times, strict=True):
            for other, (c, d) in zip(spans, times, strict=True):
                assert (one[1] < other[0]) == (b < c)
                assert (one[0] < other[1]) == (a < d)

    def test_equal_times_overlap(self) -> None:
        """Who was invoked when another returned came before its return."""
        first, second = picture([operation(end_ns=5), operation(start_ns=5, end_ns=9)])
        assert second.index("|") < first.rindex("|")

    def test_what_never_returned_is_open(self) -> None:
        for open_one in (operation(type="info", end_ns=None), operation(type="info", end_ns=3)):
            (line,) = picture([open_one])
            assert line.endswith("...")
            assert line.count("|") == 1

    def test_without_times_and_without_operations(self) -> None:
        assert picture([]) == []
        assert picture([operation(), operation(start_ns=None, end_ns=None)]) == []

    def test_many_are_still_narrow(self) -> None:
        drawn = picture([
            operation(process=10**9 + n, value="x" * 300, start_ns=n, end_ns=n + 30)
            for n in range(40)
        ])  # fmt: skip
        assert len(drawn) == 40
        assert max(map(len, drawn)) <= WIDTH


LONG = "v" * 400


@pytest.mark.parametrize(
    "random",
    [
        history("0 write@a 1", "0 ok", "1 read@a", "1 ok null"),
        history("0 write@a 1", "0 ok", "1 read@a", f'1 ok "{LONG}"'),
        history(f'0 write@a "{LONG}"', "0 ok", "1 read@a", "1 ok null"),
        history(*(line for n in range(30) for line in (f"{n} write@a {n}", f"{n} ok")),
                "77 read@a", "77 ok 3"),
        history(f"0 write@{LONG} 1", "0 ok", f"1 read@{LONG}", "1 ok null"),
    ],
    ids=["plain", "long-read", "long-write", "many", "long-key"],
)  # fmt: skip
def test_a_page_is_no_wider_than_it_says(random: History) -> None:
    text = page(timed(random))
    assert [line for line in text.splitlines() if len(line) > WIDTH] == []


HOSTILE = [
    "a\nb: valid",
    "\x1b[2J\x1b[31mred",
    "bell\x07",
    "\x9b31m",
    "\x7f",
    "tab\there",
    "\r",
    "\u2028",
]


def assert_plain(text: str) -> None:
    """Nothing on a page moves the cursor or begins a line but the page itself."""
    lines = text.split("\n")
    assert [line for line in lines if line.startswith("b: valid")] == []
    wild = [ascii(c) for c in "".join(lines) if unicodedata.category(c) in ("Cc", "Zl", "Zp")]
    assert wild == []


@pytest.mark.parametrize("where", ["value", "key", "state", "function", "path", "reason"])
def test_hostile_text_stays_text(where: str) -> None:
    for text in HOSTILE:
        plain = timed(history("0 write@a 1", "0 ok", "1 read@a", "1 ok 2"))
        model: Any = CAS
        events = list(plain.events)
        if where == "value":
            events[3] = replace(events[3], value=text)
        elif where == "state":
            events[:2] = [replace(event, value=text) for event in events[:2]]
        elif where == "key":
            events = [replace(event, key=text) for event in events]
        elif where == "function":
            model = model_from("any", lambda state, f, value, answer: None, initial="x")
            events = [replace(event, f=text) for event in events]
        elif where == "reason":  # more than one invalid key: they are named
            more = [replace(e, index=e.index + 4, time=(e.time or 0) + 10**9) for e in events]
            events += [replace(event, key=text) for event in more]
        found = check(History(tuple(events)), model)
        assert found.verdict is Verdict.INVALID
        assert_plain(as_text(text if where == "path" else "h", found))


def test_half_a_surrogate_does_not_break_the_page() -> None:
    """It is for whoever prints to replace what cannot be printed; nothing here fails on it."""
    random = timed(history("0 write@a 1", "0 ok", "1 read@a", '1 ok "\\ud800"'))
    renamed = History(tuple(replace(e, key="\udfff") for e in random.events))
    for some in (random, renamed):
        text = page(some)
        assert (
            text.encode("utf-8", "backslashreplace").decode("utf-8").startswith("h.jsonl: invalid")
        )


def test_what_an_event_may_be() -> None:
    """Failed operations, other processes, no node: the table shows what there is."""
    events = [
        Event(index=7, process=3, type=INVOKE, f="cas", value=[1, 2], time=0),
        Event(index=8, process=3, type=FAIL, f="cas", value=[1, 2], time=2_500_000),
        Event(index=9, process=4, type=INVOKE, f="read", value=None, time=3_000_000),
        Event(index=12, process=4, type=OK, f="read", value={"b": [1], "a": "ü"}, time=3_000_001),
    ]
    lines = page(History(tuple(events))).splitlines()
    assert any(
        line.split() == ["9", "3.000", "3.000", "4", "read", '{"b":', "[1],", '"a":', '"ü"}', "ok"]
        for line in lines
    )
