"""The parts of the agent that need neither root nor a host."""

import ast
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.remote import archive
from harness.remote.agent import clock, files, healing, main, network, process

LOOP = "import threading\nwhile True: threading.Event().wait(1)"


@pytest.fixture
def system(tmp_path: Path) -> process.System:
    return process.System(tmp_path)


def started(system: process.System, tmp_path: Path, code: str = LOOP) -> int:
    argv = [sys.executable, "-c", code]
    return int(system.start(argv, env={}, cwd=None, log=str(tmp_path / "log"))["pid"])


def gone(pid: int) -> bool:
    return files.process_stat(pid) is None


def test_the_archive_is_the_same_every_time_and_runs_anywhere(tmp_path: Path) -> None:
    content = archive.agent_archive()
    archive.agent_archive.cache_clear()
    assert archive.agent_archive() == content
    path = tmp_path / "agent.pyz"
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-I", str(path), "--help"],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "--lease-s" in done.stdout


def test_the_agent_imports_the_standard_library_only() -> None:
    for path in archive.FOLDER.glob("*.py"):
        for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))):
            names = [alias.name for alias in part.names] if isinstance(part, ast.Import) else []
            if isinstance(part, ast.ImportFrom) and part.level == 0:
                names.append(part.module or "")
            assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names, path


def test_threads_that_write_one_file_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    """A drifting clock is written while a system that starts has it written too."""
    path = tmp_path / "clock"
    barrier = threading.Barrier(4)

    def write(text: str) -> None:
        barrier.wait(5)
        for _ in range(200):
            files.write_atomically(path, text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert path.read_text() in set("abcd")
    assert [one.name for one in tmp_path.iterdir()] == ["clock"]


@pytest.mark.parametrize(
    ("offset_ns", "text"),
    [(0, "+0.000000000\n"), (-1_500_000_000, "-1.500000000\n"), (30_000_000, "+0.030000000\n")],
)
def test_the_clock_file_holds_a_signed_offset(offset_ns: int, text: str) -> None:
    assert clock.clock_text(offset_ns) == text


def test_bumps_add_up_and_a_rate_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = 1_000_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    path = tmp_path / "clock"
    tested = clock.Clock(path, None)
    tested.bump(1000)
    assert tested.bump(-250)["offset_ms"] == 750
    tested.run_at(2.0)
    now_ns += 3_000_000_000
    assert tested.state()["offset_ms"] == 3750
    tested.run_at(1.0)
    assert path.read_text() == clock.clock_text(3_750_000_000)
    tested.reset()
    assert path.read_text() == clock.clock_text(0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda c: c.bump(1e15),
        lambda c: c.run_at(0.0),
        lambda c: c.run_at(float("nan")),
        lambda c: c.strobe(offset_ms=1, period_ms=0.1, duration_ms=10),
        lambda c: c.strobe(offset_ms=1, period_ms=10, duration_ms=1e9),
        lambda c: c.strobe(offset_ms=float("nan"), period_ms=10, duration_ms=100),
    ],
)
def test_clock_faults_that_make_no_sense_are_refused(tmp_path: Path, wrong: object) -> None:
    assert callable(wrong)
    with pytest.raises(clock.ClockError):
        wrong(clock.Clock(tmp_path / "clock", None))
    assert not (tmp_path / "clock").exists()


