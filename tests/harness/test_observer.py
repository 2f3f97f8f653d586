"""The observer: what it writes of each node is what the frame of metrics holds."""

import json
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.observer import Observer
from harness.systems.system import Status, System
from reports.columns import METRICS
from reports.load import load

LEADS = Status(
    role="leader",
    term=3,
    leader="n1",
    commit_index=9,
    applied_index=8,
    clock_offset_ns=-1_500_000,
    clock_error_ns=250_000,
    raw={},
    state_hash="9f86d081",
)


@dataclass
class Answers:
    """A system of which each node always says the same."""

    said: dict[str, Status | None]

    def status(self, node: str, timeout_s: float) -> Status | None:
        del timeout_s
        return self.said[node]


@dataclass
class Breaks(Answers):
    """A system that cannot read the first answer of its node, and says so or makes something up."""

    first: Any = None
    asked: int = 0
    mended: threading.Event = field(default_factory=threading.Event)

    def status(self, node: str, timeout_s: float) -> Status | None:
        self.asked += 1
        if self.asked == 1:
            if isinstance(self.first, Exception):
                raise self.first
            return cast("Status", self.first)
        if self.asked == 3:
            self.mended.set()
        return super().status(node, timeout_s)


def watched(folder: Path) -> Observer:
    system = cast("System", Answers({"n1": LEADS, "n2": None}))
    return Observer(
        system=system, nodes=("n1", "n2"), path=folder / "status.jsonl", clock=lambda: 7
    )


def test_a_sample_has_every_column_of_the_metrics(tmp_path: Path) -> None:
    observer = watched(tmp_path)
    observer.look("n1")
    observer.look("n2")
    observer.close()
    answered, silent = map(json.loads, (tmp_path / "status.jsonl").read_text().splitlines())
    assert {"time_ns", *answered} - {"time"} == set(METRICS)
    assert silent == {"time": 7, "node": "n2", "reachable": False}


def test_what_was_seen_is_loaded_as_it_was(tmp_path: Path) -> None:
    observer = watched(tmp_path)
    observer.look("n1")
    observer.close()
    (tmp_path / "spec.toml").write_text("")
    expected: dict[str, Any] = {
        "time_ns": 7,
        "node": "n1",
        "reachable": True,
        "role": "leader",
        "term": 3,
        "leader": "n1",
        "commit_index": 9,
        "applied_index": 8,
        "state_hash": "9f86d081",
        "clock_offset_ms": -1.5,
        "clock_error_ms": 0.25,
    }
    assert load(tmp_path).metrics.to_dict("records") == [expected]


def test_who_leads_is_who_said_so_last_and_each_term_is_told_once(tmp_path: Path) -> None:
    observer = watched(tmp_path)
    assert observer.leader() is None
    observer.look("n1")
    observer.look("n1")
    assert observer.leader() == "n1"
    assert observer.leader_changes() == [{"time": 7, "term": 3, "leader": "n1"}]
    observer.close()


def test_a_full_disk_costs_samples_and_not_what_was_learnt(tmp_path: Path) -> None:
    (tmp_path / "status.jsonl").symlink_to("/dev/full")
    observer = watched(tmp_path)
    observer.look("n1")
    observer.close()
    assert observer.leader() == "n1"


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (ValueError("bug"), "ValueError: bug"),
        ({"role": "leader"}, "AttributeError: "),
        (replace(LEADS, leader=cast("str", b"n1")), "TypeError: "),
    ],
)
def test_a_watcher_that_a_system_breaks_watches_on_and_it_is_told(
    tmp_path: Path, first: Any, said: str
) -> None:
    system = Breaks({"n1": LEADS}, first)
    observer = Observer(
        system=cast("System", system), nodes=("n1",), path=tmp_path / "s", clock=lambda: 7
    )
    assert observer.error is None
    observer.start()
    assert system.mended.wait(10)
    observer.close()
    assert observer.leader() == "n1"
    assert str(observer.error).startswith(f"n1 could not be watched: {said}")
