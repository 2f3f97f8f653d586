"""What a spent budget leaves behind, and that a later check goes on from exactly there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from certificates import history
from hard_cases import Ticking, few_values, hard_calls
from hypothesis import given, settings
from hypothesis import strategies as st
from random_calls import history_of

from checker import Budget, FailedCas, Meaning, NilRead, Verdict, check, model_named
from checker import checkpoint as points
from checker import decide as decide  # the kernels are in memory, whatever else was run
from checker.calls import Calls
from checker.checkpoint import CheckpointError
from checker.columns import Columns, columns_of
from checker.history import History
from checker.kernels import layout
from checker.meaning import default_meaning
from checker.models import Model
from checker.parts import Part, parts_of
from checker.portfolio import Answer, Race
from checker.problem import problem_of
from checker.race import ALL, BreadthFirst, DepthFirst, Transitions
from checker.verdict import CheckResult

CAS = model_named("cas-register")
MEANING = Meaning()
TINY = history("0 write@a 1", "0 ok", "1 read@a", "1 ok 1", "0 write@b 2", "0 ok", "1 read@b",
               "1 ok null")  # fmt: skip


def run(
    random: History, path: Path, *, model: Model = CAS, meaning: Meaning = MEANING,
    seconds: float | None = None,
) -> CheckResult:  # fmt: skip
    """Check with a checkpoint as the command does: resume if there is one, always save."""
    columns = columns_of(random)
    budget = Budget.unlimited()
    if seconds is not None:
        budget = Budget.of(seconds=seconds, memory_mb=200, clock=Ticking())
    return check(
        columns, model, meaning=meaning, budget=budget,
        resume=resuming(path, columns, model, meaning) if path.exists() else None,
        pause=lambda parts: points.save(path, parts, columns, model, meaning),
    )  # fmt: skip


def resuming(
    path: Path, columns: Columns, model: Model, meaning: Meaning
) -> Callable[[list[Part]], None]:
    return lambda parts: points.resume(path, parts, columns, model, meaning)


@pytest.fixture
def raced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """For each race that was run: its steps before and after."""
    seen: list[tuple[int, int]] = []
    run_race = Race.run

    def counted(race: Race, budget: Budget) -> Answer:
        before = race.steps
        answer = run_race(race, budget)
        seen.append((before, race.steps))
        return answer

    monkeypatch.setattr(Race, "run", counted)
    return seen


class TestGoingOn:
    """A check whose budget was spent, and the next one with the same file."""

    def test_from_where_it_stood(self, tmp_path: Path, raced: list[tuple[int, int]]) -> None:
        path = tmp_path / "check.npz"
        whole = check(few_values(), CAS, meaning=MEANING)
        scratch = sum(after - before for before, after in raced)
        raced.clear()
        results = []
        for _ in range(20):
            results.append(run(few_values(), path, seconds=30))
            if results[-1].verdict is not Verdict.UNKNOWN:
                break
        assert len(results) > 2
        assert results[-1].verdict is whole.verdict is Verdict.VALID
        assert [key.linearization is not None for key in results[-1].keys] == [True, True]
        # Each race began where the one before had ended, and none did the work of the whole.
        races = [pair for pair in raced if pair[0] != pair[1]]
        assert races[0][0] == 0
        ends = [after for _, after in races[:-1]]
        assert [before for before, _ in races[1:]] == ends
        assert races[-1][1] - races[-1][0] < scratch
        assert races[-1][1] <= 2 * scratch

    def test_what_was_decided_is_not_searched_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "check.npz"
        first = run(few_values(), path)
        monkeypatch.setattr("checker.decide.look", lambda *_, **__: pytest.fail("looked again"))
        monkeypatch.setattr(Race, "run", lambda *_: pytest.fail("raced again"))
        again = run(few_values(), path)
        assert again.verdict is first.verdict
        assert [key.linearization for key in again.keys] == [
            key.linearization for key in first.keys
        ]

    def test_an_invalid_one_is_proved_again(self, tmp_path: Path) -> None:
        path = tmp_path / "check.npz"
        first, again = run(TINY, path), run(TINY, path)
        assert first.verdict is again.verdict is Verdict.INVALID
        assert first.certificate == again.certificate is not None
        assert first.counterexample == again.counterexample

    def test_a_budget_of_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "check.npz"
        assert run(TINY, path, seconds=0).verdict is Verdict.UNKNOWN
        assert run(TINY, path).verdict is Verdict.INVALID

    def test_memory_that_ran_out_may_be_more_next_time(self, tmp_path: Path) -> None:
        path, columns = tmp_path / "check.npz", columns_of(few_values())
        budget = Budget.of(seconds=1e9, memory_mb=0.3, clock=lambda: 0.0)
        small = check(columns, CAS, meaning=MEANING, budget=budget,
                      pause=lambda parts: points.save(path, parts, columns, CAS, MEANING))  # fmt: skip
        assert small.verdict is Verdict.UNKNOWN
        assert run(few_values(), path).verdict is Verdict.VALID

    @pytest.mark.parametrize("initial", [None, 7, "x", [1, 2], 1.5])
    @pytest.mark.parametrize("broken", [False, True])
    def test_an_initial_value_that_the_history_never_names(
        self, tmp_path: Path, initial: Any, broken: bool
    ) -> None:
        path, model = tmp_path / "check.npz", model_named("cas-register", initial)
        random = history("0 write@a 5", "0 ok", "1 read@a", "1 ok 3" if broken else "1 ok 5")
        assert run(random, path, model=model).verdict is run(random, path, model=model).verdict

    @pytest.mark.parametrize("name", ["stack", "fifo-queue"])
    @pytest.mark.parametrize("broken", [False, True])
    def test_a_model_whose_steps_are_asked_for(
        self, tmp_path: Path, raced: list[tuple[int, int]], name: str, broken: bool
    ) -> None:
        path, model = tmp_path / "check.npz", model_named(name)
        calls = hard_calls(name, seed=5, count=60 if broken else 110, width=8, broken=broken)
        random = history_of(calls)
        whole = check(random, model)
        raced.clear()
        first = run(random, path, model=model, seconds=7)
        results = [first, *(run(random, path, model=model, seconds=6) for _ in range(3))]
        assert results[-1].verdict is whole.verdict
        assert whole.verdict is (Verdict.INVALID if broken else Verdict.VALID)
        if broken:
            assert first.verdict is Verdict.UNKNOWN
            assert raced[1][0] == raced[0][1] > 0


def searches(calls: Calls, model: Model) -> list[Callable[[], DepthFirst | BreadthFirst]]:
    """Return makers of all kinds of searches; each makes one with a problem of its own."""

    def depth_first() -> DepthFirst:
        problem = problem_of(calls, model)
        return DepthFirst(problem, Transitions(problem))

    def breadth_first(beam: int, keep_log: bool) -> BreadthFirst:
        problem = problem_of(calls, model)
        every = range(len(problem.optional_calls)) if keep_log else ()
        return BreadthFirst(problem, Transitions(problem), beam=beam, keep_log=keep_log,
                            tracked=every)  # fmt: skip

    return [
        depth_first,
        lambda: breadth_first(ALL, False),
        lambda: breadth_first(ALL, True),
        lambda: breadth_first(16, True),
    ]


def ended(search: DepthFirst | BreadthFirst, code: int) -> tuple[Any, ...]:
    order = search.linearization() if code == layout.VALID and _has_log(search) else None
    return code, search.steps, search.furthest, order


def _has_log(search: DepthFirst | BreadthFirst) -> bool:
    return isinstance(search, DepthFirst) or len(search.log) > 0


def through_a_file(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def easy_key() -> Calls:
    columns = columns_of(few_values())
    return next(p.calls for p in parts_of(columns, CAS, MEANING) if p.key == "k0")[:300]


HARD = {
    "register": (easy_key, CAS),
    "stack": (lambda: hard_calls("stack", seed=5, count=40, width=6), model_named("stack")),
    "broken-stack": (
        lambda: hard_calls("stack", seed=5, count=40, width=6, broken=True), model_named("stack"),
    ),
    "queue": (lambda: hard_calls("fifo-queue", seed=4, count=40, width=6),
              model_named("fifo-queue")),
}  # fmt: skip


@pytest.mark.parametrize("kind", HARD)
@pytest.mark.parametrize("which", range(4), ids=["depth", "just-in-time", "logged", "beam"])
@given(st.lists(st.integers(1, 400), min_size=1, max_size=5))
@settings(max_examples=5)
def test_a_search_does_not_notice_that_it_was_saved(
    kind: str, which: int, slices: list[int]
) -> None:
    make_calls, model = HARD[kind]
    make = searches(make_calls(), model)[which]
    straight = make()
    expected = ended(straight, straight.advance(1 << 40, 1e9))
    search, code = make(), layout.LOOK
    for steps in (*slices, 1 << 40):
        code = search.advance(steps, 1e9)
        if code != layout.LOOK:
            break
        arrays, learned = through_a_file(search.saved()), list(search.transitions.learned)
        search = make()
        for state, cls in learned:
            search.transitions.learn(state, cls)
        search.restore(arrays)
    assert ended(search, code) == expected


class TestWhatIsNoCheckpoint:
    """Everything but a checkpoint of this very check is refused, and the file is named."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "check.npz"
        run(TINY, path)
        return path

    def refused(
        self, path: Path, random: History = TINY, model: Model = CAS, meaning: Meaning = MEANING
    ) -> str:
        columns = columns_of(random)
        parts = parts_of(columns, model, meaning)
        with pytest.raises(CheckpointError) as caught:
            points.resume(path, parts, columns, model, meaning)
        assert str(caught.value).startswith(f"{path}: ")
        return str(caught.value)

    def test_of_another_history(self, path: Path) -> None:
        changes: list[dict[str, Any]] = [{"value": 2}, {"f": "write"}, {"key": "c"}]
        for change in changes:
            other = History((*TINY.events[:6], *(replace(e, **change) for e in TINY.events[6:])))
            assert "of another history, model or meaning" in self.refused(path, other)
        assert "of another history" in self.refused(path, History(TINY.events[:-1]))
        assert "of another history" in self.refused(path, History(()))

    def test_of_another_model(self, path: Path) -> None:
        for model in (
            model_named("register"),
            model_named("cas-register", 1),
            model_named("stack"),
        ):
            assert "of another history, model or meaning" in self.refused(path, model=model)

    def test_of_another_meaning(self, path: Path) -> None:
        for meaning in (Meaning(nil_read=NilRead.UNKNOWN), Meaning(failed_cas=FailedCas.DIFFERS)):
            assert "meaning of outcomes" in self.refused(path, meaning=meaning)

    def test_of_another_version(self, path: Path) -> None:
        with np.load(path) as arrays:
            changed = {name: arrays[name] for name in arrays.files}
        np.savez(path, **{**changed, "version": np.array(points.VERSION + 1)})
        assert "made by another version" in self.refused(path)

    @pytest.mark.parametrize(
        "content",
        [b"", b"garbage\n", b"PK\x03\x04 and no more", b"\x93NUMPY", b'{"certificate": 1}',
         b"\x80\x04K\x01.", b"PK\x05\x06" + bytes(18)],
        ids=["empty", "garbage", "half-a-zip", "half-an-array", "json", "pickle", "empty-zip"],
    )  # fmt: skip
    def test_garbage(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.refused(path)

    def test_an_array_alone(self, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
        self.refused(path)

    def test_a_file_cut_short_anywhere(self, path: Path) -> None:
        whole = path.read_bytes()
        for length in range(0, len(whole), 41):
            path.write_bytes(whole[:length])
            self.refused(path)

    def test_a_file_with_a_wrong_byte_anywhere(self, path: Path) -> None:
        """It is refused, or the byte did not matter, or less is known and nothing else."""
        whole, columns = path.read_bytes(), columns_of(TINY)
        expected = [self.known(part) for part in self.resumed(path, columns)]
        others = set()
        for at in range(0, len(whole), 5):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
            try:
                parts = self.resumed(path, columns)
            except CheckpointError as error:
                if not str(error).startswith(f"{path}: "):
                    others.add(str(error))
            except Exception as error:  # noqa: BLE001
                others.add(f"{type(error).__name__}: {error}")
            else:
                for part, before in zip(parts, expected, strict=True):
                    if self.known(part) not in (None, before):
                        others.add(f"byte {at}: {self.known(part)} and not {before}")
        assert others == set()

    def known(self, part: Part) -> tuple[Any, ...] | None:
        found = part.found
        if found is None:
            return None
        order = None if found.order is None else found.order.tolist()
        return found.verdict, found.until, found.hint, found.elements, order

    def resumed(self, path: Path, columns: Columns) -> list[Part]:
        parts = parts_of(columns, CAS, MEANING)
        points.resume(path, parts, columns, CAS, MEANING)
        return parts

    def test_without_an_array_that_has_to_be_there(self, path: Path) -> None:
        with np.load(path) as arrays:
            known = {name: arrays[name] for name in arrays.files}
        for missing in ("version", "digest", "0/algorithm", "0/hint"):
            np.savez(path, **{name: a for name, a in known.items() if name != missing})
            self.refused(path)

    def test_one_that_would_run_something(self, path: Path) -> None:
        """A pickled object is never loaded."""
        with np.load(path) as arrays:
            known: dict[str, Any] = {name: arrays[name] for name in arrays.files}
        np.savez(path, **{**known, "0/hint": np.array([Loud()], dtype=object)})
        self.refused(path)

    def test_a_folder_is_an_error_of_the_system(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="directory"):
            self.resumed(tmp_path, columns_of(TINY))


class Loud:
    """Says when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("unpickled",)


class TestTheFile:
    """How it is written."""

    def test_it_holds_no_objects_and_nothing_is_left_beside_it(self, tmp_path: Path) -> None:
        path = tmp_path / "check.npz"
        run(few_values(), path, seconds=8)
        assert [entry.name for entry in tmp_path.iterdir()] == ["check.npz"]
        with np.load(path, allow_pickle=False) as arrays:
            assert not any(arrays[name].dtype.hasobject for name in arrays.files)
            assert any("/race/" in name for name in arrays.files)
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None

    def test_the_old_one_stays_until_the_new_one_is_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "check.npz"
        run(TINY, path)
        before = path.read_bytes()

        def full(file: io.BufferedWriter, **_: Any) -> None:
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            run(TINY, path)
        assert path.read_bytes() == before

    def test_elements_of_collections_with_any_text(self, tmp_path: Path) -> None:
        """What a contradiction is about survives: half surrogates, NULs, line breaks."""
        for value in ('"\\ud800"', '"a\\u0000"', '"\\n"', "null", '[1, "\\u0000"]'):
            path = tmp_path / f"{value.encode().hex()}.npz"
            random = history(f"0 add {value}", "0 ok", "1 read", "1 ok []")
            model = model_named("set")
            first, again = run(random, path, model=model), run(random, path, model=model)
            assert first.verdict is again.verdict is Verdict.INVALID
            assert first.certificate is not None
            assert again.certificate is not None
            for what in ("elements", "calls", "from", "key"):
                said = [
                    proof["refutation"][what] for proof in (first.certificate, again.certificate)
                ]
                assert said[0] == said[1]

    def test_the_circle_is_told_again(self, tmp_path: Path) -> None:
        path, model = tmp_path / "check.npz", model_named("set")
        random = history("0 add 1", "0 ok", "1 read", "1 ok []", "1 read", "1 ok [5]")
        first, again = run(random, path, model=model), run(random, path, model=model)
        assert first.counterexample == again.counterexample


def test_the_digest_is_the_same_before_and_after_a_check() -> None:
    for initial in (None, 7):
        model = model_named("cas-register", initial)
        columns = columns_of(TINY)
        before = points.digest(columns, model, default_meaning("jsonl"))
        check(columns, model)
        assert points.digest(columns, model, default_meaning("jsonl")) == before
