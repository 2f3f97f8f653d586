"""What nodes say of themselves: contradictions are found, whatever lies between the samples."""

from dataclasses import replace
from pathlib import Path

import pytest

from checker.verdict import Verdict
from harness.agreement import Agreement
from harness.experiment import Convergence, Findings, Recovery
from harness.interrupts import Interrupts
from harness.judge import judge
from harness.progress import Progress
from harness.spec import Spec
from harness.systems.system import Status
from workloads.catalogue import workload_named

FOLLOWER = Status(
    role="follower",
    term=3,
    leader="n1",
    commit_index=10,
    applied_index=10,
    clock_offset_ns=0,
    clock_error_ns=0,
    raw={},
    state_hash="aaaa",
)
LEADER = replace(FOLLOWER, role="leader")
RECOVERED = Recovery(recovered=True, seconds=0.1, deadline_s=20, detail="every node served")


def test_nodes_that_agree_are_compared_and_nothing_is_said() -> None:
    agreement = Agreement()
    for node in ("n1", "n2", "n3"):
        agreement.note(node, LEADER if node == "n1" else FOLLOWER)
    agreement.note("n2", replace(FOLLOWER, applied_index=11, state_hash="bbbb"))
    agreement.note("n1", replace(LEADER, term=4))
    assert agreement.compared == 2
    assert agreement.contradictions == []


def test_two_leaders_of_one_term_are_told_once() -> None:
    agreement = Agreement()
    agreement.note("n1", LEADER)
    agreement.note("n2", replace(LEADER, term=4))
    for _ in range(3):
        agreement.note("n3", LEADER)
    assert agreement.contradictions == ["n1 and n3 both led in term 3"]


def test_two_states_at_one_index_are_told_however_late_they_are_seen() -> None:
    agreement = Agreement()
    agreement.note("n1", FOLLOWER)
    for index in range(11, 500):
        agreement.note("n2", replace(FOLLOWER, applied_index=index, state_hash=str(index)))
    agreement.note("n3", replace(FOLLOWER, state_hash="cccc"))
    assert agreement.contradictions == [
        "n1 and n3 have different states at index 10: aaaa and cccc"
    ]


def test_a_system_that_shows_no_digest_is_not_compared() -> None:
    agreement = Agreement()
    agreement.note("n1", replace(FOLLOWER, state_hash=None))
    agreement.note("n2", FOLLOWER)
    # Nor is who leads: its role and its term may be of different moments, as etcd's are.
    agreement.note("n1", replace(LEADER, state_hash=None))
    agreement.note("n3", replace(LEADER, state_hash=None))
    assert (agreement.compared, agreement.contradictions) == (0, [])


def checks(tmp_path: Path, findings: Findings) -> dict[str, tuple[Verdict, str | None]]:
    progress, interrupts = Progress(shown=False), Interrupts(findings.interrupt)
    _, summaries = judge(
        Spec(), workload_named("register"), tmp_path, findings, progress, interrupts
    )
    return {one.name: (one.verdict, one.reason) for one in summaries}


def test_a_contradiction_is_a_violation_and_agreement_is_a_check(tmp_path: Path) -> None:
    agreement = Agreement()
    agreement.note("n1", LEADER)
    agreement.note("n2", FOLLOWER)
    assert checks(tmp_path, Findings(agreement=agreement)) == {"agreement": (Verdict.VALID, None)}
    agreement.note("n2", LEADER)
    said = checks(tmp_path, Findings(agreement=agreement))
    assert said == {"agreement": (Verdict.INVALID, "n1 and n2 both led in term 3")}
    assert checks(tmp_path, Findings(agreement=Agreement())) == {}


@pytest.mark.parametrize(
    ("converged", "verdict"), [(True, Verdict.VALID), (False, Verdict.INVALID)]
)
def test_nodes_that_do_not_come_to_one_state_have_not_recovered(
    tmp_path: Path, *, converged: bool, verdict: Verdict
) -> None:
    findings = Findings(
        recovery=RECOVERED,
        convergence=Convergence(
            converged=converged,
            seconds=20.1,
            deadline_s=20,
            detail="n1 is at 3 (aa), n2 is at 4 (bb)",
        ),
    )
    found, reason = checks(tmp_path, findings)["liveness"]
    assert found is verdict
    if not converged:
        assert reason is not None
        assert "n1 is at 3 (aa), n2 is at 4 (bb)" in reason
        findings.failures.append("a host was lost")
        assert checks(tmp_path, findings)["liveness"][0] is Verdict.UNKNOWN
