"""The repository's own rules, as tests: what is pure stays pure, files stay readable."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("checker", "node", "workloads", "reports", "harness")

# Files that decide and do nothing else: no clock, socket, disk, thread, global randomness.
PURE = (
    "checker/budget.py",
    "checker/calls.py",
    "checker/certificate.py",
    "checker/columns.py",
    "checker/containers/*.py",
    "checker/core.py",
    "checker/core_search.py",
    "checker/cycle.py",
    "checker/decide.py",
    "checker/exhaust.py",
    "checker/explain.py",
    "checker/first_look.py",
    "checker/flat.py",
    "checker/formats/draft.py",
    "checker/formats/edn.py",
    "checker/formats/interning.py",
    "checker/hard_*.py",
    "checker/kernels/*.py",
    "checker/linearizable.py",
    "checker/meaning.py",
    "checker/models/*.py",
    "checker/page.py",
    "checker/parts.py",
    "checker/portfolio.py",
    "checker/problem.py",
    "checker/prove.py",
    "checker/race.py",
    "checker/registers.py",
    "checker/reigns.py",
    "checker/replay.py",
    "checker/search.py",
    "checker/sequential.py",
    "checker/shrink.py",
    "checker/state_graph.py",
    "checker/strings.py",
    "checker/transactions/[!cr]*.py",
    "checker/transactions/check.py",
    "checker/transactions/cycles.py",
    "checker/transactions/rw_register.py",
    "checker/values.py",
    "checker/verdict.py",
    "checker/verify.py",
    "node/admin.py",
    "node/administration.py",
    "node/answers.py",
    "node/authentication.py",
    "node/command.py",
    "node/core/*.py",
    "node/deadlines.py",
    "node/execution.py",
    "node/json_text.py",
    "node/keyspace.py",
    "node/metrics.py",
    "node/operations.py",
    "node/peer_filter.py",
    "node/replica.py",
    "node/requests.py",
    "node/sessions.py",
    "node/snapshotting.py",
    "node/state_image.py",
    "node/state_machine.py",
    "node/storage/frames.py",
    "node/storage/replay.py",
    "node/storage/segments.py",
    "node/values.py",
    "node/waiters.py",
    "workloads/*.py",
    "workloads/checks/*.py",
    "workloads/generators/*.py",
    "reports/columns.py",
    "reports/lines.py",
    "reports/listing.py",
    "reports/trends.py",
    "harness/acknowledged.py",
    "harness/hosts/cpio.py",
    "harness/hosts/docker_words.py",
    "harness/log_scan.py",
    "harness/outcome.py",
    "harness/outcome_words.py",
    "harness/redact.py",
    "harness/served_last.py",
    "harness/sweep_plan.py",
    "harness/sweep_text.py",
    "harness/systems/administrated.py",
    "harness/systems/fault_model.py",
    "harness/systems/etcd_words.py",
    "harness/systems/peer_filter.py",
    "harness/systems/raft_admin.py",
    "harness/systems/raft_errors.py",
    "harness/systems/raft_words.py",
    "harness/nemesis/plan.py",
    "harness/nemesis/schedule.py",
    "harness/nemesis/beyond.py",
    "harness/nemesis/grudges.py",
    "harness/nemesis/quorum.py",
    "harness/nemesis/swarm.py",
    "harness/nemesis/words.py",
    "harness/nemesis/traffic.py",
    "harness/remote/agent/effect.py",
    "harness/remote/traffic.py",
    "harness/sim/[a-z]*.py",
)
EFFECTS = {
    "time", "os", "socket", "asyncio", "threading", "logging", "subprocess", "pathlib", "requests",
    "paramiko", "secrets", "tempfile", "signal", "queue", "concurrent",
}  # fmt: skip
# `random.Random(seed)` is a value; the module's own functions are global state.
RANDOM_ALLOWED = {"Random"}

LINES_MAX = 500
# Larger ones, and why. To be shortened, never lengthened.
LONG: dict[str, str] = {}


def python_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def pure_files() -> list[Path]:
    return sorted({path for pattern in PURE for path in ROOT.glob(pattern)})


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Import):
            found |= {alias.name.split(".")[0] for alias in part.names}
        elif isinstance(part, ast.ImportFrom) and part.module and part.level == 0:
            found.add(part.module.split(".")[0])
    return found


@pytest.mark.parametrize("pattern", PURE)
def test_every_pattern_of_pure_files_names_some(pattern: str) -> None:
    assert list(ROOT.glob(pattern)), f"{pattern} matches nothing: the rule it held is gone"


@pytest.mark.parametrize("path", pure_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_files_have_no_effects(path: Path) -> None:
    assert imports(path) & EFFECTS == set()
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name):
            assert part.func.id not in {"open", "hash", "print", "input", "id"}, part.lineno
        if isinstance(part, ast.ImportFrom) and part.module == "random":
            assert {alias.name for alias in part.names} <= RANDOM_ALLOWED
        if isinstance(part, ast.Import):
            assert "random" not in {alias.name for alias in part.names}


def test_files_can_be_read_in_one_sitting() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert set(long) == set(LONG), f"longer than {LINES_MAX} lines, or no longer so: {long}"


def test_every_module_opens_with_what_it_is() -> None:
    bare = [
        str(path.relative_to(ROOT))
        for path in python_files()
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        and path.name not in ("__init__.py", "conftest.py")
    ]
    assert bare == []


def test_there_is_no_kitchen_sink() -> None:
    banned = {"util.py", "utils.py", "helpers.py", "common.py", "misc.py"}
    assert [path.name for path in python_files() if path.name in banned] == []


def test_the_tree_speaks_of_the_project_alone() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    leftovers = re.compile(r"\b(FIXME|XXX)\b|" + "/work" + "/")
    offenders = []
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".sh", ".js", ".css") and path.exists():
            text = path.read_text(encoding="utf-8")
            if leftovers.search(text) and path != Path(__file__).resolve():
                offenders.append(name)
    assert offenders == []


def test_help_answers_at_once() -> None:
    """Nothing heavy is imported before it is needed: measured in modules, not in time."""
    code = "import sys, harness.cli; print(','.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    heavy = {"pandas", "numpy", "networkx", "paramiko", "requests", "rich", "jinja2", "pyarrow"}
    assert heavy & set(done.stdout.strip().split(",")) == set()


def test_the_changelog_and_the_version_agree() -> None:
    import splitbrain

    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{splitbrain.__version__}"' in project
    assert splitbrain.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
