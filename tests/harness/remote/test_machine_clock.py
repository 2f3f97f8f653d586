"""Setting a machine's clock, on a kernel of paper: the one that runs the tests is never touched."""

import os
import time
from pathlib import Path

import pytest

from harness.remote.agent import files, healing, main
from harness.remote.agent.clock import ClockError
from harness.remote.agent.kernel_clock import KernelClock
from harness.remote.agent.machine_clock import MachineClock, set_right, why_never_set

SECOND_NS = 1_000_000_000
BOOT = "boot-of-the-host"


class PaperKernel:
    """A kernel whose clocks go when told to."""

    def __init__(self) -> None:
        self.wall, self.raw, self.rate = 1_700_000_000 * SECOND_NS, 5 * SECOND_NS, 1.0
        self.seen: list[int] = []

    def wall_ns(self) -> int:
        return self.wall

    def raw_ns(self) -> int:
        return self.raw

    def set_wall(self, wall_ns: int) -> None:
        self.seen.append(wall_ns - self.wall)
        self.wall = wall_ns

    def run_at(self, rate: float) -> None:
        self.rate = rate

    def passes(self, ns: int) -> None:
        self.raw += ns
        self.wall += round(ns * self.rate)


class Ticking(PaperKernel):
    """One that goes by itself: the offsets are what counts."""

    def wall_ns(self) -> int:
        return time.monotonic_ns() + self.wall

    def raw_ns(self) -> int:
        return time.monotonic_ns()

    def set_wall(self, wall_ns: int) -> None:
        self.wall = wall_ns - time.monotonic_ns()
        self.seen.append(self.wall)


@pytest.fixture
def kernel() -> PaperKernel:
    return PaperKernel()


def clock_on(kernel: PaperKernel, folder: Path, *, refusal: str = "") -> MachineClock:
    return MachineClock(folder / "note", kernel, boot=BOOT, refusal=refusal)


def test_a_bump_sets_the_wall_clock_and_reset_sets_it_right(
    kernel: PaperKernel, tmp_path: Path
) -> None:
    clock, true_ns = clock_on(kernel, tmp_path), kernel.wall
    assert clock.bump(-5000)["offset_ms"] == -5000
    kernel.passes(3 * SECOND_NS)
    assert clock.bump(7000)["offset_ms"] == 2000
    assert kernel.wall == true_ns + 5 * SECOND_NS
    assert clock.reset()["offset_ms"] == 0
    assert kernel.wall == true_ns + 3 * SECOND_NS
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("asked", "given"), [(1.05, 1.05), (5.0, 1.1), (0.5, 0.9)])
def test_a_rate_is_what_the_kernel_can_do_and_the_answer_says_which(
    kernel: PaperKernel, tmp_path: Path, asked: float, given: float
) -> None:
    clock, true_ns = clock_on(kernel, tmp_path), kernel.wall
    assert clock.run_at(asked)["rate"] == kernel.rate == given
    kernel.passes(10 * SECOND_NS)
    assert clock.state()["offset_ms"] == pytest.approx(10_000 * (given - 1))
    assert clock.reset()["rate"] == kernel.rate == 1.0
    assert kernel.wall == true_ns + 10 * SECOND_NS


def test_a_strobe_flips_and_ends_where_it_began(tmp_path: Path) -> None:
    kernel = Ticking()
    clock = clock_on(kernel, tmp_path)
    clock.bump(100)
    home = kernel.wall
    assert clock.strobe(offset_ms=50, period_ms=5, duration_ms=60)["strobing"]
    deadline_ns = time.monotonic_ns() + 10 * SECOND_NS
    while clock.state()["strobing"] and time.monotonic_ns() < deadline_ns:
        time.sleep(0.01)
    assert clock.state()["flips"] >= 2
    assert max(kernel.seen) - home == pytest.approx(50_000_000, abs=5_000_000)
    assert kernel.wall == pytest.approx(home, abs=5_000_000)


def test_a_strobe_that_is_cut_short_goes_home(tmp_path: Path) -> None:
    kernel = Ticking()
    clock, true = clock_on(kernel, tmp_path), kernel.wall
    clock.strobe(offset_ms=50_000, period_ms=30_000, duration_ms=60_000)
    deadline_ns = time.monotonic_ns() + 10 * SECOND_NS
    while kernel.wall == true and time.monotonic_ns() < deadline_ns:
        time.sleep(0.001)
    clock.bump(1000)
    assert kernel.wall == pytest.approx(true + SECOND_NS, abs=100_000_000)
    clock.reset()
    assert kernel.wall == pytest.approx(true, abs=100_000_000)


