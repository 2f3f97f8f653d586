"""The benchmark's command line.

Rules of this file:
- The table goes to standard output and to --output; what is going on, to standard error.
- Data is below a temporary directory that is removed at the end; every process is stopped.
- A part that fails says so in the table; the others are still measured.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.bench_node import growth, machine, measures, profiling, throughput
from tools.bench_node.growth import Finding
from tools.bench_node.lab import Place, place
from tools.bench_node.measures import Row
from tools.bench_node.processes import Failed, Processes, end_on_signals
from tools.bench_node.servers import SYSTEMS, Context

PARTS = ("throughput", "recovery", "catch-up", "memory", "profile")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(words)
    end_on_signals()
    processes = Processes()
    sections: list[str] = []
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-node-", dir=options.data) as folder,
            place(in_lab=options.lab, nodes=max(*options.nodes, 3)) as where,
        ):
            try:
                context = Context(processes, Path(folder), options.pysyncobj_python)
                emit = Emitter(options.output, sections)
                emit(_head(words, context, where, options))
                for part in PARTS:
                    if part in options.parts:
                        emit(_SECTIONS[part](context, where, options))
                emit(f"At the end: fdatasync {machine.fsync_text(context.directory)}.")
            finally:
                processes.stop_all()
    except KeyboardInterrupt:
        say("stopped")
        return 130
    return 0


class Emitter:
    """Prints each section as it is done, and keeps the file whole after each of them."""

    def __init__(self, output: Path | None, sections: list[str]) -> None:
        self._output = output
        self._sections = sections

    def __call__(self, text: str) -> None:
        """One more section."""
        self._sections.append(text)
        print(text + "\n", flush=True)
        if self._output is not None:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._output.write_text("\n\n".join(self._sections) + "\n", encoding="utf-8")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="bench_node.py", description="Our node beside etcd and PySyncObj.", allow_abbrev=False
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all, or of {', '.join(PARTS)}")
    parser.add_argument("--output", type=Path, help="also write the tables to this file")
    parser.add_argument("--nodes", type=_numbers, default=[3, 5], metavar="3,5")
    parser.add_argument("--clients", type=_numbers, default=[1, 16, 64], metavar="1,16,64")
    parser.add_argument("--systems", type=_list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--targets", type=_list((throughput.ALL, throughput.LEADER)),
                        default=[throughput.ALL, throughput.LEADER])  # fmt: skip
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load")
    parser.add_argument(
        "--warm-up", type=float, default=1.0, help="seconds before each load counts"
    )
    parser.add_argument("--workers", type=int, default=0, help="client processes (0: by cores)")
    parser.add_argument("--entries", type=int, default=1_000_000, help="recovery and catch-up")
    parser.add_argument("--snapshot-entries", type=int, default=10_000,
                        help="the threshold where compaction is on")  # fmt: skip
    parser.add_argument("--writes", type=int, default=200_000, help="memory: how many in all")
    parser.add_argument("--lab", action="store_true", help="in the lab's network namespaces (root)")
    parser.add_argument("--data", type=Path, help="where to make the temporary directory")
    parser.add_argument("--pysyncobj-python", type=Path,
                        help="a Python that has PySyncObj (default: a virtual environment is made)")  # fmt: skip
    options = parser.parse_args(words)
    asked = options.parts or ["throughput"]
    unknown = [part for part in asked if part not in (*PARTS, "all")]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: choose of all, {', '.join(PARTS)}")
    options.parts = list(PARTS) if "all" in asked else asked
    if min(*options.nodes, *options.clients, 1) < 1 or options.seconds <= 0:
        parser.error("--nodes, --clients and --seconds must be positive")
    return options


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def _list(known: Sequence[str] | dict[str, type]) -> Callable[[str], list[str]]:
    def parsed(text: str) -> list[str]:
        words = text.split(",")
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is not of {', '.join(known)}")
        return words

    return parsed


def _head(words: Sequence[str], context: Context, where: Place, options: argparse.Namespace) -> str:
    lines = [*machine.describe(context.directory), ("network", where.title)]
    command = shlex.join(["python", "tools/bench_node.py", *words])
    return (
        f"# The node beside others\n\nRepeat with `{command}`.\n\n"
        f"{measures.table(('where', ''), lines)}"
    )


def _throughput(context: Context, where: Place, options: argparse.Namespace) -> str:
    matrix = throughput.Matrix(
        systems=options.systems, nodes=options.nodes, clients=options.clients,
        targets=options.targets, seconds=options.seconds, warm_up_s=options.warm_up,
        workers=options.workers,
    )  # fmt: skip
    rows, described = throughput.measure(context, where, matrix, _progress)
    parts = [
        "## Committed writes and linearizable reads",
        measures.table(("system", "what it is, and what is durable before an answer"), described),
        "Closed loops of one request each, values of 64 bytes, 256 keys. PySyncObj has no "
        "linearizable read: its reads are entries in the log. Clients and servers share the cores. "
        f"Each load lasts {options.seconds:g} s after {options.warm_up:g} s.",
        measures.throughput_table(rows),
    ]
    goals = measures.goals_table(rows)
    return "\n\n".join([*parts, goals] if goals else parts)


def _recovery(context: Context, where: Place, options: argparse.Namespace) -> str:
    sizes = {"entries": options.entries, "snapshot_entries": options.snapshot_entries}
    return _findings("Recovery", growth.recovery(context, where, **sizes))


def _catch_up(context: Context, where: Place, options: argparse.Namespace) -> str:
    sizes = {"entries": options.entries, "snapshot_entries": options.snapshot_entries}
    return _findings("A follower far behind", growth.catch_up(context, where, **sizes))


def _memory(context: Context, where: Place, options: argparse.Namespace) -> str:
    found = growth.memory(
        context, where, writes=options.writes, snapshot_entries=options.snapshot_entries,
        round_s=options.seconds,
    )  # fmt: skip
    return _findings("Memory", found)


def _findings(title: str, found: Sequence[Finding]) -> str:
    lines = [[one.what, one.variant, one.result, one.goal, one.note] for one in found]
    header = ("measured", "variant", "result", "goal", "remarks")
    return f"## {title}\n\n{measures.table(header, lines)}"


def _profile(context: Context, where: Place, options: argparse.Namespace) -> str:
    texts = ["## Where the time goes"]
    for kind, role in (("write", "leader"), ("write", "follower"), ("read", "leader")):
        say(f"profile: {kind}s, {role}")
        try:
            texts.append(profiling.profile(
                context, where, kind=kind, role=role, nodes=min(options.nodes),
                clients=max(options.clients), seconds=options.seconds,
            ))  # fmt: skip
        except Failed as error:
            texts.append(f"{kind}s, {role}: not measured: {error}")
    return "\n\n".join(texts)


_SECTIONS = {
    "throughput": _throughput,
    "recovery": _recovery,
    "catch-up": _catch_up,
    "memory": _memory,
    "profile": _profile,
}


def _progress(row: Row) -> None:
    what = row.reason or f"{row.per_second:,.0f}/s, p99 {row.p99_ms:.1f} ms, {row.errors} errors"
    say(
        f"{row.system} {row.nodes} nodes, to {row.targets}, {row.clients} clients, {row.kind}s: {what}"
    )


def say(text: str) -> None:
    """One line about what is going on."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()
