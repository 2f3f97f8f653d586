"""Outcomes: who beats whom, and what a pass has to show."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import pytest

from checker.verdict import Verdict, merge
from harness.outcome import (
    EXIT_CODES,
    SEVERITY,
    CheckSummary,
    Evidence,
    Outcome,
    count_changes,
    decide,
    worst,
)


def check(verdict: Verdict, reason: str | None = None) -> CheckSummary:
    return CheckSummary(name="linearizable", verdict=verdict, reason=reason)


GOOD = Evidence(
    checks=[check(Verdict.VALID)],
    acknowledged=100,
    acknowledged_min=10,
    fault_kinds=("kill",),
    fault_evidence={("kill", "kill-leader"): ["skipped", "installed"]},
    never_acknowledged=(),
    leader_faults=1,
    leader_changes=2,
)


def test_a_run_that_showed_everything_passes() -> None:
    outcome, reasons = decide(GOOD)
    assert outcome is Outcome.PASS
    assert reasons == ["linearizable: valid"]


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (replace(GOOD, acknowledged=9), "only 9 operations were acknowledged"),
        (replace(GOOD, leader_changes=0), "no change of leader"),
        (replace(GOOD, silences=["nothing was acknowledged during the fault x"]), "the fault x"),
        (replace(GOOD, unserved=["no last look was acknowledged of k3"]), "no last look"),
        (replace(GOOD, never_acknowledged=["cas"]), "no cas was ever acknowledged"),
        (replace(GOOD, fault_kinds=("kill", "pause")), "no pause happened"),
        (replace(GOOD, fault_kinds=("kill",), fault_evidence={}), "no kill happened"),
        (
            replace(GOOD, fault_kinds=("clock",), fault_evidence={("clock", "bump"): ["skipped"]}),
            "clock:bump did not happen",
        ),
        (
            replace(GOOD, fault_kinds=("clock",), fault_evidence={("clock", "bump"): []}),
            "clock:bump did not happen",
        ),
        (
            replace(
                GOOD, fault_kinds=("clock",), fault_evidence={("clock", "bump"): ["indeterminate"]}
            ),
            "no clock was seen to work, only indeterminate",
        ),
    ],
)
def test_a_pass_has_to_be_earned(evidence: Evidence, reason: str) -> None:
    outcome, reasons = decide(evidence)
    assert outcome is Outcome.VACUOUS
    assert reason in reasons[0]


def test_doubt_about_one_fault_is_made_up_for_by_its_kind_but_absence_is_not() -> None:
    seen = {("clock", "bump"): ["indeterminate"], ("clock", "rate"): ["installed"]}
    assert decide(replace(GOOD, fault_kinds=("clock",), fault_evidence=seen))[0] is Outcome.PASS
    seen = {("clock", "bump"): ["skipped"], ("clock", "rate"): ["installed"]}
    assert decide(replace(GOOD, fault_kinds=("clock",), fault_evidence=seen))[0] is Outcome.VACUOUS


def test_doubt_and_checking_nothing_are_no_pass() -> None:
    unknown = replace(GOOD, checks=[check(Verdict.VALID), check(Verdict.UNKNOWN, "time")])
    assert decide(unknown) == (Outcome.INCONCLUSIVE, ["linearizable: unknown (time)"])
    assert decide(replace(GOOD, checks=[])) == (Outcome.INCONCLUSIVE, ["nothing was checked"])


def test_a_violation_beats_everything() -> None:
    everything_bad: Mapping[tuple[str, str], Sequence[str]] = {("clock", "bump"): []}
    evidence = replace(
        GOOD,
        checks=[check(Verdict.UNKNOWN), check(Verdict.INVALID, "k3")],
        interrupted=True,
        failures=["n1: gone"],
        fault_evidence=everything_bad,
        acknowledged=0,
    )
    assert decide(evidence) == (Outcome.VIOLATION, ["linearizable: invalid (k3)"])


def test_interruption_beats_failure_beats_doubt() -> None:
    bad = replace(GOOD, checks=[check(Verdict.UNKNOWN)], failures=["n1: gone"])
    assert decide(replace(bad, interrupted=True))[0] is Outcome.INTERRUPTED
    assert decide(bad) == (Outcome.HARNESS_FAILURE, ["n1: gone"])


def test_exit_codes_are_an_api() -> None:
    assert {outcome.value: code for outcome, code in EXIT_CODES.items()} == {
        "pass": 0,
        "violation": 1,
        "inconclusive": 3,
        "vacuous": 3,
        "harness-failure": 4,
        "interrupted": 130,
    }
    assert SEVERITY == (1, 130, 4, 2, 3, 0)
    assert worst([]) == 0
    assert worst([0, 3, 2]) == 2
    assert worst([0, -9]) == 4
    for first, second in product(SEVERITY, repeat=2):
        expected = min(first, second, key=SEVERITY.index)
        assert worst([first, second]) == expected


def test_a_leader_that_is_elected_again_is_no_change() -> None:
    assert count_changes([]) == 0
    assert count_changes(["n1"]) == 0
    assert count_changes(["n1", "n2", "n2", "n1"]) == 2


def test_merging_verdicts_is_a_lattice() -> None:
    assert merge([]) is Verdict.UNKNOWN
    for first, second in product(Verdict, repeat=2):
        both = merge([first, second])
        assert both is merge([second, first])
        if Verdict.INVALID in (first, second):
            assert both is Verdict.INVALID
        elif Verdict.UNKNOWN in (first, second):
            assert both is Verdict.UNKNOWN
        else:
            assert both is Verdict.VALID
