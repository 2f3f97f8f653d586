"""The doctor: finds what is missing, says how to get it, and is quick about it."""

import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from harness import doctor
from harness.doctor import Finding


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_names_are_unique_and_everything_missing_has_a_remedy() -> None:
    findings = doctor.examine()
    assert len(by_name(findings)) == len(findings)
    assert all(finding.ok or finding.remedy for finding in findings)


def test_a_machine_without_the_tools_is_told_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_command(command: list[str], **_: Any) -> None:
        raise FileNotFoundError(command[0])

    monkeypatch.setattr(subprocess, "run", no_command)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    findings = doctor.examine()
    found = by_name(findings)
    assert not doctor.ok(findings)
    assert found["nft"].remedy == "sudo apt-get install -y nftables"
    assert found["sshd"].remedy.startswith("make setup")
    assert found["root"].remedy == "run as root: sudo splitbrain ..."
    assert found["python"].ok
    text = doctor.render(findings)
    assert "MISSING  nft " in text
    assert "-> sudo apt-get install -y iproute2" in text
    assert text.splitlines()[-1].startswith("missing: root, ip, sshd")


def test_what_is_optional_does_not_stop_anybody() -> None:
    good = Finding(name="nft", ok=True, detail="works")
    optional = Finding(name="netem", ok=False, detail="no", remedy="get it", required=False)
    assert doctor.ok([good, optional])
    text = doctor.render([good, optional])
    assert "without  netem" in text
    assert text.splitlines()[-1] == "ready to run tests on the lab"


def test_one_check_that_breaks_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise OSError("no such thing as a disk")

    monkeypatch.setattr(doctor, "_disk", broken)
    findings = doctor.examine()
    assert by_name(findings)["broken"].detail == "could not be checked: no such thing as a disk"
    assert not doctor.ok(findings)
    assert "python" in by_name(findings)


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, harness.doctor as d; d.examine(); print(' '.join(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    ).stdout.split()
    assert {"paramiko", "requests", "pandas", "networkx", "rich"} & set(said) == set()
    assert "harness.doctor" in said


@pytest.mark.lab
def test_a_machine_that_can_run_a_lab_is_found_ready() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces: run the tests with sudo")
    assert doctor.ok(doctor.examine()), doctor.render(doctor.examine())
