"""The harness's side of the agent: starts it on a host, asks it for things, keeps its lease alive.

Rules of this file:
- Every request has a deadline, and an agent that is gone is a `HostError` that names the host.
- Several threads may ask at the same time; answers find their way by number.
- The lease is renewed from here only, so that hosts heal when this process is gone.
- Evidence is passed on as the agent saw it; `Skipped` says why something could not be done there.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import shlex
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from harness.errors import HostError
from harness.hosts.host import HOME as HOME
from harness.remote.agent.files import boot_id
from harness.remote.archive import agent_archive
from harness.remote.evidence import (
    Clocks,
    ClockState,
    Damaged,
    Dropped,
    Ended,
    Exit,
    FailingDisk,
    FewDescriptors,
    FullDisk,
    Healed,
    Hello,
    LittleCpu,
    LittleMemory,
    PowerLoss,
    Process,
    Skipped,
    SlowDisk,
    Started,
    Threads,
    dropped_of,
    ended_of,
    healed_of,
    skipped_of,
)
from harness.remote.ssh import Remote
from harness.remote.traffic import Echo, Shaped, shaped_of

if TYPE_CHECKING:
    import paramiko

LEASE_S: Final = 10.0
_START_TIMEOUT_S: Final = 45.0  # a predecessor that was killed may need its lease to clean up
_REQUEST_TIMEOUT_S: Final = 15.0
_ANSWER_BYTES_MAX: Final = 4 << 20
_STDERR_BYTES_MAX: Final = 4096
_PROTOCOL: Final = 1

# One kind of evidence.
_Seen = TypeVar("_Seen")


class Agent:
    """An agent that runs on a host. Use `Agent.launch`, and `close` when done: closing heals."""

    def __init__(self, remote: Remote, channel: paramiko.Channel, *, lease_s: float) -> None:
        """Take over a channel to an agent that was just started."""
        self._remote, self._channel = remote, channel
        self.name = remote.host.name
        self._lease_s = lease_s
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()
        self._waiting: dict[int, queue.Queue[dict[str, Any] | None]] = {}
        self._why_gone: str | None = None
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, name=f"agent-{self.name}", daemon=True)
        self._renewer = threading.Thread(target=self._renew, name=f"lease-{self.name}", daemon=True)
        self._reader.start()
        self.hello: Hello

    @classmethod
    def launch(
        cls,
        remote: Remote,
        *,
        home: str = HOME,
        lease_s: float = LEASE_S,
        leave_running: bool = False,
    ) -> Agent:
        """Put the agent on the host and start it. Its first act is to heal what an earlier left."""
        path = f"{home}/agent/agent.pyz"
        remote.upload(agent_archive(), path)
        command = ["python3", "-I", path, "--home", home, "--lease-s", f"{lease_s:g}"]
        if leave_running:
            command.append("--leave-running")
        if remote.host.own_clock:
            # The agent sets the clock only if its kernel was booted apart from this one.
            command += ["--controller-boot", boot_id()]
        channel = remote.open_channel("exec " + shlex.join(command))
        agent = cls(remote, channel, lease_s=lease_s)
        try:
            agent.hello = agent._greet()
        except BaseException:
            agent._abandon()
            raise
        agent._renewer.start()
        return agent

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self, sources: Sequence[str]) -> Dropped | Skipped:
        """Drop what arrives from exactly these addresses; an earlier cut is replaced."""
        answer = self._ask("cut", {"from": list(sources)})
        return skipped_of(answer) or dropped_of(answer)

    def heal_network(self) -> Dropped:
        """End the cut and return what it dropped in all. No cut is no error."""
        return dropped_of(self._ask("heal_network"))

    def network_evidence(self) -> Dropped:
        """Return what the present cut has dropped so far."""
        return dropped_of(self._ask("network_evidence"))

    def shape(self, peers: Sequence[str], effect: Mapping[str, Any]) -> Shaped | Skipped:
        """Hold back, lose, double or corrupt what is sent to these; replaces an earlier such fault.

        The effect has a `name` and the sizes that go with it (`agent/effect.py`).
        """
        answer = self._ask("shape", {"to": list(peers), "effect": dict(effect)})
        return skipped_of(answer) or shaped_of(answer)

    def unshape(self) -> Shaped:
        """Let packets pass and return what was counted in all. Nothing in force is no error."""
        return shaped_of(self._ask("unshape"))

    def shaping_evidence(self) -> Shaped:
        """Return what the present fault has counted so far."""
        return shaped_of(self._ask("shaping_evidence"))

    def echo(self, peers: Sequence[str], *, count: int, size: int) -> Echo:
        """Send echoes from this host to some others, and return what came back."""
        answer = self._ask("echo", {"to": list(peers), "count": count, "size": size})
        return Echo(**_fields_of(Echo, answer))

    def checksum_errors(self) -> int:
        """Return how many packets have arrived at this host with a wrong checksum."""
        return int(self._ask("checksum_errors")["errors"])

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        log: str | None = None,
        clock: bool = False,
    ) -> Started:
        """Start the system unless it runs; its output is appended to `log`.

        With `clock` its wall clock can be moved later, where the host can do that.
        """
        answer = self._ask(
            "start",
            {"argv": list(argv), "env": dict(env or {}), "cwd": cwd, "log": log, "clock": clock},
        )
        return Started(
            pid=answer["pid"], already=answer["already"], clock_problem=answer["clock_problem"]
        )

    def kill(self) -> Ended:
        """SIGKILL everything of the system."""
        return ended_of(self._ask("kill"))

    def stop(self, *, timeout_s: float = 5.0) -> Ended:
        """Let the system end by SIGTERM; SIGKILL what is left after `timeout_s`."""
        answer = self._ask("stop", {"timeout_s": timeout_s}, wait_s=timeout_s + _REQUEST_TIMEOUT_S)
        return ended_of(answer)

    def pause(self) -> Threads:
        """SIGSTOP the system."""
        answer = self._ask("pause")
        return Threads(done=answer["paused"], states=answer["threads"])

    def resume(self) -> Threads:
        """SIGCONT the system. Not paused, or not there, is no error."""
        answer = self._ask("resume")
        return Threads(done=answer["resumed"], states=answer["threads"])

    def process(self) -> Process:
        """Return how the system is, and every end it had since this agent started."""
        answer = self._ask("process")
        return Process(
            running=answer["running"],
            pid=answer["pid"],
            state=answer["state"],
            paused=answer["paused"],
            exits=tuple(Exit(**exit_) for exit_ in answer["exits"]),
            exits_total=answer["exits_total"],
        )

    def unexplained_exits(self) -> list[str]:
        """Return a sentence for each end of the system that nobody asked for."""
        return [exit_.detail for exit_ in self.process().exits if exit_.asked_by is None]

    def clock_bump(self, offset_ms: float) -> ClockState | Skipped:
        """Step the system's wall clock by this much."""
        return self._ask_clock("clock_bump", offset_ms=offset_ms)

    def clock_strobe(
        self, *, offset_ms: float, period_ms: float, duration_ms: float
    ) -> ClockState | Skipped:
        """Let it jump forth and back every period, in the background, for a while."""
        return self._ask_clock(
            "clock_strobe", offset_ms=offset_ms, period_ms=period_ms, duration_ms=duration_ms
        )

    def clock_rate(self, rate: float) -> ClockState | Skipped:
        """Let it run faster or slower from what it shows now."""
        return self._ask_clock("clock_rate", rate=rate)

    def clock_reset(self) -> ClockState | Skipped:
        """Let it show the true time again."""
        return self._ask_clock("clock_reset")

    def clock_state(self) -> ClockState | Skipped:
        """Return what it is meant to show, and how often a strobe has flipped it."""
        return self._ask_clock("clock_state")

    def make_volume(self, root: str) -> Skipped | None:
        """Put a fresh volume for disk faults on an empty folder, until the host is healed."""
        return skipped_of(self._ask("make_volume", {"root": root}))

    def write_canaries(self) -> Skipped | None:
        """Write the two files by which a power loss is seen."""
        return skipped_of(self._ask("write_canaries"))

    def cut_power(self) -> PowerLoss | Skipped:
        """SIGKILL the system and lose what it has not fsynced; it stays down."""
        answer = self._ask("cut_power", wait_s=2 * _REQUEST_TIMEOUT_S)
        return skipped_of(answer) or PowerLoss(**_fields_of(PowerLoss, answer))

    def fill_disk(self) -> FullDisk | Skipped:
        """Leave no room on the volume."""
        answer = self._ask("fill_disk")
        return skipped_of(answer) or FullDisk(**_fields_of(FullDisk, answer))

    def slow_disk(self) -> SlowDisk | Skipped:
        """Slow the system's writes."""
        answer = self._ask("slow_disk", wait_s=2 * _REQUEST_TIMEOUT_S)
        return skipped_of(answer) or SlowDisk(**_fields_of(SlowDisk, answer))

    def fail_disk(self) -> FailingDisk | Skipped:
        """Refuse every write and fsync, and lose what was not fsynced."""
        answer = self._ask("fail_disk")
        return skipped_of(answer) or FailingDisk(**_fields_of(FailingDisk, answer))

    def undo_disk(self) -> None:
        """Give the volume its room, its speed and its life back. Nothing to undo is no error."""
        self._ask("undo_disk", wait_s=2 * _REQUEST_TIMEOUT_S)

    def damage(
        self, how: str, root: str, *, logs: Sequence[str], states: Sequence[str], draw: int
    ) -> Damaged | Skipped:
        """SIGKILL the system and damage a file of its data; it stays down."""
        wanted = {"how": how, "root": root, "logs": list(logs), "states": list(states)}
        answer = self._ask("damage", {**wanted, "draw": draw}, wait_s=2 * _REQUEST_TIMEOUT_S)
        return skipped_of(answer) or Damaged(**_fields_of(Damaged, answer))

    def end_damage(self) -> None:
        """Say that the damaged data are gone: from here on the system must not end because of them."""
        self._ask("end_damage")

    def make_group(self) -> None:
        """Make the control group that the system is to live in; before it is started."""
        self._ask("make_group")

    def squeeze_cpu(self, percent: float) -> LittleCpu | Skipped:
        """Leave the system this much of one CPU."""
        return self._ask_for(LittleCpu, "squeeze_cpu", percent=percent)

    def cpu_squeezed(self) -> LittleCpu | Skipped:
        """Return what that has done so far."""
        return self._ask_for(LittleCpu, "cpu_squeezed")

    def squeeze_memory(self, spare_kb: float) -> LittleMemory | Skipped:
        """Leave the system so much more than it cannot give back; the kernel kills who needs more."""
        return self._ask_for(LittleMemory, "squeeze_memory", spare_kb=spare_kb)

    def memory_squeezed(self) -> LittleMemory | Skipped:
        """Return what that has done so far."""
        return self._ask_for(LittleMemory, "memory_squeezed")

    def limit_descriptors(self, keep_percent: float) -> FewDescriptors | Skipped:
        """Let the system open nothing new, and of what it closes only this share again."""
        return self._ask_for(FewDescriptors, "limit_descriptors", keep_percent=keep_percent)

    def undo_squeeze(self) -> None:
        """Give the system all that it lacks. Nothing to undo is no error."""
        self._ask("undo_squeeze")

    def wall_clock(self) -> Clocks:
        """Return the host's own clocks (of the host, not what the system is made to see)."""
        answer = self._ask("wall_clock")
        return Clocks(wall_ns=answer["wall_ns"], monotonic_ns=answer["monotonic_ns"])

    def heal(self) -> Healed:
        """Undo all faults; the system goes on running."""
        return healed_of(self._ask("heal"))

    @property
    def alive(self) -> bool:
        """Whether the agent was there when we last looked."""
        return self._why_gone is None

    def close(self) -> Healed | None:
        """Let the agent heal the host, stop the system and go. None if it was gone already."""
        healed: Healed | None = None
        if not self._closing.is_set():
            with contextlib.suppress(HostError):
                healed = healed_of(self._ask("bye", wait_s=2 * _REQUEST_TIMEOUT_S))
        self._abandon()
        return healed

    def _abandon(self) -> None:
        """Let go of the channel and both threads; the agent heals when its input ends."""
        self._closing.set()
        self._channel.close()
        for thread in (self._reader, self._renewer):
            if thread.ident is not None:
                thread.join(timeout=_REQUEST_TIMEOUT_S)

    def _greet(self) -> Hello:
        answer = self._ask("hello", wait_s=_START_TIMEOUT_S)
        protocol = answer.pop("protocol")
        if protocol != _PROTOCOL:
            raise self._error(f"the agent speaks protocol {protocol}, not {_PROTOCOL}")
        names = Hello.__dataclass_fields__
        fields = {name: answer[name] for name in names}
        return Hello(**{**fields, "protected": tuple(answer["protected"])})

    def _ask_clock(self, do: str, **parameters: Any) -> ClockState | Skipped:
        return self._ask_for(ClockState, do, **parameters)

    def _ask_for(self, kind: type[_Seen], do: str, **parameters: Any) -> _Seen | Skipped:
        answer = self._ask(do, parameters)
        return skipped_of(answer) or kind(**_fields_of(kind, answer))

    def _ask(
        self,
        do: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        wait_s: float = _REQUEST_TIMEOUT_S,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        number = next(self._numbers)
        answers: queue.Queue[dict[str, Any] | None] = queue.Queue(maxsize=1)
        self._waiting[number] = answers
        try:
            line = json.dumps({"id": number, "do": do, **(parameters or {})}) + "\n"
            with self._sending:
                if self._why_gone is not None:
                    raise self._gone(do)
                self._channel.settimeout(wait_s)
                self._channel.sendall(line.encode())
            answer = answers.get(timeout=wait_s)
        except queue.Empty:
            raise self._error(f"the agent did not answer `{do}` within {wait_s:g} s") from None
        except OSError as error:
            raise self._error(
                f"could not ask the agent to {do}: {str(error) or 'closed'}"
            ) from None
        finally:
            del self._waiting[number]
        if answer is None:
            raise self._gone(do)
        if not answer.get("ok"):
            raise self._error(f"the agent could not {do}: {answer.get('error')}")
        return answer

    def _read(self) -> None:
        """Hand each answer to who waits for it, until the channel ends."""
        buffer = b""
        why = "it ended"
        self._channel.settimeout(None)
        while True:
            try:
                data = self._channel.recv(65536)
            except TimeoutError:
                continue  # a sender's timeout is the channel's: silence is no end
            except OSError as error:
                why = f"the channel broke: {error}"
                break
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            if len(buffer) > _ANSWER_BYTES_MAX:
                why = "it said too much in one line"
                break
            for line in lines:
                self._hand_out(line)
        self._why_gone = self._last_words(why)
        for waiting in list(self._waiting.values()):
            with contextlib.suppress(queue.Full):
                waiting.put_nowait(None)

    def _hand_out(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
            waiting = self._waiting.get(answer["id"])
        except (ValueError, KeyError, TypeError):
            return  # nobody asked for it; who waits will hear of a timeout
        if waiting is not None:
            with contextlib.suppress(queue.Full):
                waiting.put_nowait(answer)

    def _last_words(self, why: str) -> str:
        with contextlib.suppress(OSError):
            self._channel.settimeout(0.5)
            said = self._channel.recv_stderr(_STDERR_BYTES_MAX).decode("utf-8", "replace").strip()
            if "python3" in said and "not found" in said:
                return (
                    "there is no python3 on the host; install it: apt-get install python3-minimal"
                )
            if said:
                return said.splitlines()[-1]
        return why

    def _renew(self) -> None:
        while not self._closing.wait(self._lease_s / 4):
            with contextlib.suppress(HostError):
                self._ask("renew", {"lease_s": self._lease_s})
            if self._why_gone is not None:
                return

    def _gone(self, do: str) -> HostError:
        return self._error(f"the agent is gone, it cannot {do}: {self._why_gone}")

    def _error(self, what: str) -> HostError:
        return HostError(f"host {self.name} ({self._remote.host.address}): {what}")


def _fields_of(kind: type[Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return of an answer what this kind of evidence has fields for."""
    return {name: value for name, value in answer.items() if name in kind.__dataclass_fields__}
