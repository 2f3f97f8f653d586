"""The catalogue of workloads, and the example of the docs."""

from pathlib import Path

import pytest

from checker.budget import Budget
from checker.history import EventType
from checker.verdict import Verdict
from harness.errors import UsageError
from harness.own_workload import workload_of
from workloads.catalogue import WORKLOADS, workload_named
from workloads.data import DATA
from workloads.generator import Invocation, limit, perfect, simulate
from workloads.workload import Setting, Workload

ROOT = Path(__file__).resolve().parents[2]
SETTING = Setting(seed=1, keys=3, threads=6, nodes=3)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_speaks_the_words_of_its_kind_of_data(name: str) -> None:
    workload = workload_named(name)
    words = DATA[workload.data]
    assert set(workload.functions) <= set(words)
    assert workload.probe.f in words
    assert workload.checks
    assert len({check.name for check in workload.checks}) == len(workload.checks)


@pytest.mark.parametrize("name", WORKLOADS)
def test_generators_are_pure_and_of_the_seed(name: str) -> None:
    workload = workload_named(name)

    def played(seed: int) -> list[tuple[object, ...]]:
        source = limit(300, workload.load(Setting(seed=seed, keys=3, threads=6, nodes=3)))
        events = simulate(source, perfect(1_000_000), threads=6, seed=seed).events
        return [(event.f, event.key, event.value, event.process) for event in events]

    assert played(1) == played(1)
    assert played(1) != played(2)
    words = DATA[workload.data]
    assert {f for f, *_ in played(1)} <= set(words)


def example() -> Workload:
    return workload_of(str(ROOT / "docs" / "examples" / "bounds.py"))


@pytest.mark.parametrize(("lost", "verdict"), [(False, Verdict.VALID), (True, Verdict.INVALID)])
def test_the_example_of_the_docs_finds_a_lost_add(*, lost: bool, verdict: Verdict) -> None:
    total = 0

    def perform(invocation: Invocation) -> tuple[EventType, object]:
        nonlocal total
        if invocation.f == "add":
            total += 0 if lost and total == 20 else 1
            return EventType.OK, invocation.value
        return EventType.OK, total

    workload = example()
    history = simulate(limit(200, workload.load(SETTING)), perfect(1_000, perform), threads=6)
    (check,) = workload.checks
    result = check.judge(history, Budget.unlimited())
    assert result.verdict is verdict
    if lost:
        assert result.counterexample is not None
        assert "20" in result.counterexample["summary"]


def test_the_example_is_short() -> None:
    lines = (ROOT / "docs" / "examples" / "bounds.py").read_text().splitlines()
    assert len(lines) < 40


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("WORKLOAD = 3\n", "expected a workload called WORKLOAD"),
        ("import nothing_like_it\n", r"mine.py:1: ModuleNotFoundError"),
        ("x = (\n", r"mine.py:1: SyntaxError"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        workload_of(str(path))


def test_a_file_may_have_classes_of_its_own(tmp_path: Path) -> None:
    """Dataclasses with annotations that are text look their module up by its name."""
    text = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        f"{(ROOT / 'docs' / 'examples' / 'bounds.py').read_text().split(chr(34) * 3)[2]}\n"
        "@dataclass(frozen=True, slots=True)\n"
        "class Mine:\n"
        "    kind: ClassVar[str]\n"
        "    count: int = 0\n"
    )
    first, second = tmp_path / "one" / "mine.py", tmp_path / "two" / "mine.py"
    for path, name in ((first, "bounds"), (second, "others")):
        path.parent.mkdir()
        path.write_text(text.replace('name="bounds"', f'name="{name}"'))
    assert workload_of(str(first)).name == "bounds"
    assert workload_of(str(second)).name == "others"


def test_a_name_that_nobody_knows_is_told() -> None:
    with pytest.raises(UsageError, match="must be one of: register"):
        workload_of("regster")
    with pytest.raises(UsageError, match="no such file"):
        workload_of("missing.py")
