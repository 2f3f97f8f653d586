"""What docker is told and what its answers mean, without any docker."""

import json
import shlex

import pytest

from harness.errors import HarnessError, UsageError
from harness.hosts import docker_words
from harness.hosts.docker import image_files
from harness.hosts.docker_words import Found
from harness.spec import Spec

KEY = "ssh-ed25519 AAAAC3Nz"


def run_words(*, disks: bool = False) -> str:
    return shlex.join(
        docker_words.run_words(
            run="cafe", owner="me", host="n2", image="i:1", authorized_key=KEY, disks=disks
        )
    )


def test_containers_are_asked_for_by_name_and_with_a_base() -> None:
    assert [
        docker_words.is_docker(text) for text in ("docker", "docker:x", "lab", "dockers.toml")
    ] == [
        True,
        True,
        False,
        False,
    ]
    assert docker_words.wanted_base("docker") is None
    assert docker_words.wanted_base("docker:debian:trixie-slim") == "debian:trixie-slim"
    assert Spec(hosts="docker:mine").repeat_line().count("--hosts docker:mine") == 1
    for wrong in ("docker:", "docker:--privileged", "docker:a b"):
        with pytest.raises(UsageError, match="after 'docker:' comes the name of an image"):
            docker_words.wanted_base(wrong)


def test_a_host_gets_what_faults_need_and_no_more() -> None:
    words = run_words()
    assert "--cap-add NET_ADMIN" in words
    assert "--pull never" in words
    assert "--rm --interactive" in words, "it must end with the harness"
    assert "SYS_ADMIN" not in words
    assert "privileged" not in words
    assert words.endswith(" i:1")


def test_disks_need_more() -> None:
    words = run_words(disks=True)
    assert "--cap-add SYS_ADMIN" in words
    assert "--device /dev/loop-control --device-cgroup-rule 'b 7:* rmw'" in words
    assert "--privileged" not in words


def test_all_that_is_made_bears_the_label_of_its_run() -> None:
    assert "--label splitbrain.run=cafe --label splitbrain.owner=me" in run_words()
    assert "splitbrain.run=cafe" in docker_words.network_words("cafe")
    assert "--internal" in docker_words.network_words("cafe")
    assert "label=splitbrain.run" in docker_words.sweep_words()
    assert "label=splitbrain.run" in docker_words.list_words()


def test_names_are_those_of_the_run() -> None:
    assert docker_words.container_name("cafe", "n2") == "splitbrain-cafe-n2"
    assert docker_words.network_name("cafe") == "splitbrain-cafe"


def test_another_file_or_base_makes_another_image() -> None:
    files = {"Dockerfile": b"FROM x", "host.sh": b"echo"}
    tags = {
        docker_words.image_tag(files, "one"),
        docker_words.image_tag(files, "two"),
        docker_words.image_tag({**files, "host.sh": b"echo 1"}, "one"),
        docker_words.image_tag({"Dockerfile": b"FROM xecho", "host.sh": b""}, "one"),
    }
    assert len(tags) == 4
    again = dict(reversed(files.items()))
    assert docker_words.image_tag(again, "one") == docker_words.image_tag(files, "one")


def test_the_image_is_made_of_its_three_files() -> None:
    assert set(image_files()) == {"Dockerfile", "host.sh", "sshd_config"}
    assert b"COPY sshd_config host.sh" in image_files()["Dockerfile"]


def test_addresses_are_those_of_the_runs_own_network() -> None:
    def container(name: str, **addresses: str) -> dict[str, object]:
        networks = {network: {"IPAddress": address} for network, address in addresses.items()}
        return {"Name": f"/{name}", "NetworkSettings": {"Networks": networks}}

    two = [container("a", net="10.0.0.2", other="10.9.0.2"), container("b", net="10.0.0.3")]
    assert docker_words.parse_addresses(json.dumps(two), network="net") == {
        "a": "10.0.0.2",
        "b": "10.0.0.3",
    }
    for broken in ("", "[{}]", json.dumps([container("a", net="")])):
        with pytest.raises(HarnessError, match="docker inspect said something unexpected"):
            docker_words.parse_addresses(broken, network="net")


def test_a_listing_names_runs_and_owners() -> None:
    text = "splitbrain-ab-n1\tab\tboot/1/2\n\nsplitbrain-cd-n1\tcd\t\nnonsense\n"
    assert docker_words.parse_listing(text) == [
        Found("splitbrain-ab-n1", "ab", "boot/1/2"),
        Found("splitbrain-cd-n1", "cd", ""),
    ]


def test_a_host_says_its_key_first() -> None:
    assert docker_words.parse_host_key(f"{KEY} splitbrain-host\n") == KEY
    for wrong in ("", "exec: sshd: not found\n", "ssh-ed25519\n"):
        with pytest.raises(ValueError, match="in place of its host key"):
            docker_words.parse_host_key(wrong)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
            "start",
        ),
        ("Got permission denied while trying to connect to the Docker daemon socket", "usermod"),
        ("warning\nclient version 1.52 is too new", "client version 1.52 is too new"),
        ("", "no message"),
    ],
)
def test_no_daemon_says_what_to_do(said: str, advice: str) -> None:
    assert advice in docker_words.explain(said)
