"""What each outcome means, and what to do about it.

Rules of this file:
- Every `Outcome` is here, and the two ends that are none: bad usage, and a sweep's run that was
  not begun. A test holds them together; docs/reference.md is written from here.
- Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from harness.outcome import EXIT_CODES, Outcome


class Told(NamedTuple):
    """One end that a command may come to."""

    exit_code: int
    means: str
    do: str


OUTCOMES: Final[Mapping[str, Told]] = {
    Outcome.PASS: Told(
        EXIT_CODES[Outcome.PASS],
        "every check is valid, enough operations were acknowledged, every kind of fault was seen to "
        "work, and leaders changed where they were struck",
        "run more seeds; [what a pass means](what-a-pass-means.md), and what it does not",
    ),
    Outcome.VIOLATION: Told(
        EXIT_CODES[Outcome.VIOLATION],
        "at least one check is invalid, with evidence; beats every other outcome",
        "open report.html; verify the certificate (`splitbrain verify RUN RUN/certificate.json`); "
        "repeat the run by the line it printed. With a client of your own suspect its table of "
        "errors first: a `fail` whose value somebody read",
    ),
    "(usage)": Told(
        2,
        "an option, a file or a history makes no sense; nothing was run",
        "the one line on standard error says what, where, and what it may be",
    ),
    Outcome.INCONCLUSIVE: Told(
        EXIT_CODES[Outcome.INCONCLUSIVE],
        "the checker's budget was spent before it could decide, or there was nothing to check; or "
        "the nodes did not recover in time, but the harness or its machine stood still meanwhile; "
        "or something is wrong, but after a fault that the system never promised to survive",
        "check again from the folder, with more: `splitbrain check RUN --budget-s 600 "
        "--memory-mb 8192`; or test with more keys, or a lower rate. After a stall run it again on "
        "a machine with less to do, or with a longer --recovery-timeout. Else test without the "
        "fault that the first reason names",
    ),
    Outcome.VACUOUS: Told(
        EXIT_CODES[Outcome.VACUOUS],
        "nothing was found, but the run did not do what it was meant to do: too little was "
        "acknowledged, or nothing around a fault although a majority of the nodes was untouched, or "
        "a fault was not seen to work",
        "the reasons name what was missing. Too few operations or faults: a longer --time-limit, a "
        "shorter --nemesis-interval. A fault that did not happen: what `splitbrain doctor` says the "
        "hosts lack. Silence around a fault: see in report.html, at the time that the reason names, "
        "what clients were told; where it was only slow, a longer --operation-timeout or "
        "--nemesis-interval",
    ),
    Outcome.HARNESS_FAILURE: Told(
        EXIT_CODES[Outcome.HARNESS_FAILURE],
        "SSH, deployment, a host, a full disk or we ourselves failed; the system was not judged",
        "the reasons name the host and the place; harness.log and hosts/ have the rest",
    ),
    Outcome.INTERRUPTED: Told(
        EXIT_CODES[Outcome.INTERRUPTED],
        "SIGINT or SIGTERM; hosts were healed, and what was recorded is kept",
        "the history can be checked: `splitbrain check RUN`",
    ),
    "not-run": Told(
        3,
        "a sweep had no time left for this run, so the sweep is no pass",
        "go on with `splitbrain sweep FILE --resume`, or give it a larger budget",
    ),
}
