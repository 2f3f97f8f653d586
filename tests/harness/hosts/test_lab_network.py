"""The lab's names and commands, without touching any network."""

from pathlib import Path

import pytest

from harness.errors import HarnessError, UsageError
from harness.hosts import lab, lab_network


@pytest.mark.parametrize("instance", [0, 7, 255])
def test_interface_names_fit_the_kernel(instance: int) -> None:
    names = lab_network.host_names(lab_network.NODES_MAX)
    assert len(lab_network.controller_link(instance)) <= 15
    assert all(len(name) <= 15 for name in names)


def test_addresses_follow_names_and_never_meet_the_controller() -> None:
    names = lab_network.host_names(lab_network.NODES_MAX)
    addresses = [lab_network.address(3, name) for name in names]
    assert addresses[:2] == ["198.18.3.1", "198.18.3.2"]
    assert len(set(addresses)) == len(names)
    assert lab_network.controller_address(3) not in addresses


def test_the_root_namespace_gets_one_interface_and_it_is_ours() -> None:
    lines = lab_network.root_batch(4, ["n1", "n2"])
    here = [line for line in lines if line.startswith("link add") and " netns " not in line[:30]]
    assert here == ["link add sb4-c type veth peer name c netns splitbrain-4-switch"]
    assert all("splitbrain-4-" in line or "sb4-c" in line for line in lines)


@pytest.mark.parametrize(
    ("route", "refused"),
    [
        ({"dst": "default", "dev": "eth0"}, False),
        ({"dst": "198.18.0.0/16", "dev": "tun0"}, True),
        ({"dst": "198.18.5.9", "dev": "tun0"}, True),
        ({"dst": "198.18.6.0/24", "dev": "eth1"}, False),
        ({"dst": "128.0.0.0/1", "dev": "tun0"}, False),
        ({"dst": "198.18.5.0/24", "dev": "sb5-c"}, False),
        ({"dst": "fe80::/64", "dev": "eth0"}, False),
    ],
)
def test_a_range_that_somebody_else_uses_is_refused(
    monkeypatch: pytest.MonkeyPatch, route: dict[str, object], refused: bool
) -> None:
    monkeypatch.setattr(lab_network, "_routes", lambda *_: [route])
    if refused:
        with pytest.raises(HarnessError, match="already in use on this machine"):
            lab_network.refuse_foreign_routes(5)
    else:
        lab_network.refuse_foreign_routes(5)


def test_numbers_out_of_range_are_usage_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(UsageError, match="0 to 255"):
        lab.status(256)
    with pytest.raises(UsageError, match="1 to 99 hosts"):
        lab.up(nodes=0, instance=3)


def test_without_root_the_lab_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HarnessError, match="sudo"):
        lab.up(nodes=3, instance=3)


def test_a_lock_that_is_released_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(lab, "LOCK_FOLDER", tmp_path)
    with lab.claim(9) as instance:
        assert instance == 9
        assert [path.name for path in tmp_path.iterdir()] == ["lab-9.lock"]
        with pytest.raises(HarnessError, match="already claimed by this process"), lab.claim(9):
            pass
    assert list(tmp_path.iterdir()) == []