def test_a_strobe_flips_and_ends_where_it_began(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    tested = clock.Clock(path, None)
    tested.bump(100)
    assert tested.strobe(offset_ms=50, period_ms=5, duration_ms=100)["strobing"]
    deadline_ns = time.monotonic_ns() + 10_000_000_000
    while tested.state()["strobing"] and time.monotonic_ns() < deadline_ns:
        time.sleep(0.01)
    assert 2 <= tested.state()["flips"] <= 20
    assert path.read_text() == clock.clock_text(100_000_000)


def test_the_controller_is_never_cut_whatever_its_spelling() -> None:
    cut = network.Cut(protected=["198.18.0.254", "2001:db8::1"])
    for spelling in ("198.18.0.254", "::ffff:198.18.0.254", "2001:0db8:0::1"):
        with pytest.raises(network.NetworkError, match="controller"):
            cut.install(["198.18.0.2", spelling], timeout_s=5)
    with pytest.raises(network.NetworkError, match="does not appear to be"):
        cut.install(["n2; flush ruleset"], timeout_s=5)


def test_a_system_is_started_once_paused_resumed_and_killed(
    system: process.System, tmp_path: Path
) -> None:
    pid = started(system, tmp_path)
    argv = [sys.executable]
    again = system.start(argv, env={}, cwd=None, log=str(tmp_path / "log"))
    assert again == {"pid": pid, "already": True}
    assert system.pause() == {"paused": True, "threads": "T"}
    assert system.report()["paused"]
    assert system.resume()["resumed"]
    assert system.resume()["resumed"]
    assert not system.report()["paused"]
    assert system.kill() == {"gone": True, "was_running": True, "pid": pid}
    assert gone(pid)
    assert system.kill() == {"gone": True, "was_running": False, "pid": pid}
    (end,) = system.report()["exits"]
    assert (end["signal"], end["status"], end["asked_by"]) == ("SIGKILL", None, "kill")
    noted = files.read_json(tmp_path / "exit.json")
    assert noted is not None
    assert noted["signal"] == "SIGKILL"


def test_a_paused_system_can_be_stopped(system: process.System, tmp_path: Path) -> None:
    pid = started(system, tmp_path)
    system.pause()
    assert system.stop(timeout_s=10) == {
        "gone": True,
        "was_running": False,
        "pid": pid,
        "killed": False,
    }
    assert system.report()["exits"][0]["asked_by"] == "stop"


def test_one_that_ignores_sigterm_is_killed(system: process.System, tmp_path: Path) -> None:
    code = "import signal\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\n" + LOOP
    pid = started(system, tmp_path, code)
    deadline_ns = time.monotonic_ns() + 10_000_000_000
    while b"deaf" not in (tmp_path / "log").read_bytes() and time.monotonic_ns() < deadline_ns:
        time.sleep(0.01)
    ended = system.stop(timeout_s=0.2)
    assert ended["killed"]
    assert ended["gone"]
    assert gone(pid)


def test_children_in_its_session_go_with_it(system: process.System, tmp_path: Path) -> None:
    code = "import subprocess, sys\nsubprocess.Popen(['sleep', '300'])\n" + LOOP
    started(system, tmp_path, code)
    deadline_ns = time.monotonic_ns() + 10_000_000_000
    while len(system.members()) < 2 and time.monotonic_ns() < deadline_ns:
        time.sleep(0.01)
    pids = [member.pid for member in system.members()]
    assert len(pids) == 2
    assert system.pause()["threads"] == "TT"
    assert system.kill()["gone"]
    assert system.members() == []


def test_an_exit_that_nobody_asked_for_is_on_record(system: process.System, tmp_path: Path) -> None:
    started(system, tmp_path, "import sys; print('bye'); sys.exit(3)")
    deadline_ns = time.monotonic_ns() + 10_000_000_000
    while not system.report()["exits"] and time.monotonic_ns() < deadline_ns:
        time.sleep(0.01)
    (end,) = system.report()["exits"]
    assert (end["status"], end["signal"], end["asked_by"]) == (3, None, None)
    assert (tmp_path / "log").read_text() == "bye\n"
    with pytest.raises(process.ProcessError, match="not running"):
        system.pause()


def test_an_end_by_a_signal_without_a_name_is_on_record_too(
    system: process.System, tmp_path: Path
) -> None:
    started(system, tmp_path, "import os; os.kill(os.getpid(), 40)")
    assert process.wait_until(lambda: system.report()["exits_total"] == 1, 10)
    (end,) = system.report()["exits"]
    assert (end["status"], end["signal"], end["asked_by"]) == (None, "signal 40", None)


def test_an_exit_that_nobody_asked_for_outlives_any_number_that_somebody_did() -> None:
    crash: dict[str, object] = {"pid": 0, "asked_by": None}
    kills: list[dict[str, object]] = [{"pid": pid, "asked_by": "kill"} for pid in range(1, 9)]
    assert process.kept([crash, *kills], 9) == [crash, *kills]
    assert process.kept([crash, *kills], 3) == [crash, *kills[-2:]]
    assert process.kept([crash, crash], 1) == [crash]
    assert process.kept([crash, kills[0]], 1) == kills[:1], "the last one says how the system is"


def test_a_pid_that_is_somebody_elses_now_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        stat = files.process_stat(stranger.pid)
        assert stat is not None
        notes = {
            "pid": stranger.pid,
            "start_ticks": stat.start_ticks - 1,
            "boot_id": files.boot_id(),
        }
        files.write_atomically(tmp_path / "system.json", json.dumps(notes))
        system = process.System(tmp_path)
        assert system.kill() == {"gone": True, "was_running": False, "pid": stranger.pid}
        other_boot = {**notes, "start_ticks": stat.start_ticks, "boot_id": "another"}
        files.write_atomically(tmp_path / "system.json", json.dumps(other_boot))
        assert not system.kill()["was_running"]
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait(timeout=10)


def test_a_command_that_is_not_there_is_an_error(system: process.System, tmp_path: Path) -> None:
    with pytest.raises(process.ProcessError, match="no command 'nosuch'"):
        system.start(["nosuch"], env={}, cwd=None, log=str(tmp_path / "log"))


def test_proc_names_with_brackets_are_read(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    rest = " ".join(str(number) for number in range(4, 53))
    stat.write_text(f"12 (a) b) c) S {rest}\n")
    parsed = files._parse_stat(stat, 12)
    assert parsed == files.ProcessStat(12, "S", 6, 22)


def test_healing_a_host_where_nothing_was_done_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "heal_network", lambda: None)
    assert healing.heal_host(tmp_path) == {"healed": True, "problems": {}}
    assert list(tmp_path.iterdir()) == []


def test_one_step_that_fails_does_not_keep_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise network.NetworkError("nft is ill")

    monkeypatch.setattr(healing, "heal_network", fail)
    monkeypatch.setattr("shutil.which", lambda name: name)
    healing.clock_path(tmp_path).write_text("+5 x1")
    done = healing.heal_host(tmp_path)
    assert done == {"healed": False, "problems": {"network": "NetworkError: nft is ill"}}
    assert healing.clock_path(tmp_path).read_text() == clock.clock_text(0)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> main.Agent:
    monkeypatch.setattr(main, "why_nft_does_not_work", lambda: "no nft here")
    monkeypatch.setattr(main, "find_library", lambda: None)
    healing.notes_folder(tmp_path).mkdir()
    pipe = os.open(os.devnull, os.O_WRONLY)
    return main.Agent(tmp_path, lease_s=5, pipe=pipe, protected=["198.18.0.254"])


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"\xff\x00", "DecodeError"),
        (b"{", "JSONDecodeError"),
        (b"[1]", "a request is a JSON object"),
        (b"{}", "cannot do 'None'"),
        (b'{"id":7,"do":"dance"}', "cannot do 'dance'"),
        (b'{"id":7,"do":"renew"}', "'lease_s' must be a number"),
        (b'{"id":7,"do":"renew","lease_s":1e9}', "a lease is"),
        (b'{"id":7,"do":"cut","from":"n1"}', "'from' must be a list"),
        (b'{"id":7,"do":"start","argv":[]}', "'argv' must not be empty"),
        (b'{"id":7,"do":"pause"}', "not running"),
    ],
)
def test_garbage_gets_an_error_for_an_answer(agent: main.Agent, line: bytes, error: str) -> None:
    answer = agent.handle(line)
    assert answer["ok"] is False
    assert error in answer["error"]
    assert agent.handle(b'{"id":1,"do":"wall_clock"}')["ok"] is True


