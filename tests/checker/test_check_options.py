"""``splitbrain check`` and ``splitbrain verify`` by their options: proofs, checkpoints, tables, models."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from certificates import history
from hard_cases import few_values
from register_simulation import Shape, simulate, with_stale_read

from checker import decide as decide  # the kernels are in memory, whatever else was run
from checker.columns import columns_of
from checker.formats.parquet_layout import write_parquet
from checker.history import History
from harness.cli import main

ROOT = Path(__file__).resolve().parents[2]
Output = pytest.CaptureFixture[str]
VALID = history("0 write@a 1", "0 ok", "1 read@a", "1 ok 1", "0 write@b 2", "0 info")
STALE = history("0 write@a 1", "0 ok", "1 read@b", "1 ok null", "1 read@a", "1 ok null")
TICKETS = """
from checker.models import UNKNOWN, model_from

def step(state, f, value, answer):
    if f == "take":
        return state + 1 if answer in (UNKNOWN, state) else None
    raise ValueError(f"a ticket machine knows take, not {f!r}")

tickets = model_from("tickets", step, initial=1)
number = 5
"""


def saved(path: Path, random: History) -> Path:
    path.write_text("".join(event.to_json() + "\n" for event in random.events), encoding="utf-8")
    return path


@pytest.fixture
def valid(tmp_path: Path) -> Path:
    return saved(tmp_path / "valid.jsonl", VALID)


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    return saved(tmp_path / "stale.jsonl", STALE)


def run(
    capsys: Output, *arguments: object, model: str | None = "cas-register"
) -> tuple[int, str, str]:
    """Run ``splitbrain check``; return the exit code and what it said."""
    words = ["check", *map(str, arguments)]
    code = main(words if model is None else [*words, "--model", model])
    said = capsys.readouterr()
    return code, said.out, said.err


def verified(capsys: Output, *arguments: object) -> tuple[int, str, str]:
    code = main(["verify", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


class TestCertificate:
    """The proof is written, and whoever doubts it is answered."""

    def test_of_a_valid_history(self, capsys: Output, valid: Path, tmp_path: Path) -> None:
        proof = tmp_path / "proof.json"
        code, out, err = run(capsys, valid, "--certificate", proof)
        assert code == 0
        assert "valid" in out
        assert err == (
            f"splitbrain check: {proof}: written; verify it with: splitbrain verify HISTORY {proof}\n"
        )
        code, out, err = verified(capsys, valid, proof)
        assert (code, err) == (0, "")
        assert out.startswith("certificate accepted: valid, 2 keys: an order of")

    def test_of_an_invalid_history(self, capsys: Output, stale: Path, tmp_path: Path) -> None:
        proof = tmp_path / "proof.json"
        assert run(capsys, stale, "--certificate", proof)[0] == 1
        code, out, err = verified(capsys, stale, proof)
        assert (code, err) == (0, "")
        assert out.startswith("certificate accepted: invalid, key a: 2 operations")
        code, out, _ = verified(capsys, stale, proof, "--json")
        assert json.loads(out)["accepted"] is True

    def test_one_that_was_tampered_with(
        self, capsys: Output, valid: Path, stale: Path, tmp_path: Path
    ) -> None:
        proof = tmp_path / "proof.json"
        run(capsys, valid, "--certificate", proof)
        whole = json.loads(proof.read_text())
        tampered: list[Any] = []
        for place, item in enumerate(whole["linearizations"]):
            if len(item["order"]) > 1:
                changed = json.loads(json.dumps(whole))
                changed["linearizations"][place]["order"].reverse()
                tampered.append(changed)
        tampered += [
            {**whole, "linearizations": whole["linearizations"][:1]},
            {**whole, "initial": 7, "linearizations": [{"key": "a", "order": []}]},
            {**whole, "verdict": "invalid"},
            {**whole, "model": "stack"},
            {**whole, "certificate": 2},
            [],
        ]
        for changed in tampered:
            proof.write_text(json.dumps(changed))
            code, out, err = verified(capsys, valid, proof)
            assert (code, err) == (1, "")
            assert out.startswith(f"certificate rejected: {proof}: ")
        run(capsys, stale, "--certificate", proof)
        assert verified(capsys, valid, proof)[0] == 1  # it is of another history

    @pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\xfe", b'{"certificate": '])
    def test_garbage(self, capsys: Output, valid: Path, tmp_path: Path, content: bytes) -> None:
        proof = tmp_path / "proof.json"
        proof.write_bytes(content)
        code, out, err = verified(capsys, valid, proof)
        assert (code, out) == (2, "")
        assert err.startswith(f"splitbrain verify: {proof}: not JSON")

    def test_files_that_are_not_there(self, capsys: Output, valid: Path, tmp_path: Path) -> None:
        missing = tmp_path / "missing.json"
        code, _, err = verified(capsys, valid, missing)
        assert (code, err) == (2, f"splitbrain verify: {missing}: No such file or directory\n")
        run(capsys, valid, "--certificate", tmp_path / "proof.json")
        code, _, err = verified(capsys, missing, tmp_path / "proof.json")
        assert (code, err) == (2, f"splitbrain verify: {missing}: No such file or directory\n")

    def test_what_is_unknown_has_no_proof(self, capsys: Output, tmp_path: Path) -> None:
        empty, proof = tmp_path / "h.jsonl", tmp_path / "proof.json"
        empty.write_text("")
        code, _, err = run(capsys, empty, "--certificate", proof)
        assert code == 3
        assert f"{proof}: not written, there is no proof of unknown" in err
        assert not proof.exists()

    @pytest.mark.parametrize("option", ["--certificate", "--checkpoint"])
    def test_a_place_that_cannot_be_written(
        self, capsys: Output, stale: Path, tmp_path: Path, option: str
    ) -> None:
        """The error names that place, not the history; and the verdict is told all the same."""
        place = tmp_path / "no" / "such" / "folder"
        code, out, err = run(capsys, stale, option, place)
        assert str(place) in err
        assert f"{stale}: No such file" not in err
        assert "stale.jsonl: invalid" in out
        assert code in (1, 2)

    @pytest.mark.parametrize("option", ["--certificate", "--checkpoint"])
    def test_one_file_only(
        self, capsys: Output, valid: Path, stale: Path, tmp_path: Path, option: str
    ) -> None:
        code, out, err = run(capsys, valid, stale, option, tmp_path / "x")
        assert (code, out) == (2, "")
        assert "--certificate and --checkpoint are for one PATH" in err
        assert not (tmp_path / "x").exists()


class TestCheckpoint:
    """Two runs with the same file: the second goes on."""

    def test_two_runs(self, capsys: Output, tmp_path: Path) -> None:
        path, kept = saved(tmp_path / "h.jsonl", few_values()), tmp_path / "kept.npz"
        code, out, err = run(capsys, path, "--checkpoint", kept, "--budget-s", "0.1")
        assert code == 3
        assert "unknown (" in out
        assert err == f"splitbrain check: {kept}: run the same command again to go on from here\n"
        assert kept.exists()
        code, out, err = run(capsys, path, "--checkpoint", kept, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["verdict"] == "valid"

    def test_one_that_is_none(
        self, capsys: Output, valid: Path, stale: Path, tmp_path: Path
    ) -> None:
        kept = tmp_path / "kept.npz"
        kept.write_bytes(b"garbage")
        code, out, err = run(capsys, valid, "--checkpoint", kept)
        assert (code, out) == (2, "")
        assert f"{kept}: not a checkpoint" in err
        kept.unlink()
        assert run(capsys, stale, "--checkpoint", kept)[0] == 1
        code, out, err = run(capsys, valid, "--checkpoint", kept, "--json")
        assert code == 2
        assert f"{kept}: of another history, model or meaning of outcomes" in err
        assert json.loads(out)["verdict"] == "unknown"

    def test_with_an_initial_value(self, capsys: Output, valid: Path, tmp_path: Path) -> None:
        kept = tmp_path / "kept.npz"
        for _ in range(2):
            assert run(capsys, valid, "--checkpoint", kept, "--initial", "7")[0] == 0


class TestTables:
    """CSV with other names of columns, and Parquet of either kind."""

    def csv(self, tmp_path: Path, names: list[str]) -> Path:
        path = tmp_path / "h.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows([
                [0, "write", "a", 1, "", 10, 20], [1, "read", "a", "", 1, 30, 40],
                [1, "read", "b", "", "", 50, 60],
            ])  # fmt: skip
        return path

    def test_columns_by_our_names(self, capsys: Output, tmp_path: Path) -> None:
        ours = ["process", "f", "key", "input", "output", "start", "end"]
        assert run(capsys, self.csv(tmp_path, ours))[0] == 0

    def test_columns_by_their_names(self, capsys: Output, tmp_path: Path) -> None:
        path = self.csv(tmp_path, ["who", "what", "on", "asked", "told", "from", "to"])
        mapping = "process=who,f=what,key=on,input=asked,output=told,start=from,end=to"
        assert run(capsys, path, "--columns", mapping)[0] == 0
        assert run(capsys, path)[0] == 2
        code, _, err = run(capsys, path, "--columns", f"{mapping},colour=red")
        assert code == 2
        assert "colour" in err

    @pytest.mark.parametrize("mapping", ["", "f", "f=", "=f", "f=what,,"])
    def test_a_mapping_that_is_none(self, capsys: Output, valid: Path, mapping: str) -> None:
        code, out, err = run(capsys, valid, "--columns", mapping)
        assert (code, out) == (2, "")
        assert f"--columns {mapping!r}: expected OURS=THEIRS" in err

    def test_a_mapping_is_for_tables(self, capsys: Output, valid: Path) -> None:
        code, _, err = run(capsys, valid, "--columns", "f=what")
        assert code == 2
        assert "a mapping of columns is for csv and parquet, not for jsonl" in err

    @pytest.mark.parametrize("own", [True, False])
    def test_parquet(self, capsys: Output, tmp_path: Path, own: bool) -> None:
        for random, expected in ((VALID, 0), (STALE, 1)):
            path = tmp_path / "h.parquet"
            if own:
                write_parquet(columns_of(random), path)
            else:
                rows = [json.loads(event.to_json()) for event in random.events]
                names = ("process", "type", "f", "key", "value")
                columns = {name: [row.get(name) for row in rows] for name in names}
                pq.write_table(pa.table(columns), path)
            proof = tmp_path / "proof.json"
            assert run(capsys, path, "--certificate", proof)[0] == expected
            assert verified(capsys, path, proof)[0] == 0

    def test_a_table_that_is_damaged(self, capsys: Output, tmp_path: Path) -> None:
        path = tmp_path / "h.parquet"
        path.write_bytes(b"PAR1 and no more")
        code, out, err = run(capsys, path)
        assert (code, out) == (2, "")
        assert f"{path}: expected a Parquet file" in err


class TestModels:
    """A model of one's own, and names that are none."""

    @pytest.fixture
    def tickets(self, tmp_path: Path) -> Path:
        path = tmp_path / "tickets.py"
        path.write_text(TICKETS)
        return path

    def test_of_ones_own(self, capsys: Output, tmp_path: Path, tickets: Path) -> None:
        taken = history("0 take", "1 take", "0 ok 2", "1 ok 1", "2 take", "2 info")
        path, proof = saved(tmp_path / "h.jsonl", taken), tmp_path / "proof.json"
        model = f"{tickets}:tickets"
        assert run(capsys, path, "--certificate", proof, model=model)[0] == 0
        assert verified(capsys, path, proof, "--model", model)[0] == 0
        assert verified(capsys, path, proof)[0] == 1  # nobody else knows that model
        assert run(capsys, path, "--initial", "2", model=model)[0] == 1
        twice = saved(tmp_path / "twice.jsonl", history("0 take", "1 take", "0 ok 1", "1 ok 1"))
        assert run(capsys, twice, "--certificate", proof, model=model)[0] == 1
        assert verified(capsys, twice, proof, "--model", model)[0] == 0

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("tickets", "has no tickets2"),
            ("", "expected path/to/file.py:NAME"),
            ("number", "is 5, expected a model"),
        ],
    )
    def test_a_name_that_is_none(
        self, capsys: Output, valid: Path, tickets: Path, name: str, why: str
    ) -> None:
        model = f"{tickets}:{name}{'2' if name == 'tickets' else ''}"
        code, out, err = run(capsys, valid, model=model)
        assert (code, out) == (2, "")
        assert why in err

    def test_a_file_that_cannot_be_run(self, capsys: Output, valid: Path, tmp_path: Path) -> None:
        broken = tmp_path / "broken.py"
        broken.write_text("x = 1\nraise RuntimeError('no')\n")
        code, _, err = run(capsys, valid, model=f"{broken}:x")
        assert (code, err) == (2, f"splitbrain check: {broken}:2: RuntimeError: no\n")
        code, _, err = run(capsys, valid, model=f"{tmp_path}/missing.py:x")
        assert code == 2
        assert "missing.py: No such file or directory" in err

    def test_an_operation_that_the_model_does_not_know(
        self, capsys: Output, valid: Path, tickets: Path
    ) -> None:
        code, _, err = run(capsys, valid, model=f"{tickets}:tickets")
        assert code == 2
        assert "a ticket machine knows take, not 'write'" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--workers", "two"], "--workers: invalid int value: 'two'"),
        (["--budget-s", "soon"], "budget"),
        (["--memory-mb", "-5"], "memory"),
        (["--initial", "nope"], "--initial 'nope' is not JSON"),
        (["--failed-cas", "maybe"], "invalid choice: 'maybe'"),
        (["--nil-read", "maybe"], "invalid choice: 'maybe'"),
        (["--format", "xml"], "invalid choice: 'xml'"),
        (["--format", "parquet"], "expected a Parquet file"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_mistakes_end_in_one_line(
    capsys: Output, valid: Path, arguments: list[str], why: str
) -> None:
    code, out, err = run(capsys, valid, *arguments)
    assert (code, out) == (2, "")
    assert why in err
    assert len(err.splitlines()) == 1


def test_a_history_without_a_model(capsys: Output, valid: Path) -> None:
    code, out, err = run(capsys, valid, model=None)
    assert (code, out) == (2, "")
    assert "which model? Choose one with --model" in err


class TestWorkers:
    """Threads change nothing but the time."""

    def test_many_keys(self, capsys: Output, tmp_path: Path) -> None:
        random = simulate(4, Shape(operations=4000, keys=200, clients=20, crashes=40))
        stale = with_stale_read(simulate(5, Shape(operations=400, keys=1)), 5)
        assert stale is not None
        for name, some, expected in (("ok", random, 0), ("bad", stale, 1)):
            path = saved(tmp_path / f"{name}.jsonl", some)
            told = []
            for workers in ("1", "2", "7", "0"):
                proof = tmp_path / f"{name}{workers}.json"
                code, out, _ = run(
                    capsys, path, "--workers", workers, "--json", "--certificate", proof
                )
                record = json.loads(out)
                for measured in ("seconds", "peak_mb"):
                    del record[measured]
                told.append((code, record, proof.read_text()))
            assert told[0][0] == expected
            assert told[1:] == told[:1] * 3
            assert verified(capsys, path, tmp_path / f"{name}2.json")[0] == 0


def test_as_a_program(tmp_path: Path) -> None:
    """The same from outside: exit codes, one JSON object a file, a proof that another run accepts."""
    valid, stale = saved(tmp_path / "v.jsonl", VALID), saved(tmp_path / "s.jsonl", STALE)
    proof = tmp_path / "proof.json"

    def splitbrain(*words: object) -> subprocess.CompletedProcess[str]:
        code = "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]))"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip

    done = splitbrain("check", valid, stale, tmp_path / "none", "--model", "register", "--json")
    assert done.returncode == 1
    assert [json.loads(line)["verdict"] for line in done.stdout.splitlines()] == [
        "valid", "invalid", "unknown",
    ]  # fmt: skip
    assert done.stderr == f"splitbrain check: {tmp_path / 'none'}: No such file or directory\n"
    assert splitbrain("check", stale, "--model", "register", "--certificate", proof).returncode == 1
    done = splitbrain("verify", stale, proof)
    assert (done.returncode, done.stderr) == (0, "")
    assert splitbrain("verify", valid, proof).returncode == 1
