"""The examples for CI: the sweep can be planned, and every command in them is one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import _parser
from harness.spec import read_toml
from harness.sweep_plan import plan_of

ROOT = Path(__file__).resolve().parents[3]
NIGHTLY = ROOT / "docs" / "examples" / "nightly.toml"
FILES = {
    "docs/ci.md": 4,
    "docs/examples/nightly.toml": 1,
    "docs/examples/github-workflow.yml": 2,
    "docs/examples/gitlab-ci.yml": 2,
    "docs/examples/splitbrain-nightly.service": 1,
}
# A command stands at the end of its line, and names what it is called with.
COMMAND = re.compile(r"^(?!#? ?Description).*?\bsplitbrain (sweep \S.*|doctor)$", re.MULTILINE)


def test_the_example_of_a_sweep_is_as_its_comment_says() -> None:
    plan = plan_of(read_toml(NIGHTLY), file=str(NIGHTLY), store=None, seed=1)
    combinations = {(run.spec.workload, run.spec.nemesis) for run in plan.runs}
    assert (len(combinations), len(plan.runs), plan.keep) == (15, 45, "failures")
    assert len({(run.spec.workload, run.spec.nemesis) for run in plan.runs[:15]}) == 15


@pytest.mark.parametrize(("name", "count"), FILES.items())
def test_every_command_in_the_examples_can_be_typed(name: str, count: int) -> None:
    commands = COMMAND.findall((ROOT / name).read_text(encoding="utf-8"))
    assert len(commands) == count, commands
    for command in commands:
        options = _parser().parse_args(command.split())
        file = getattr(options, "file", NIGHTLY)
        assert (ROOT / file).resolve() == NIGHTLY, command


@pytest.mark.parametrize("name", ["github-workflow.yml", "gitlab-ci.yml"])
def test_the_jobs_can_be_run_in_a_container_of_this_machine(name: str) -> None:
    """What tools/ci_in_docker.py makes of them; it is run by hand, it takes ten minutes."""
    code = (
        "import sys; from tools.ci_in_docker import job; "
        "sys.stdout.write(job(sys.stdin.read(), budget_s=300))"
    )
    example = (ROOT / "docs" / "examples" / name).read_text(encoding="utf-8")
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, input=example, cwd=ROOT, capture_output=True, text=True, check=True
    )
    said = re.findall(r"::step:: %s.n' (.+)$", done.stdout, re.MULTILINE)
    ran = [" ".join(shlex.split(step)) for step in said]
    commands = [
        "apt-get update && apt-get install -y git make python3 python3-venv",
        "make setup",
        ".venv/bin/splitbrain doctor",
        ".venv/bin/splitbrain sweep docs/examples/nightly.toml --store nightly --budget-s 300",
        "cp -r nightly /output/",
    ]
    assert [step for step in ran if "/origin" not in step] == commands
    assert len(ran) == len(commands) + 1
    subprocess.run(["sh", "-n"], input=done.stdout, text=True, check=True)