def test_who_comes_after_a_killed_agent_sets_the_clock_right(
    kernel: PaperKernel, tmp_path: Path
) -> None:
    true_ns = kernel.wall
    killed = clock_on(kernel, tmp_path)
    killed.bump(60_000)
    killed.run_at(1.1)
    kernel.passes(10 * SECOND_NS)
    set_right(tmp_path / "note", kernel, boot=BOOT)
    assert (kernel.wall, kernel.rate) == (true_ns + 10 * SECOND_NS, 1.0)
    kernel.seen.clear()
    set_right(tmp_path / "note", kernel, boot=BOOT)
    assert kernel.seen == []


@pytest.mark.parametrize("note", ["", "{", "[]", '{"boot":"another","ns":1}', '{"ns":1}'])
def test_a_note_of_another_boot_or_none_at_all_sets_nothing(
    kernel: PaperKernel, tmp_path: Path, note: str
) -> None:
    (tmp_path / "note").write_text(note)
    set_right(tmp_path / "note", kernel, boot=BOOT)
    assert (kernel.seen, kernel.rate) == ([], 1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_clock_in_common_is_never_set(kernel: PaperKernel, tmp_path: Path) -> None:
    clock = clock_on(kernel, tmp_path, refusal="it is the controller's")
    assert clock.why_fixed(1) == "it is the controller's"
    with pytest.raises(ClockError, match="it is the controller's"):
        clock.bump(1)
    with pytest.raises(ClockError, match="it is the controller's"):
        clock.run_at(1.1)
    with pytest.raises(ClockError, match="it is the controller's"):
        clock.strobe(offset_ms=1, period_ms=10, duration_ms=20)
    clock.reset()
    assert (kernel.seen, kernel.rate) == ([], 1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("controller", "own", "root", "said"),
    [
        ("a", "b", True, ""),
        ("a", "a", True, "shares its clock with the controller"),
        ("", "b", True, "not known"),
        ("a", "", True, "not known"),
        ("a", "b", False, "needs root"),
    ],
)
def test_a_clock_is_set_only_where_the_boot_is_another(
    controller: str, own: str, root: bool, said: str
) -> None:
    why = why_never_set(controller_boot=controller, own_boot=own, root=root)
    assert said in why
    assert bool(why) == bool(said)


@pytest.mark.parametrize("wrong", [float("nan"), 1e15])
def test_an_offset_that_makes_no_sense_is_refused(
    kernel: PaperKernel, tmp_path: Path, wrong: float
) -> None:
    clock = clock_on(kernel, tmp_path)
    with pytest.raises(ClockError, match="ten years"):
        clock.bump(wrong)
    with pytest.raises(ClockError, match="ten years"):
        clock.strobe(offset_ms=wrong, period_ms=10, duration_ms=20)
    with pytest.raises(ClockError, match="rate"):
        clock.run_at(float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_an_agent_on_the_controllers_own_machine_refuses_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the clock of this machine was to be set")

    monkeypatch.setattr(KernelClock, "set_wall", never)
    monkeypatch.setattr(KernelClock, "run_at", never)
    monkeypatch.setattr(main, "why_nft_does_not_work", lambda: "no nft here")
    healing.notes_folder(tmp_path).mkdir()
    agent = main.Agent(
        tmp_path,
        lease_s=5,
        pipe=os.open(os.devnull, os.O_WRONLY),
        protected=[],
        controller_boot=files.boot_id(),
    )
    log = tmp_path / "log"
    start = f'{{"id":1,"do":"start","argv":["sleep","60"],"clock":true,"log":"{log}"}}'
    try:
        started = agent.handle(start.encode())
        assert "shares its clock with the controller" in started["clock_problem"]
        for do in ('"clock_bump","offset_ms":9', '"clock_rate","rate":1.1'):
            answer = agent.handle(f'{{"id":2,"do":{do}}}'.encode())
            assert "it is never set" in answer["skipped"]
        assert agent.handle(b'{"id":3,"do":"clock_reset"}')["offset_ms"] == 0
    finally:
        agent.handle(b'{"id":4,"do":"kill"}')


def test_the_kernel_is_asked_at_the_right_place() -> None:
    # A rate of 1 can only be read where the tick is.
    assert KernelClock().rate() == pytest.approx(1, abs=0.1)
    assert KernelClock().raw_ns() <= KernelClock().raw_ns()
