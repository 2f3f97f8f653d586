"""The story of a violation: the drawing, the sentences, the log lines of those seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest  # noqa: TC002  (an annotation of an argument)

from reports import standing
from reports.counterexample import stories, tellers_of
from reports.drawing import Teller, draw
from reports.frames import metrics_frame
from reports.load import load
from reports.logs import _Offsets, read_logs

Folder = Callable[[str], Path]
MS = 1_000_000
S = 1000 * MS


def teller(index: int, process: int, start_ms: float, end_ms: float | None, **more: str) -> Teller:
    return Teller(
        index=index,
        process=str(process),
        node="n1",
        call=more.get("call", f"write {index}"),
        type="info" if end_ms is None else "ok",
        role="other",
        start_ns=int(start_ms * MS),
        end_ns=None if end_ms is None else int(end_ms * MS),
        why_not=None,
    )


def test_the_stuck_one_is_the_first_that_had_to_be_placed() -> None:
    operations = [
        {"index": 1, "type": "info", "start_ns": 0, "end_ns": None, "why_not": "x", "f": "write"},
        {"index": 3, "type": "ok", "start_ns": 5, "end_ns": 30, "why_not": "y", "f": "read"},
        {"index": 5, "type": "ok", "start_ns": 6, "end_ns": 20, "why_not": "z", "f": "read"},
        {"index": 7, "type": "ok", "start_ns": 1, "end_ns": 2, "why_not": None, "f": "write"},
    ]
    final = [{"state": "1", "linearized": [7], "pending": [1, 3, 5]}]
    roles = {t.index: t.role for t in tellers_of({"operations": operations, "final_states": final})}
    assert roles == {1: "open", 3: "other", 5: "stuck", 7: "placed"}


def test_the_drawing_keeps_the_order_of_all_moments() -> None:
    tellers = [
        teller(0, 1, 0, 900),
        teller(1, 2, 1, 1.001),
        teller(2, 3, 1.0005, 899.9999),
        teller(3, 2, 950, None),
    ]
    marks = [mark for lane in draw(tellers, [])["lanes"] for mark in lane["marks"]]
    placed = []
    for mark in marks:
        one = mark["teller"]
        placed.append((one.start_ns, mark["x"]))
        if one.end_ns is not None:
            placed.append((one.end_ns, mark["until"]))
        else:
            assert (mark["open"], mark["until"]) == (True, 100.0)
    placed.sort()
    assert all(0 <= x <= 100 for _time, x in placed)
    assert all(b[1] - a[1] > 0.5 for a, b in pairwise(placed))


def test_labels_of_a_lane_do_not_collide() -> None:
    tellers = [teller(n, 1, n * 0.01, n * 0.01 + 0.005, call="write " + "9" * 30) for n in range(8)]
    (lane,) = draw(tellers, [])["lanes"]
    rows = [mark["row"] for mark in lane["marks"]]
    assert max(rows) > 0
    for row in set(rows):
        own = [mark for mark in lane["marks"] if mark["row"] == row]
        spans = []
        for mark in own:
            width = 1.15 * 39
            left = mark["x"] if mark["anchor"] == "start" else mark["until"] - width
            spans.append((left, left + width))
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(spans)))


def test_a_fault_is_drawn_from_where_it_began() -> None:
    tellers = [teller(0, 1, 100, 200), teller(1, 2, 300, 400)]
    fault = {"name": "halves", "targets": ["n1"], "start_ns": 250 * MS, "stop_ns": None}
    before = {**fault, "start_ns": 0, "stop_ns": 150 * MS}
    drawing = draw(tellers, [fault, before])
    ends = {mark["teller"].index: mark for lane in drawing["lanes"] for mark in lane["marks"]}
    first, second = drawing["strips"]
    assert ends[0]["until"] < first["x"] < ends[1]["x"]
    assert first["until"] == 100.0
    assert second["x"] == 0.0
    assert ends[0]["x"] < second["until"] < ends[0]["until"]
    assert first["y"] != second["y"]


def test_a_story_has_the_faults_and_lines_of_its_time(runs: Folder) -> None:
    run = load(runs("violation"))
    (story,) = stories(run, read_logs(run))
    begin, end = story["from_us"] / 1e6, story["to_us"] / 1e6
    in_force = run.faults[
        (run.faults["start_ns"] <= end * S)
        & (run.faults["stop_ns"] >= begin * S)
        & (run.faults["evidence"] != "skipped")
    ]
    assert len(story["faults"]) == len(in_force) > 0
    moments = [float(line["moment"]) for line in story["logs"]]
    assert moments == sorted(moments)
    assert min(moments) >= begin - 2.001
    assert max(moments) <= end + 0.501
    assert {line["host"] for line in story["logs"]} >= {"n1", "n2", "n3", "n4", "n5"}


def test_a_pass_has_no_story(runs: Folder) -> None:
    run = load(runs("pass"))
    assert stories(run, read_logs(run)) == []


def test_lines_have_their_moment_and_inherit_it(own_run: Folder) -> None:
    run = own_run("vacuous")
    (run / "hosts" / "n1" / "node.log").write_text(
        "no stamp yet\n"
        "2026-11-23T21:00:01.250Z INFO up\n"
        "  Traceback: of the line above\n"
        "2026-11-23 21:00:02,5 WARN asctime\n"
        "[2026-11-23T22:00:03+01:00] zone\n"
        "2026-99-99T00:00:00Z no such day\n"
    )
    (run / "status.jsonl").unlink()
    book = read_logs(load(run))
    lines = next(lines for log, lines in book.logs if log.host == "n1")
    second = [None if line.time_ns is None else line.time_ns / S for line in lines]
    assert second == [None, 1.25, 1.25, 2.5, 3.0, 3.0]


def test_a_skewed_hosts_lines_are_moved_to_the_runs_time() -> None:
    rows = [
        {"time": n * S // 4, "node": "n1", "clock_offset_ms": 60_000.0 if 20 <= n < 40 else 0.3}
        for n in range(80)
    ]
    offsets = _Offsets(metrics_frame(rows))
    after: int | None = None
    for true_ns in (1 * S, 4 * S, 6 * S, 9 * S, 12 * S, 19 * S):
        skew_ns = 60 * S if 5 * S <= true_ns < 10 * S else 0
        after = offsets.corrected("n1", true_ns + skew_ns, after_ns=after)
        assert abs(after - true_ns) < S // 2
    assert offsets.corrected("n9", 5, after_ns=None) == 5


def test_excerpts_are_bounded(own_run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reports.load._LOG_BYTES_MAX", 200_000)
    run = own_run("pass")
    text = "".join(f"2026-11-23T21:00:{n % 30:02d}.000Z line {n} {'x' * 900}\n" for n in range(900))
    (run / "hosts" / "n1" / "node.log").write_text(text)
    loaded = load(run)
    excerpt = next(
        one
        for one in read_logs(loaded).excerpts(loaded.faults)
        if (one.host, one.cut) == ("n1", True)
    )
    assert len(excerpt.tail) == 40
    assert excerpt.tail[-1].text.split()[2] == "899"
    assert excerpt.total < 900
    assert all(len(line.text) <= 401 for line in excerpt.tail)
    assert 0 < sum(len(around.lines) for around in excerpt.around) <= 240


def samples(*told: dict[str, object]) -> list[dict[str, object]]:
    """Samples of three nodes at one second; `told` are changes and further ones."""
    return [
        {"time": S, "node": f"n{n + 1}", "reachable": True, "role": "follower", "term": 3}
        | {"leader": "n2", "commit_index": 1200 + n, "applied_index": 1199}
        | {"clock_offset_ms": -1.5, "clock_error_ms": 0.25}
        | (told[n] if n < len(told) else {})
        for n in range(max(3, len(told)))
    ]


def stood(run: Path, moment_ns: int, rows: list[dict[str, object]]) -> dict[str, Any] | None:
    (run / "status.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return standing.at(load(run), moment_ns)


def test_the_nodes_stand_as_they_were_asked_nearest_to_the_moment(own_run: Folder) -> None:
    run = own_run("violation")
    rows = samples({}, {"role": "leader"}, {"reachable": False})
    rows += [{**row, "time": S + 250 * MS, "term": 9} for row in rows]
    told = stood(run, S + 100 * MS, rows)
    assert told is not None
    first, second, third = told["nodes"][:3]
    assert (first["role"], first["term"], first["leader"]) == ("follower", "3", "n2")
    assert (first["commit_index"], first["applied_index"]) == ("1\u202f200", "1\u202f199")
    assert first["clock"] == "\u22121.5\u202fms ± 0.25\u202fms"
    assert first["asked"] == "100\u202fms before"
    assert (second["leads"], second["role"]) == (True, "leader")
    assert third["role"] == "did not answer"
    assert third["term"] == "–"  # noqa: RUF001
    assert told["sentence"].startswith("n2 (term 3) led.")
    later = stood(run, S + 200 * MS, rows)
    assert later is not None
    assert [node["term"] for node in later["nodes"][:2]] == ["9", "9"]
    assert later["nodes"][0]["asked"] == "50.0\u202fms later"


def test_two_who_took_themselves_for_leader_are_pointed_out(own_run: Folder) -> None:
    run = own_run("violation")
    told = stood(run, S, samples({"role": "leader", "term": 2}, {"role": "leader"}))
    assert told is not None
    assert told["sentence"].startswith("2 nodes took themselves for leader: n1 (term 2), n2 (term")
    assert told["nodes"][0]["asked"] == "then"


def test_where_nobody_was_asked_near_the_moment_nothing_is_told(own_run: Folder) -> None:
    run = own_run("violation")
    assert stood(run, 9 * S, samples()) is None
    assert stood(run, 9 * S, []) is None


def test_what_was_being_done_to_a_node_stands_beside_it(runs: Folder) -> None:
    run = load(runs("violation"))
    for fault in run.faults.to_dict("records"):
        told = standing.at(run, (fault["start_ns"] + fault["stop_ns"]) // 2)
        assert told is not None
        done = {node["node"]: node["faults"] for node in told["nodes"]}
        named = f"{fault['name']} ({fault['kind']})"
        struck = {node for node, names in done.items() if named in names}
        assert struck == (set() if fault["evidence"] == "skipped" else set(fault["targets"]))


def test_a_story_ends_with_commands_that_name_its_run(own_run: Folder) -> None:
    run = own_run("violation")
    (story,) = stories(load(run), read_logs(load(run)))
    assert [name for name, _ in story["commands"]] == ["Check the history again", "Repeat the run"]
    (run / "certificate.json").write_text("{}")
    (story,) = stories(load(run), read_logs(load(run)))
    proof = story["commands"][0]
    assert proof == ("Verify the proof", f"splitbrain verify {run} {run}/certificate.json")
    assert story["commands"][2][1].endswith("--seed 11")
    assert [state["why_not"][:10] for state in story["states"]] == ["would need"]
