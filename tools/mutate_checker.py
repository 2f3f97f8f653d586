"""Mutation testing of the checker: changes one thing in it at a time and asks whether a test notices.

    .venv/bin/python tools/mutate_checker.py --sample 80 --seed 1
    .venv/bin/python tools/mutate_checker.py --files verify.py kernels/refute.py --sample 40

Rules of this file:
- Works on a copy in a temporary folder, with numba switched off: kernels are plain Python there, so
  nothing has to be compiled, and an index that is out of bounds is an error.
- A mutant is one comparison (``<`` is ``<=``), ``and`` that is ``or``, ``not`` that is gone, ``min``
  that is ``max``, or a number that is one larger. What is tried is a sample chosen by the seed.
- Killed: a test failed, or took five times as long as without the mutant. The tests are quick ones,
  so a survivor is a question, not a verdict; `HARMLESS` says of which the answer is known, and why.
- Harmless: it survived and is known to change no answer, only speed or nothing at all. It does not
  count. What survived otherwise is listed for people, and the exit code is 1 only below a score
  (`--at-least`).
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ("kernels/*.py", "core.py", "core_search.py", "exhaust.py", "shrink.py", "verify.py")

# Tests by what is mutated, a file or a folder: how often the fuzzer tries what, and arguments of pytest.
TESTS: dict[str, tuple[int, list[str], list[str]]] = {
    "kernels": (
        100,
        ["first-look", "contradictions", "depth-first", "just-in-time", "without-log", "beam-3",
         "race", "cores"],
        ["test_kernel_edges.py", "test_kernels.py"],
    ),
    "kernels/alone.py": (100, ["first-look"], ["test_kernel_edges.py", "test_flat_calls.py"]),
    "kernels/flatten.py": (0, [], ["test_kernel_edges.py", "test_flat_calls.py"]),
    "kernels/texts.py": (0, [], ["test_flat_calls.py"]),
    "kernels/edn_lines.py": (0, [], ["test_load_columns.py"]),
    "verify.py": (0, [], ["test_verify.py", "test_verify_shapes.py", "test_verify_random.py"]),
    "": (
        60,
        ["cores", "windows", "check cas-register", "check mutex", "check stack"],
        ["test_core_and_shrink.py", "-k", "not hard"],
    ),
}  # fmt: skip

# Where a change is of no consequence to any answer, and why: all changes in (file, function), or the
# one that leaves this line behind (file, function, line): a line that stands there twice is both.
HARMLESS: dict[tuple[str, ...], str] = {
    ("kernels/layout.py", "mix"): "hash: any is right, some are slower",
    ("kernels/fronts.py", "_hash"): "hash: any is right, some are slower",
    ("kernels/fronts.py", "narrow"): "choice: which configurations a beam keeps",
    ("kernels/layout.py", ""): "size: room that need not be so small",
    ("kernels/alone.py", ""): "size: room that need not be so small",
    ("kernels/retell.py", ""): "size: room that need not be so small",
    ("kernels/arrange.py", ""): "size: which of two ways events are numbered",
    ("kernels/fronts.py", ""): "size: room that need not be so small",
    ("verify.py", ""): "size: the bound on configurations",
    ("exhaust.py", ""): "size: the bound on configurations",
    ("shrink.py", ""): "size: first window, patience",
    ("core_search.py", ""): "size: patience",
    ("core.py", "settled", "last = max((c.end for c in calls if c.required and c.end is not None), default=-2)"):
        "same: only where nobody must return, and then nothing is refuted",
    ("core_search.py", "_problem", "required = np.array([1] * extra + ["):
        "same: a write that never returns is not waited for, whatever is said of it",
    ("exhaust.py", "endings",
     "ordered = sorted(by_state.items(), key=lambda pair: (-len(pair[1]), str(pair[1])))"):
        "choice: which of equally long ways is told first",
    ("shrink.py", "_fewer", "size = max(1, size // 3)"):
        "choice: how fast chunks become single calls",
    ("kernels/alone.py", "_calls_of", "changed = (waiting >= 0)"):
        "same: where nobody waits, the loop finds nobody and ends",
    ("kernels/alone.py", "_look_at", "sole = first_end = last_need = following = np.zeros(1, np.int32)"):
        "same: with transitions nobody looks at these arrays",
    ("kernels/alone.py", "_mark", "marks[row[c]] = 2"):
        "same: it is only asked whether it is 0",
    ("kernels/breadth_first.py", "run", "control[DROPPED] = 2"):
        "same: it is only asked whether it is 0",
    ("kernels/chains.py", "soon_of",
     "elif (chain < 0 or chain != soon[e, 1]) and (deadline <= soon[e, 2]):"):
        "same: an equal deadline is put in the place of itself",
    ("kernels/depth_first.py", "run", "-2 if opt_calls[k] < 0 else calls[opt_calls[k], CHAIN],"):
        "same: it is only asked whether it is negative",
    ("kernels/refute.py", "_stale",
     "if latest_return[needed] < limit[c] or latest_return[needed] == -3:"):
        "same: -2 is below every limit, which is -1 at least",
    ("kernels/refute.py", "_stale", "limit = np.full(calls.shape[0], -2, np.int64)"):
        "same: the limit of every call that has one is set when it is invoked",
    ("kernels/refute.py", "_stale", "return NOTHING, -2, -1"):
        "same: where nothing was found nobody looks at the calls",
    ("kernels/refute.py", "_crossing", "if (last_start[head] > 0):"):
        "same: no return is before event 0, so nothing is inside a zone that ends there",
    ("kernels/texts.py", "", "_BASE = 11400714819323198486"):
        "hash: any is right, some are slower",
    ("kernels/texts.py", "_hashes_of_beginnings",
     "h = h * uint64(_BASE) + uint64(characters[offset + i]) + uint64(2)"):
        "hash: any is right, some are slower",
    ("kernels/texts.py", "_find",
     "mix(hashed, uint64(key * 3 + is_state) * uint64(0x632BE59BD9B4E019) + uint64(length))"):
        "hash: any is right, some are slower",
    ("kernels/texts.py", "_find",
     "mix(hashed, uint64(key * 2 + is_state) * uint64(7146057691288625178) + uint64(length))"):
        "hash: any is right, some are slower",
    ("kernels/texts.py", "_find", "slot = (slot + 2) & last"):
        "hash: every other slot is looked at, and half of them are as many as the room",
    ("kernels/texts.py", "", "FOUND, UNUSUAL, NO_ROOM, TOO_LONG = 0, 2, 2, 3"):
        "same: what is unusual is so with more room too, and then it is left to the model",
    ("kernels/texts.py", "", "FOUND, UNUSUAL, NO_ROOM, TOO_LONG = 0, 1, 3, 3"):
        "same: what is too long is so with more room too, and then it is left to the model",
    ("kernels/texts.py", "", "FOUND, UNUSUAL, NO_ROOM, TOO_LONG = 0, 1, 2, 4"):
        "same: it is only asked whether it is another code",
    ("kernels/texts.py", "_hashes_of_beginnings", "powers = np.empty(longest + 2, np.uint64)"):
        "size: room that need not be so small",
    ("kernels/texts.py", "_hashes_of_beginnings", "longest, offset = 1, 0"):
        "size: room that need not be so small",
    ("kernels/texts.py", "string_states", "while (size <= 2 * room):"):
        "size: room that need not be so small",
    ("kernels/texts.py", "string_states", "while size < 3 * room:"):
        "size: room that need not be so small",
    ("kernels/texts.py", "string_states", "pieces = np.empty((room, 6), np.int64)"):
        "size: room that need not be so small",
    ("kernels/texts.py", "string_states", "known, states, classes, kept, made = 1, 0, 0, 0, 0"):
        "size: the first place is not used",
    ("kernels/texts.py", "string_states", "known += 2"):
        "size: every other place is not used, and where that is too little more is given",
    ("kernels/texts.py", "string_states", "slots = np.full(size, -2, np.int64)"):
        "same: it is only asked whether it is negative",
    ("kernels/texts.py", "string_states", "shortest = np.full(keys, -2, np.int64)"):
        "same: it is only asked whether it is negative",
    ("kernels/texts.py", "string_states", "latest_read = np.full(keys, -2, np.int64)"):
        "same: it is only asked whether it is negative",
    ("kernels/texts.py", "_find", "return np.int64(-2), slot"):
        "same: it is only asked whether it is negative",
    ("kernels/texts.py", "_list_length", "before, node = -2, shortest[key]"):
        "same: it is only asked whether it is negative",
    ("kernels/texts.py", "string_states", "seen[from_] = 2"):
        "same: it is only asked whether it is 0",
    ("kernels/texts.py", "_push_reads", "seen[state] = 2"):
        "same: it is only asked whether it is 0",
    ("kernels/texts.py", "string_states", "if (keys > room):"):
        "same: the owner gives room for more than the keys and a string a row",
    ("kernels/texts.py", "string_states", "if (known > room):"):
        "same: the owner gives room for more than the keys and a string a row",
    ("kernels/texts.py", "string_states", "for row in range(total if code == FOUND else 1):"):
        "same: the owner gives room for more than the keys and a string a row",
    ("kernels/texts.py", "string_states", "for k in range(keys if code == FOUND else 1):"):
        "same: nothing sets the code back, so what is found then is not looked at",
    ("kernels/texts.py", "string_states", "if (shortest[k] >= 0 or latest_read[k] >= 0):"):
        "same: of a key without appends, or without reads, nothing is found there",
    ("verify.py", "_exhaust", "bit = unused.pop() if unused else 2 << len(is_open)"):
        "same: the bits of calls are distinct, whichever they are",
}  # fmt: skip

_SWAPS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: a span of the source (line and byte, from and to) and what stands there then."""

    file: str
    function: str
    span: tuple[int, int, int, int]
    before: str
    after: str
    line: str

    @property
    def place(self) -> str:
        """Where it is and what it is, in one line."""
        told = f"{' '.join(self.before.split())}  ->  {' '.join(self.after.split())}"
        return f"checker/{self.file}:{self.span[0]} ({self.function or 'module'})  {told}"

    @property
    def harmless(self) -> str | None:
        """Why nobody can notice it, if that is known."""
        there = self.file, self.function
        return HARMLESS.get((*there, self.line), HARMLESS.get(there))

    def applied(self, source: str) -> str:
        """Return the source with the change; all other lines stay where they are."""
        lines = source.split("\n")
        first, _, last, _ = self.span
        lines[first - 1 : last] = [changed(lines, self.span, self.after)] + [""] * (last - first)
        return "\n".join(lines)