def test_what_a_host_cannot_do_is_skipped_with_the_reason(agent: main.Agent) -> None:
    cut = agent.handle(b'{"id":1,"do":"cut","from":["198.18.0.2"]}')
    assert cut == {"id": 1, "ok": True, "skipped": "no nft here"}
    bump = agent.handle(b'{"id":2,"do":"clock_bump","offset_ms":5}')
    assert "not started with a movable clock" in bump["skipped"]


def test_a_renewal_that_fails_does_not_end_the_watch_over_the_lease(
    agent: main.Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a host that can start no process for a moment."""

    def fail(timeout_s: float) -> None:
        raise BlockingIOError("no process to be had")

    monkeypatch.setattr(agent._cut, "renew", fail)
    agent.renew(1.0)
    ended = threading.Event()
    agent.keep_time(ended)
    assert ended.is_set()


def test_a_fault_that_has_run_out_says_so_though_nobody_renewed_it_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def listed(script: str, **_: object) -> str:
        return "{}"

    monkeypatch.setattr(network, "nft", listed)
    cut = network.Cut(protected=[])
    cut.install(["198.18.0.2"], timeout_s=3600)
    assert cut.evidence()["lapses"] == 0
    cut.install(["198.18.0.2"], timeout_s=0)
    assert cut.evidence()["lapses"] == 1
    assert cut.heal()["lapses"] == 1
    assert cut.evidence()["lapses"] == 0, "nothing is in force that could run out"


@pytest.mark.parametrize(
    ("status", "asked_by", "excuse", "expected"),
    [
        (-9, "kill", "failing disk", "kill"),
        (4, "kill", "failing disk", "failing disk"),  # it ended before the signal came
        (4, "kill", None, "kill"),
        (0, "stop", "full disk", "stop"),
        (4, None, "full disk", "full disk"),
        (-11, None, None, None),
    ],
)
def test_who_ends_by_itself_while_it_is_to_be_killed_has_a_reason_of_its_own(
    status: int, asked_by: str | None, excuse: str | None, expected: str | None
) -> None:
    assert process.whose_doing(status, asked_by, excuse) == expected
