"""The systems: how each is got, started, and asked who leads.

Rules of this file:
- Every system runs as it would be run to keep data: fsync on where it has it, which `durability`
  says. Nothing else is tuned; where tuning would help the other, it is a system of its own.
- A system that is not there raises `Failed` with the reason: it becomes a row.
"""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench_node import node_command
from tools.bench_node.lab import Member
from tools.bench_node.node_command import NodeOptions
from tools.bench_node.processes import ROOT, Failed, Processes, run

PYSYNCOBJ = "pysyncobj==0.3.17"


@dataclass(slots=True)
class Context:
    """What one run has at hand."""

    processes: Processes
    directory: Path
    pysyncobj_python: Path | None = None
    directories: int = 0

    def new_directory(self, name: str) -> Path:
        """A directory that nobody used before."""
        self.directories += 1
        path = self.directory / f"{self.directories:03d}-{name}"
        path.mkdir()
        return path


class System:
    """What all have in common."""

    key = ""
    durability = ""

    def version(self, context: Context) -> str:
        """What is measured; gets it ready, and raises `Failed` if it cannot be had."""
        raise NotImplementedError

    def start(
        self, context: Context, member: Member, members: Sequence[Member], directory: Path
    ) -> subprocess.Popen[bytes]:
        """Start one node."""
        raise NotImplementedError

    def leads(self, member: Member) -> bool:
        """Does it say of itself that it leads?"""
        raise NotImplementedError

    def is_settled(self, member: Member) -> bool:
        """Has it all the connections that it wants? Asked of a node that serves."""
        del member
        return True

    def _run(self, context: Context, member: Member, directory: Path, command: Sequence[str],
             environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:  # fmt: skip
        return context.processes.start(
            (*member.prefix, *command),
            log=directory.parent / f"{directory.name}.log",
            environment=environment,
        )


class Node(System):
    """Ours, from its archive, as a host would get it."""

    key = "node"
    durability = "fdatasync of the log before any answer (group commit), its default"

    def __init__(self, options: NodeOptions | None = None) -> None:
        self.options = options or NodeOptions()
        self.program: dict[str, tuple[str, ...]] = {}
        """By member: what runs the node, where it is not the archive itself (a profiler)."""
        self.environment: dict[str, str] = {}

    def version(self, context: Context) -> str:
        """Builds the archive."""
        built = run((sys.executable, "-m", "node.archive", str(archive(context))), limit_s=60.0)
        return f"this checkout, archive {built.stdout.strip()[:12]}"

    def start(
        self, context: Context, member: Member, members: Sequence[Member], directory: Path
    ) -> subprocess.Popen[bytes]:
        """By the command of node/PROTOCOL.md."""
        self.initialise(context, member, members, directory)
        whole = self.commands(context, member, members, directory)
        return self._run(context, member, directory, whole.serve, self.environment)

    def initialise(
        self, context: Context, member: Member, members: Sequence[Member], directory: Path
    ) -> None:
        """What a node wants done once, before its first start."""
        if not directory.exists():
            for step in self.commands(context, member, members, directory).before:
                run((*member.prefix, *step), limit_s=30.0)

    def commands(
        self, context: Context, member: Member, members: Sequence[Member], directory: Path
    ) -> node_command.Commands:
        """What starts it."""
        path = archive(context)
        program = self.program.get(member.name, (sys.executable, str(path)))
        return node_command.commands(program, member, members, directory, self.options)

    def leads(self, member: Member) -> bool:
        """By its status."""
        return bool(get(member, "/status").get("role") == "leader")


class Etcd(System):
    """Debian's etcd-server; clients speak to its JSON gateway, which is on by default."""

    key = "etcd"
    durability = "fdatasync of the log before any answer, its default"

    def version(self, context: Context) -> str:
        """What the binary says."""
        if shutil.which("etcd") is None:
            raise Failed("there is no etcd: apt-get install etcd-server")
        found = re.search(r"etcd Version: (\S+)", run(("etcd", "--version"), limit_s=20.0).stdout)
        return f"etcd {found[1] if found else 'unknown'}, through its JSON gateway"

    def start(
        self, context: Context, member: Member, members: Sequence[Member], directory: Path
    ) -> subprocess.Popen[bytes]:
        """A static cluster; nothing but addresses is set."""
        own_peer, own_client = f"http://{member.peer}", f"http://{member.client}"
        command = [
            "etcd", "--name", member.name, "--data-dir", str(directory), "--log-level", "error",
            "--listen-peer-urls", own_peer, "--initial-advertise-peer-urls", own_peer,
            "--listen-client-urls", own_client, "--advertise-client-urls", own_client,
            "--initial-cluster", ",".join(f"{m.name}=http://{m.peer}" for m in members),
            "--initial-cluster-token", "bench", "--initial-cluster-state", "new",
        ]  # fmt: skip
        return self._run(context, member, directory, command)

    def leads(self, member: Member) -> bool:
        """By its maintenance status."""
        status = ask(member, "POST", "/v3/maintenance/status", b"{}")
        leader = status.get("leader")
        return bool(leader and leader == status["header"]["member_id"])


class PySyncObj(System):
    """The library under `tools/pysyncobj_server.py`, in a virtual environment of the run's own."""

    key = "pysyncobj"
    durability = "no fsync: the library writes its journal through a memory map and never syncs it"
    flags: tuple[str, ...] = ()

    def version(self, context: Context) -> str:
        """Installs it, once a run."""
        if context.pysyncobj_python is None:
            venv = context.new_directory("pysyncobj-venv")
            run((sys.executable, "-m", "venv", str(venv)), limit_s=120.0)
            python = venv / "bin/python"
            run((str(python), "-m", "pip", "install", "-q", PYSYNCOBJ), limit_s=180.0)
            context.pysyncobj_python = python
        code = "import pysyncobj.version as v; print(v.VERSION)"
        python_words = (str(context.pysyncobj_python), "-c", code)
        how = "appendEntriesUseBatch=False" if self.flags else "its default settings"
        return f"PySyncObj {run(python_words, limit_s=30.0).stdout.strip()}, {how}, journal file"

    def start(
        self, context: Context, member: Member, members: Sequence[Member], directory: Path
    ) -> subprocess.Popen[bytes]:
        """One process of the thin server."""
        directory.mkdir(exist_ok=True)
        others = [other.peer for other in members if other != member]
        command = [str(context.pysyncobj_python), str(ROOT / "tools/pysyncobj_server.py"),
                   member.peer, member.client, str(directory), *others, *self.flags]  # fmt: skip
        return self._run(context, member, directory, command)

    def leads(self, member: Member) -> bool:
        """By the thin server's status."""
        status = get(member, "/status")
        return bool(status["leader"] == status["self"])

    def is_settled(self, member: Member) -> bool:
        """It dials again every 5 s only; until then, requests at such a node wait."""
        return bool(get(member, "/status")["settled"])


class PromptPySyncObj(PySyncObj):
    """The same, sending each entry at once."""

    key = "pysyncobj-prompt"
    flags: tuple[str, ...] = ("--prompt",)


class Instant(System):
    """No system: what the client can do by itself."""

    key = "instant"
    durability = "nothing is stored"

    def version(self, context: Context) -> str:
        """It is part of this tool."""
        return "tools/bench_node/instant_server.py: answers at once"

    def start(
        self, context: Context, member: Member, members: Sequence[Member], directory: Path
    ) -> subprocess.Popen[bytes]:
        """As many processes as a cluster would have."""
        words = (sys.executable, "-m", "tools.bench_node.instant_server")
        command = (*words, member.host, str(member.client_port))
        return self._run(context, member, directory, command)

    def leads(self, member: Member) -> bool:
        """The first one plays the leader."""
        ask(member, "GET", "/status", b"")
        return member.name == "n1"


SYSTEMS: dict[str, type[System]] = {
    kind.key: kind for kind in (Instant, Node, Etcd, PySyncObj, PromptPySyncObj)
}


def archive(context: Context) -> Path:
    """Where the run's archive of our node is."""
    return context.directory / "node.pyz"


def get(member: Member, path: str) -> dict[str, Any]:
    """A document."""
    return ask(member, "GET", path, b"")


def ask(
    member: Member, method: str, path: str, body: bytes, limit_s: float = 5.0
) -> dict[str, Any]:
    """One request on a connection of its own; the answer's document, whatever its status."""
    connection = http.client.HTTPConnection(member.host, member.client_port, timeout=limit_s)
    try:
        connection.request(method, path, body)
        document: dict[str, Any] = json.loads(connection.getresponse().read())
        return document
    finally:
        connection.close()