def changed(lines: list[str], span: tuple[int, int, int, int], after: str) -> str:
    """Return the line, of those that a change touches, that is left."""
    first, begin, last, end = span  # columns are bytes
    head, tail = lines[first - 1].encode()[:begin], lines[last - 1].encode()[end:]
    return head.decode() + " ".join(after.split("\n")) + tail.decode()


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Return every mutant of a file, in the order of their places."""
    tree, lines = ast.parse(source), source.split("\n")
    found: list[Mutant] = []

    def note(node: ast.expr, after: ast.expr | str, function: str) -> None:
        text = (
            after
            if isinstance(after, str)
            else f"({ast.unparse(ast.fix_missing_locations(after))})"
        )
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        span = (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)
        line = changed(lines, span, text).strip()
        found.append(Mutant(file, function, span, ast.unparse(node), text, line))

    def walk(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef):
            function = node.name
            inside: list[ast.AST] = list(node.body)  # neither decorators nor annotations
        elif isinstance(node, ast.AnnAssign):
            inside = [node.value] if node.value is not None else []
        else:
            inside = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.expr):
            for after in _changes(node):
                note(node, after, function)
        for child in inside:
            walk(child, function)

    walk(tree, "")
    return sorted(set(found), key=lambda mutant: (mutant.span, mutant.after))


def _changes(node: ast.expr) -> list[ast.expr | str]:
    """Return what an expression may be changed to."""
    changes: list[ast.expr | str] = []
    if isinstance(node, ast.Compare):
        for n, operator in enumerate(node.ops):
            if type(operator) in _SWAPS:
                operators = list(node.ops)
                operators[n] = _SWAPS[type(operator)]()
                changes.append(ast.Compare(node.left, operators, node.comparators))
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        changes.append(ast.BoolOp(other, node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        changes.append(node.operand)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        changes.append(str(node.value + 1))
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("min", "max")
    ):
        name = "max" if node.func.id == "min" else "min"
        changes.append(ast.Call(ast.Name(name), node.args, node.keywords))
    return changes


def kind_of(file: str) -> str:
    """Return which tests a file has, a key of `TESTS`."""
    return next((kind for kind in (file, file.partition("/")[0]) if kind in TESTS), "")


class Copy:
    """A copy of the checker and its tests, in which one file at a time is another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("checker", "tests/checker", "tests/data", "docs"):
            if (ROOT / part).exists():
                shutil.copytree(ROOT / part, folder / part,
                                ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        (folder / "tools").mkdir()
        shutil.copy(ROOT / "tools" / "fuzz_checker.py", folder / "tools")
        shutil.copy(ROOT / "tests" / "conftest.py", folder / "tests")
        shutil.copy(ROOT / "pyproject.toml", folder)
        self.environment = {
            **os.environ,
            "NUMBA_DISABLE_JIT": "1",
            "HYPOTHESIS_PROFILE": "ci",  # the same examples for every mutant
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(folder),
            "PYTHONWARNINGS": "ignore",  # plain Python says so where a hash overflows
            "XDG_CACHE_HOME": str(folder / "cache"),
        }

    def is_noticed(self, file: str, patience: float, times: int = 1) -> tuple[bool, float]:
        """Run the tests of a file; return whether one failed or took too long, and the seconds.

        The fuzzer tries its seeds `times` as many.
        """
        count, algorithms, tests = TESTS[kind_of(file)]
        paths = [f"tests/checker/{t}" if t.endswith(".py") else t for t in tests]
        commands = [[sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                     "-o", "filterwarnings=ignore", *paths]]  # fmt: skip
        if count:
            commands.append([sys.executable, "tools/fuzz_checker.py", "--seed", "0",
                             "--seconds", "3600", "--count", str(times * count)])  # fmt: skip
            for name in algorithms:
                commands[-1] += ["--only", name]
        began = time.monotonic()
        for command in commands:
            try:
                done = subprocess.run(
                    command, cwd=self.folder, env=self.environment, capture_output=True,
                    timeout=max(1.0, began + patience - time.monotonic()), check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return True, patience
            if done.returncode != 0:
                return True, time.monotonic() - began
        return False, time.monotonic() - began


def main() -> int:
    """Choose mutants, try each, say who survived."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sample", type=int, default=60, help="how many mutants (60)")
    parser.add_argument("--seed", type=int, default=1, help="which (1)")
    parser.add_argument("--files", nargs="+", default=list(DEFAULT), help="below checker/")
    parser.add_argument("--at-least", type=int, default=50, help="killed, in per cent (50)")
    parser.add_argument("--list", action="store_true", help="only list the sample")
    given = parser.parse_args()
    say = sys.stdout.write
    files = sorted({str(path.relative_to(ROOT / "checker"))
                    for pattern in given.files for path in (ROOT / "checker").glob(pattern)})  # fmt: skip
    sources = {file: (ROOT / "checker" / file).read_text(encoding="utf-8") for file in files}
    every = [mutant for file in files for mutant in mutants_of(file, sources[file])]
    chosen = Random(given.seed).sample(every, min(given.sample, len(every)))
    say(f"{len(chosen)} of {len(every)} mutants of {len(files)} files\n")
    if given.list:
        say("".join(f"{mutant.place}\n" for mutant in chosen))
        return 0
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Copy(Path(folder))
        patience: dict[str, float] = {}
        for n, mutant in enumerate(chosen):
            kind = kind_of(mutant.file)
            if kind not in patience:
                failed, seconds = copy.is_noticed(mutant.file, 600.0)
                if failed:
                    say(f"the tests of {mutant.file} fail without any mutant\n")
                    return 2
                say(f"     the tests of {kind or 'the others'} take {seconds:.1f} s\n")
                patience[kind] = 5 * seconds + 10
            path = copy.folder / "checker" / mutant.file
            path.write_text(mutant.applied(sources[mutant.file]), encoding="utf-8")
            killed, seconds = copy.is_noticed(mutant.file, patience[kind])
            if not killed and TESTS[kind][0] and mutant.harmless is None:
                # A second look, as long as that of ``make test``.
                killed, more = copy.is_noticed(mutant.file, 6 * patience[kind], 15)
                seconds += more
            path.write_text(sources[mutant.file], encoding="utf-8")
            if not killed:
                survivors.append(mutant)
            say(
                f"{n + 1:4} {'killed  ' if killed else 'SURVIVED'} {seconds:5.1f} s  {mutant.place}\n"
            )
            sys.stdout.flush()
    return judged(chosen, survivors, given.at_least)


def judged(chosen: list[Mutant], survivors: list[Mutant], at_least: int) -> int:
    """Print the score: killed, harmless (by reason), survived."""
    say = sys.stdout.write
    unknown = [mutant for mutant in survivors if mutant.harmless is None]
    killed, counted = len(chosen) - len(survivors), len(chosen) - len(survivors) + len(unknown)
    say(f"\nkilled {killed} of {counted} ({100 * killed / max(1, counted):.0f} %)\n")
    say(f"{len(survivors) - len(unknown)} harmless\n")
    for reason, count in Counter(filter(None, (m.harmless for m in survivors))).most_common():
        say(f"    {count} {reason}\n")
        say("".join(f"        {m.place}\n" for m in survivors if m.harmless == reason))
    say(f"{len(unknown)} survived, to be looked at\n")
    say("".join(f"    {mutant.place}\n" for mutant in unknown))
    return 1 if 100 * killed < at_least * counted else 0


if __name__ == "__main__":
    sys.exit(main())
