"""``splitbrain verify`` as people and scripts see it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from certificates import call, history, ordering, refuting

from checker.history import History
from checker.models import model_from
from checker.verify_command import run_verify

TWO = history("0 write 1", "1 read", "0 ok", "1 ok 1", "2 read", "2 ok 1")


def run(tmp_path: Path, past: History, certificate: Any, **options: Any) -> tuple[int, str, str]:
    log = tmp_path / "h.jsonl"
    log.write_text("".join(event.to_json() + "\n" for event in past.events), encoding="utf-8")
    proof = tmp_path / "c.json"
    text = certificate if isinstance(certificate, str) else json.dumps(certificate)
    proof.write_text(text, encoding="utf-8")
    out, err = io.StringIO(), io.StringIO()
    code = run_verify(log, proof, out=out, err=err, **options)
    return code, out.getvalue(), err.getvalue()


def test_the_command_accepts(tmp_path: Path) -> None:
    keyed = history("0 write@k3 1", "0 ok", "1 read@k3", "1 ok null")
    core = call(0, 0, 1), call(2, 2, 3)
    code, out, err = run(tmp_path, keyed, refuting(*core, key="k3"))
    assert (code, err) == (0, "")
    assert out == (
        "certificate accepted: invalid, key k3: 2 operations that no order explains (3 "
        "configurations exhausted; cas-register that starts as null, failed cas absent, nil read "
        "absent)\n"
    )
    code, out, _ = run(tmp_path, TWO, ordering((None, [0, 1, 4])))
    assert code == 0
    assert out.startswith("certificate accepted: valid, one object: an order of 3 operations (cas-")
    code, out, _ = run(tmp_path, keyed, refuting(*core, key="k3"), as_json=True)
    assert code == 0
    assert json.loads(out) | {"history": "", "certificate": ""} == {
        "history": "", "certificate": "", "accepted": True, "reason": None, "verdict": "invalid",
        "keys": ["k3"], "operations": 2, "configurations": 3, "model": "cas-register",
        "initial": "null", "failed_cas": "absent", "nil_read": "absent",
    }  # fmt: skip


def test_the_command_rejects(tmp_path: Path) -> None:
    code, out, err = run(tmp_path, TWO, ordering((None, [0, 1])))
    assert (code, err) == (1, "")
    assert out.startswith("certificate rejected: ")
    assert "c.json: linearizations[0]: 4 completed but is missing from the order" in out
    code, out, _ = run(tmp_path, TWO, ordering((None, [0, 1])), as_json=True)
    assert code == 1
    assert json.loads(out)["accepted"] is False
    assert "4 completed" in json.loads(out)["reason"]


def test_the_command_says_what_it_cannot_read(tmp_path: Path) -> None:
    for text in ("", "{", "[" * 100_000, '{"a": 1' + "0" * 5000 + "}"):
        code, out, err = run(tmp_path, TWO, text)
        assert (code, out) == (2, "")
        assert "c.json: not JSON" in err
        assert err.count("\n") == 1
    code, out, err = run(tmp_path, TWO, "{", as_json=True)
    assert (code, json.loads(out)["accepted"]) == (2, False)
    out_io, err_io = io.StringIO(), io.StringIO()
    missing = tmp_path / "none.jsonl"
    assert run_verify(missing, tmp_path / "c.json", out=out_io, err=err_io) == 2
    assert "none.jsonl: No such file" in err_io.getvalue()
    code, _, err = run(tmp_path, history("0 write 1", "0 write 2"), ordering((None, [])))
    assert code == 2
    assert "h.jsonl: event 1: process 0 invokes again" in err


def test_the_command_takes_a_model_of_ones_own(tmp_path: Path) -> None:
    past, certificate = history("0 go", "0 ok"), refuting(call(0, 0, 1), model="once")
    own = model_from("once", lambda state, f, value, answer: None, 0)
    assert run(tmp_path, past, certificate)[0] == 1
    assert run(tmp_path, past, certificate, model=own)[0] == 0
    wrong = model_from("once", lambda state, f, value, answer: state[f], 0)
    code, out, err = run(tmp_path, past, certificate, model=wrong)
    assert (code, out) == (2, "")
    assert "raised TypeError" in err


def test_the_command_speaks_of_a_torn_tail(tmp_path: Path) -> None:
    log = tmp_path / "h.jsonl"
    lines = "".join(event.to_json() + "\n" for event in TWO.events)
    log.write_text(lines + '{"index":6,"pro', encoding="utf-8")
    proof = tmp_path / "c.json"
    proof.write_text(json.dumps(ordering((None, [0, 1, 4]))), encoding="utf-8")
    err = io.StringIO()
    assert run_verify(log, proof, out=io.StringIO(), err=err) == 0
    assert "dropped a torn last line" in err.getvalue()
