"""Which life of a node is let in, as configurations come and go."""

from __future__ import annotations

from pathlib import Path

import pytest
from servers import server

from node.acquaintances import Acquaintances
from node.core.membership import Configuration
from node.core.raft import Raft
from node.storage.files import RealDirectory

OLD, NEW = 11, 22


def meeting(tmp_path: Path, core: Raft) -> tuple[Acquaintances, list[str]]:
    said: list[str] = []
    return Acquaintances(RealDirectory(tmp_path), core, said.append), said


def added(name: str, generation: int, *others: str) -> Configuration:
    """A configuration in which a member was added as the so-manieth."""
    return Configuration(
        voters=(*others, name), additions=generation, generations={name: generation}
    )


def test_a_name_is_one_life_while_it_is_a_member(tmp_path: Path) -> None:
    met, said = meeting(tmp_path, server())
    assert met.admit("b", OLD)
    assert met.admit("b", OLD)
    assert not met.admit("b", NEW)
    assert not met.admit("b", NEW)
    assert len(said) == 1
    assert "remove the member and add it again" in said[0]
    again, _ = meeting(tmp_path, server())
    assert not again.admit("b", NEW), "it is remembered on disk"


def test_a_name_that_was_removed_and_added_again_may_be_another_life(tmp_path: Path) -> None:
    core = server(configuration=added("b", 1, "a", "c"))
    met, _ = meeting(tmp_path, core)
    assert met.admit("b", OLD)
    core.log.restart(9, 1, added("b", 2, "a", "c"))
    core.commit_index = 9
    assert met.admit("b", NEW)
    assert not met.admit("b", OLD)


def test_who_was_met_before_any_configuration_was_known_binds_nobody(tmp_path: Path) -> None:
    """A node that is being added meets b, which was removed and is about to be made anew."""
    core = server(members=())
    met, _ = meeting(tmp_path, core)
    assert met.admit("b", OLD)
    core.log.restart(9, 1, added("b", 2, "a", "c"))
    core.commit_index = 9
    assert met.admit("b", NEW)
    assert not met.admit("b", OLD), "from now on it knows"


@pytest.mark.parametrize("settled", [True, False])
def test_a_removed_name_is_free_once_its_removal_is_committed(
    tmp_path: Path, *, settled: bool
) -> None:
    core = server(configuration=added("b", 1, "a", "c"))
    met, _ = meeting(tmp_path, core)
    assert met.admit("b", OLD)
    core.log.restart(9, 1, Configuration(voters=("a", "c"), additions=1))
    core.commit_index = 9 if settled else 8
    assert met.admit("b", OLD)
    assert met.admit("b", NEW) == settled
