"""Kills and pauses: signals to the system's processes.

Rules of this file:
- When a node dies is chosen by the clock, or by what it has just done (`after_vote.py`).
- A kill is `installed` when nothing of the process is left, a pause when the kernel shows every
  thread stopped. Coming back is no evidence that something had been gone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.nemesis.after_vote import AfterVote, Struck
from harness.nemesis.faults import Certainty, Crew, Report, Reports
from harness.nemesis.plan import Fault
from harness.nemesis.repeating import Repeating
from harness.remote.agent_client import Agent
from harness.systems.system import System

# The leader dies, and then those who vote for the next one, each when it has voted.
_AFTER_VOTE: Final = "after-vote"

# One node after the other, or one of them over and over: killed and started again at once.
_REPEATED: Final = ("rolling", "crash-loop")


@dataclass(slots=True)
class Kill:
    """SIGKILLs the system, and starts it again: at the end of the fault, or at once, repeatedly."""

    crew: Crew
    system: System
    _repeating: dict[int, Repeating] = field(default_factory=dict)
    _voters: dict[int, AfterVote] = field(default_factory=dict)

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Kill; the evidence is that the process is gone."""
        if fault.name == _AFTER_VOTE and targets:
            return self._kill_leader(fault, targets[0], targets[1:])
        if fault.name not in _REPEATED or not targets:
            return self._kill(targets)
        reports = self._kill(targets[:1])

        def restart_and_kill_the_next(turn: int, over: threading.Event) -> None:
            self._start(targets[turn % len(targets)])
            if not over.is_set():
                self._kill([targets[(turn + 1) % len(targets)]])

        period_s = fault.parameters["period_ms"] / 1000
        self._repeating[fault.id] = Repeating(restart_and_kill_the_next, period_s=period_s)
        return reports

    def _kill_leader(self, fault: Fault, leader: str, voters: Sequence[str]) -> Reports:
        """Make an election necessary; `voters` are restarted when they have voted in it."""
        watch = self._voters[fault.id] = AfterVote(
            voters,
            status=self.system.status,
            kill=lambda node: self.crew.cluster.agent(node).kill(),
            start=self._start,
        )
        gone = self._kill([leader])[leader]
        watch.watch()
        reports = dict.fromkeys(voters, Report(Certainty.INDETERMINATE, "is to die when it votes"))
        return {leader: Report(Certainty.INDETERMINATE, gone.detail), **reports}

    def _kill(self, nodes: Sequence[str]) -> dict[str, Report]:
        def kill(node: str, agent: Agent) -> Report:
            del node
            seen = agent.kill()
            certain = seen.gone and seen.was_running
            kind = Certainty.INSTALLED if certain else Certainty.INDETERMINATE
            return Report(kind, seen.detail)

        return self.crew.on(nodes, kill)

    def _start(self, node: str) -> None:
        self.crew.cluster.start(node)

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Start again."""
        repeating = self._repeating.pop(fault.id, None)
        turns, problem = repeating.stop() if repeating else (0, None)
        note = f", after {turns + 1} kills" if turns else ""
        note += f"; the kills ended early: {problem}" if problem else ""
        watch = self._voters.pop(fault.id, None)
        struck, problems = watch.stop() if watch else ({}, {})

        def start(node: str, agent: Agent) -> Report:
            del agent
            detail = self.crew.cluster.start(node)
            if watch is not None and node in targets[1:]:
                return _after_vote(struck.get(node), problems.get(node), detail)
            # Coming back is no evidence that it had been gone: that was seen at the start, or not.
            return Report(Certainty.INDETERMINATE, f"started again: {detail}{note}")

        return self.crew.on(targets, start)


def _after_vote(struck: Struck | None, problem: str | None, started: str) -> Report:
    """Say what became of a voter: it died and was back, or it did not vote."""
    if struck is None:
        why = f"was not killed: {problem}" if problem else "showed no newer term"
        return Report(Certainty.INDETERMINATE, f"{why}; {started}")
    when = f"killed when it showed term {struck.term} ({struck.seen.detail})"
    if problem:
        return Report(Certainty.INDETERMINATE, f"{when}, and then: {problem}; {started}")
    certain = struck.seen.gone and struck.seen.was_running
    kind = Certainty.INSTALLED if certain else Certainty.INDETERMINATE
    return Report(kind, f"{when}, started again after {struck.away_ms:.0f} ms")


@dataclass(slots=True)
class Pause:
    """Stops the system's processes with SIGSTOP, and lets them go on at the end."""

    crew: Crew

    def start(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Stop; the evidence is the process state that the kernel shows."""
        del fault

        def pause(node: str, agent: Agent) -> Report:
            seen = agent.pause()
            kind = Certainty.INSTALLED if seen.stopped else Certainty.INDETERMINATE
            return Report(kind, seen.detail)

        return self.crew.on(targets, pause)

    def stop(self, fault: Fault, targets: Sequence[str]) -> Reports:
        """Go on."""
        del fault

        def resume(node: str, agent: Agent) -> Report:
            seen = agent.resume()
            # Going on is no evidence that it had stood still: that was seen at the start, or not.
            return Report(Certainty.INDETERMINATE, f"resumed: {seen.detail}")

        return self.crew.on(targets, resume)
