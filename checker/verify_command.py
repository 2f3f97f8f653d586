"""The body of ``splitbrain verify``: a history and a certificate in, accepted or rejected out.

Rules of this file:
- An edge of the package: files and the two streams are used here; the proof is `checker.verify`.
- With `as_json` exactly one line of JSON goes to `out`, whatever happens; what cannot be read is
  said on `err` in either case. An acceptance says what was taken for granted: the model, how it
  starts, and what outcomes mean, for these are the certificate's own words.
- Exit codes: 0 accepted, 1 rejected, 2 input that cannot be read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from checker.formats import load
from checker.history import History, HistoryError
from checker.models import Model, ModelError
from checker.verdict import Verdict
from checker.verify import CertificateError, Verified, verify

ACCEPTED, REJECTED, BAD_INPUT = 0, 1, 2


def run_verify(
    history_path: Path | str,
    certificate_path: Path | str,
    *,
    model: Model | None = None,
    format: str = "auto",  # noqa: A002
    as_json: bool = False,
    out: TextIO | None = None,
    err: TextIO | None = None,
) -> int:
    """Verify a certificate and say so; return the exit code.

    `model` is one of the caller's own, which has to have the name that the certificate gives; by
    default it is the certificate's. `format` is the history's.
    """
    out, err = out or sys.stdout, err or sys.stderr
    record: dict[str, Any] = {"history": str(history_path), "certificate": str(certificate_path)}
    try:
        history = _history(history_path, format, err)
        verified = verify(history, _certificate(Path(certificate_path)), model)
    except CertificateError as error:
        code, line = REJECTED, f"certificate rejected: {certificate_path}: {error}"
        record |= {"accepted": False, "reason": str(error)}
    except (HistoryError, ModelError, OSError, _Unreadable) as error:
        code, line = BAD_INPUT, None
        record |= {"accepted": False, "reason": _what(error)}
        print(f"splitbrain verify: {_printable(_what(error))}", file=err)
    else:
        code, line = ACCEPTED, as_text(verified)
        record |= {"accepted": True, "reason": None, **_proved(verified)}
    if as_json:
        print(json.dumps(record), file=out, flush=True)
    elif line is not None:
        print(_printable(line), file=out, flush=True)
    return code


def as_text(verified: Verified) -> str:
    """Return one line for people: what was proved, and what was taken for granted."""
    granted = (
        f"{verified.model.name} that starts as "
        f"{verified.model.describe_state(verified.model.initial):.60}, "
        f"failed cas {verified.meaning.failed_cas}, nil read {verified.meaning.nil_read}"
    )
    if verified.verdict is Verdict.VALID:
        keys = f"{len(verified.keys)} keys" if len(verified.keys) > 1 else "one object"
        proved = f"valid, {keys}: an order of {verified.operations} operations"
        return f"certificate accepted: {proved} ({granted})"
    where = "" if verified.keys[0] is None else f", key {verified.keys[0]}"
    proved = f"invalid{where}: {verified.operations} operations that no order explains"
    looked = f"{verified.configurations} configurations exhausted"
    return f"certificate accepted: {proved} ({looked}; {granted})"


def _proved(verified: Verified) -> dict[str, Any]:
    return {
        "verdict": verified.verdict.value,
        "keys": list(verified.keys),
        "operations": verified.operations,
        "configurations": verified.configurations,
        "model": verified.model.name,
        "initial": verified.model.describe_state(verified.model.initial),
        "failed_cas": verified.meaning.failed_cas.value,
        "nil_read": verified.meaning.nil_read.value,
    }


class _Unreadable(ValueError):
    """A file that is no JSON."""


def _history(path: Path | str, format: str, err: TextIO) -> History:  # noqa: A002
    history = load(path, format)
    if history.torn_tail is not None:
        note = f"{path}: dropped a torn last line: {history.torn_tail[:60]!r}"
        print(f"splitbrain verify: {_printable(note)}", file=err)
    return history


def _certificate(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _Unreadable(
            f"{path}: not JSON ({error}); expected a certificate as splitbrain check writes it"
        ) from None


def _what(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror or error}"
    return str(error)


def _printable(text: str) -> str:
    """Replace what no terminal can show, such as half of a surrogate pair from a JSON escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
