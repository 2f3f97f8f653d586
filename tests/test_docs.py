"""The docs say what the code says: tables, examples, commands, links.

Rules of this file: nothing here starts a run; what is typed in the docs is parsed, what is computed
in them is computed.
"""

import argparse
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import _parser
from harness.errors import UsageError
from harness.nemesis import plan, words
from harness.outcome import EXIT_CODES, Outcome
from harness.outcome_words import OUTCOMES
from harness.spec import FAULTS, Spec, from_values

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "node" / "PROTOCOL.md"])


def test_the_tables_are_those_of_the_code() -> None:
    code = (
        "from tools.write_docs import out_of_date; old = out_of_date(); "
        "assert not old, f'run: python tools/write_docs.py ({old})'"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_fault_has_its_sentence() -> None:
    """A new kind or variant needs one in harness/nemesis/words.py, then tools/write_docs.py."""
    told = {kind: set(variants) for kind, variants in words.VARIANTS.items()}
    assert told == {kind: set(variants) for kind, variants in plan.VARIANTS.items()}
    assert set(words.KINDS) == set(plan.VARIANTS) == set(FAULTS)
    sentences = [*words.KINDS.values()]
    sentences += [one for variants in words.VARIANTS.values() for one in variants.values()]
    assert not [one for one in sentences if not one or one.endswith(".") or one[0].isupper()]


def test_every_outcome_is_explained_with_its_exit_code() -> None:
    assert set(OUTCOMES) == {*Outcome, "(usage)", "not-run"}
    assert {one: OUTCOMES[one].exit_code for one in Outcome} == dict(EXIT_CODES)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, place = target.partition("#")
        if re.match(r"[a-z]+:", target) or "{" in target:
            continue
        found = (path.parent / file) if file else path
        assert found.exists(), target
        if place and found.suffix == ".md":
            assert place in anchors(found), target


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def blocks(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: what language, and what is in it."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(path: Path) -> list[str]:
    """Every `splitbrain ...` that a page asks its reader to type."""
    lines = [line for _, block in blocks(path) for line in block.splitlines()]
    typed = [re.match(r"(?:\.venv/bin/)?(splitbrain [a-z].*)", line) for line in lines]
    return [found[1].partition(" #")[0].strip() for found in typed if found]


TYPED = [
    (page, line)
    for page in ("README.md", "docs/tutorial.md", "docs/own-system.md", "docs/ci.md",
                 "docs/reports.md", "docs/nemesis.md", "docs/workloads.md", "docs/checker.md")
    for line in commands(ROOT / page)
]  # fmt: skip


def test_there_are_commands_to_look_at() -> None:
    counted = {page: [one for one, _ in TYPED].count(page) for page, _ in TYPED}
    assert counted["docs/tutorial.md"] >= 6
    assert counted["README.md"] >= 12
    assert counted["docs/own-system.md"] >= 3


@pytest.mark.parametrize(("page", "line"), TYPED)
def test_every_command_in_the_docs_can_be_typed(page: str, line: str) -> None:
    options = parsed(line, page)
    for name in ("workload", "system", "file"):
        value = getattr(options, name, None)
        if value is not None and "/" in str(value):
            assert (ROOT / value).is_file(), value


def parsed(line: str, page: str) -> argparse.Namespace:
    """Parse a command as the program does, and its spec as well."""
    words_ = shlex.split(line)[1:]
    try:
        options = _parser().parse_args(words_)
        if words_[0] == "test":
            given = {name: getattr(options, name) for name in Spec.__dataclass_fields__}
            from_values({name: value for name, value in given.items() if value is not None})
    except UsageError as error:
        raise AssertionError(f"{page}: {line}: {error}") from None
    return options


def test_a_command_that_cannot_be_typed_is_found() -> None:
    with pytest.raises(AssertionError, match="--nodse"):
        parsed("splitbrain test --nodse 3", "a page")
    with pytest.raises(AssertionError, match="earthquake"):
        parsed("splitbrain test --nemesis earthquake", "a page")


def test_the_mutants_of_the_docs_are_known() -> None:
    from harness.systems.raft import mutants

    known = mutants()
    named = {found for _, line in TYPED for found in re.findall(r"--mutant ([a-z-]+)", line)}
    assert named
    assert named <= set(known)


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Play docs/dataframes.md on the made-up run of a pass; return what each block printed."""
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "reports"))
    import run_folders

    from reports import parquet

    run = run_folders.passing(tmp_path / "store" / "register" / "20261123T210000-7")
    (run.parent / "latest").symlink_to(run.name)
    parquet.write_tables(run)
    monkeypatch.chdir(tmp_path)

    def play() -> list[str]:
        names: dict[str, object] = {}
        printed = []
        for language, code in blocks(ROOT / "docs" / "dataframes.md"):
            if language == "python":
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    exec(compile(code, "docs/dataframes.md", "exec"), names)
                printed.append(out.getvalue())
        return printed

    return play


def test_the_notebook_prints_what_it_says(notebook: Callable[[], list[str]]) -> None:
    """With REWRITE_NOTEBOOK=1 the page is written anew: read what changed."""
    path = ROOT / "docs" / "dataframes.md"
    played = notebook()
    if os.environ.get("REWRITE_NOTEBOOK"):
        printed = iter(played)
        text = re.sub(
            r"(?<=^```\n\n)```\n.*?^```$",
            lambda _: f"```\n{next(printed)}```",
            path.read_text(encoding="utf-8"),
            flags=re.DOTALL | re.MULTILINE,
        )
        path.write_text(text, encoding="utf-8")
    assert played == [block for language, block in blocks(path) if not language]
