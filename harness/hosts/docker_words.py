"""What the docker command is told, and what its answers mean.

Rules of this file:
- It decides and parses; `docker.py` runs the commands.
- Everything that is made bears the label of its run, so that what is left over can be found by it
  alone.
- A container gets what faults need and no more: NET_ADMIN, and what mounting needs only when disks
  are to fail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.errors import HarnessError, UsageError

HOSTS: Final = "docker"
# Ours, made by tools/docker-base.sh where no registry can be reached, and everybody's.
LOCAL_BASE: Final = "splitbrain-base"
PUBLIC_BASE: Final = "debian:bookworm-slim"

RUN_LABEL: Final = "splitbrain.run"
OWNER_LABEL: Final = "splitbrain.owner"
# A network without containers may be one that is just being made; after this long it is not.
_YOUNG: Final = "10m"


@dataclass(frozen=True, slots=True)
class Found:
    """A container of some run. `owner` is what that run wrote down of its process."""

    name: str
    run: str
    owner: str


def is_docker(hosts: str) -> bool:
    """Whether `--hosts` asks for containers: ``docker``, or ``docker:BASE``."""
    return hosts == HOSTS or hosts.startswith(f"{HOSTS}:")


def wanted_base(hosts: str) -> str | None:
    """Return the base image that `--hosts docker:BASE` names, or None if it names none."""
    if hosts == HOSTS:
        return None
    base = hosts.removeprefix(f"{HOSTS}:")
    if not base or base.startswith("-") or any(letter.isspace() for letter in base):
        raise UsageError(
            f"hosts is {hosts!r}: after 'docker:' comes the name of an image, such as {PUBLIC_BASE}"
        )
    return base


def image_tag(files: Mapping[str, bytes], base: str) -> str:
    """Return the name of the image made of these files and this base: others have another name."""
    digest = hashlib.sha256(base.encode())
    for name in sorted(files):
        digest.update(f"\n{name} {len(files[name])}\n".encode())
        digest.update(files[name])
    return f"splitbrain-host:{digest.hexdigest()[:12]}"


def build_words(tag: str, *, base: str, folder: str) -> list[str]:
    """Return the words that build the image."""
    return ["build", "--quiet", "--tag", tag, "--build-arg", f"BASE={base}", folder]


def network_name(run: str) -> str:
    """Return the name of a run's network."""
    return f"splitbrain-{run}"


def container_name(run: str, host: str) -> str:
    """Return the name of a host's container."""
    return f"splitbrain-{run}-{host}"


def network_words(run: str) -> list[str]:
    """Return the words that make a run's network: hosts and controller, and no way out."""
    labels = ["--label", f"{RUN_LABEL}={run}"]
    return ["network", "create", "--driver", "bridge", "--internal", *labels, network_name(run)]


def sweep_words() -> list[str]:
    """Return the words that remove networks of ours which no container is in any more."""
    filters = ["--filter", f"label={RUN_LABEL}", "--filter", f"until={_YOUNG}"]
    return ["network", "prune", "--force", *filters]


def run_words(
    *, run: str, owner: str, host: str, image: str, authorized_key: str, disks: bool
) -> list[str]:
    """Return the words that run a host for as long as its standard input is held open."""
    words = [
        *("run", "--rm", "--interactive", "--pull", "never"),
        *("--name", container_name(run, host), "--hostname", host),
        *("--label", f"{RUN_LABEL}={run}", "--label", f"{OWNER_LABEL}={owner}"),
        *("--network", network_name(run), "--cap-add", "NET_ADMIN"),
        *("--env", f"SPLITBRAIN_KEY={authorized_key}"),
    ]
    if disks:
        words += ["--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"]
        words += ["--device", "/dev/loop-control", "--device-cgroup-rule", "b 7:* rmw"]
    return [*words, image]


def list_words() -> list[str]:
    """Return the words that list every container of ours, running or not; see `parse_listing`."""
    fields = "\\t".join(
        ("{{.Names}}", f'{{{{.Label "{RUN_LABEL}"}}}}', f'{{{{.Label "{OWNER_LABEL}"}}}}')
    )
    return ["ps", "--all", "--filter", f"label={RUN_LABEL}", "--format", fields]


def parse_listing(text: str) -> list[Found]:
    """Return the containers that `list_words` listed."""
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    return [Found(*row) for row in rows if len(row) == 3]


def remove_words(names: Sequence[str]) -> list[str]:
    """Return the words that end containers at once, their volumes with them."""
    return ["rm", "--force", "--volumes", *names]


def parse_addresses(text: str, *, network: str) -> dict[str, str]:
    """Return each container's address in a network, by its name, from `docker inspect`."""
    try:
        return {
            str(one["Name"]).removeprefix("/"): _address(one, network) for one in json.loads(text)
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(f"docker inspect said something unexpected: {error!r}") from None


def _address(container: Mapping[str, object], network: str) -> str:
    settings = container["NetworkSettings"]
    assert isinstance(settings, dict)
    address = settings["Networks"][network]["IPAddress"]
    if not address:
        raise ValueError(f"{container['Name']} has no address in {network}")
    return str(address)


def parse_host_key(line: str) -> str:
    """Return the public key that a host said first, without its comment."""
    kind, _, rest = line.strip().partition(" ")
    blob = rest.partition(" ")[0]
    if not kind.startswith("ssh-") or not blob:
        raise ValueError(f"it said {line.strip()!r} in place of its host key")
    return f"{kind} {blob}"


def explain(said: str) -> str:
    """Return what is wrong and what to do when no daemon answers, from what docker said."""
    last = (said.strip().splitlines() or ["no message"])[-1]
    if "permission denied" in said.lower():
        return (
            "the Docker daemon does not let this user in; run as root, or: "
            "sudo usermod -aG docker $USER, and log in again"
        )
    if "cannot connect" in said.lower() or "is the docker daemon running" in said.lower():
        return "the Docker daemon is not running; start it: sudo systemctl start docker"
    return f"docker does not work here: {last}"
