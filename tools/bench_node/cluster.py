"""The nodes of one system, started together and stopped together.

Rules of this file: every wait has a limit and ends at once when a node has died, with its last words.
"""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.bench_node.lab import Member
from tools.bench_node.processes import Failed
from tools.bench_node.servers import Context, System

LEADER_S_MAX = 30.0
_POLL_S = 0.02


class Cluster:
    """Nodes that run; stopped at the end of the `with`."""

    def __init__(self, context: Context, system: System, members: Sequence[Member],
                 directory: Path | None = None) -> None:  # fmt: skip
        self.context = context
        self.system = system
        self.members = list(members)
        self.directory = directory or context.new_directory(system.key)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.stop()

    def start(self, names: Sequence[str] = ()) -> None:
        """Start these members, or all."""
        for member in self.members:
            if not names or member.name in names:
                where = self.directory / member.name
                process = self.system.start(self.context, member, self.members, where)
                self.running[member.name] = process

    def stop(self) -> None:
        """Stop all that run."""
        self.context.processes.stop(list(self.running.values()))
        self.running.clear()

    def stop_one(self, name: str) -> None:
        """Stop one."""
        self.context.processes.stop([self.running.pop(name)])

    def pids(self) -> list[int]:
        """Of the nodes that run."""
        return [process.pid for process in self.running.values()]

    def member(self, name: str) -> Member:
        """By name."""
        return next(member for member in self.members if member.name == name)

    def leader(self, limit_s: float = LEADER_S_MAX) -> Member:
        """Wait for a leader; raises `Failed` if there is none in time, or a node has ended."""
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            self.check_alive()
            for name in self.running:
                try:
                    if self.system.leads(self.member(name)):
                        return self.member(name)
                except (OSError, ValueError, KeyError, http.client.HTTPException):
                    continue
            time.sleep(_POLL_S)
        raise Failed(f"no leader within {limit_s:g} s")

    def settle(self, limit_s: float = LEADER_S_MAX) -> None:
        """Wait for a leader, and until every node that runs has its connections."""
        self.leader(limit_s)
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            self.check_alive()
            with contextlib.suppress(OSError, ValueError, KeyError, http.client.HTTPException):
                if all(self.system.is_settled(self.member(name)) for name in self.running):
                    return
            time.sleep(_POLL_S)
        raise Failed(f"the nodes were not connected with each other within {limit_s:g} s")

    def check_alive(self) -> None:
        """Raise `Failed` with a node's last words if one has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                log = self.directory / f"{name}.log"
                text = log.read_text(errors="replace") if log.exists() else ""
                said = text.strip().splitlines() or ["it said nothing"]
                raise Failed(f"{name} ended with {process.returncode}: {said[-1]}")
