"""`splitbrain lab ...`: the hosts on this machine, by hand."""

from __future__ import annotations

import argparse
import os
import shutil
import sys

from harness.errors import HarnessError, UsageError
from harness.hosts import docker, lab, lab_network, vm_image
from harness.hosts.host import HostAddress

# How many hosts a lab has if nobody says; emulated machines share the processors of this one.
_HOSTS, _MACHINES = 5, 3


def act(options: argparse.Namespace) -> int:
    """Perform one action and return its exit code."""
    instance: int = options.lab
    if options.action == "up":
        if options.vm and not vm_image.is_made():
            _say("making the virtual machines' image, once; this takes some minutes")
        standard = _MACHINES if options.vm else _HOSTS
        nodes = standard if options.nodes is None else options.nodes
        made = lab.up(nodes=nodes, instance=instance, vm=options.vm)
        _say(f"lab {instance} is up")
        for host in made.hosts:
            ssh = f"splitbrain lab ssh --lab {instance} {host.name}"
            _say(f"  {host.name}  {'  '.join(host.addresses)}  {ssh}")
        if not made.ipv6:
            _say(f"  without IPv6: {lab_network.why_no_ipv6() or 'it was made without'}")
        return 0
    if options.action == "down" and options.docker:
        return _docker_down()
    if options.action == "down":
        lab.down(instance)
        _say(f"lab {instance} is down")
        return 0
    found = lab.status(instance)
    if options.action == "ssh":
        return _ssh(found, options)
    _say(f"lab {instance} is {found.state}" + (", of virtual machines" if found.vm else ""))
    for host in found.hosts:
        _say(f"  {host.name}  {'  '.join(host.addresses)}")
    for problem in found.problems:
        _say(f"  {problem}")
    return 0 if found.state in ("up", "down") else 4


def _docker_down() -> int:
    """Remove the containers of runs that are over, and name those that are not."""
    removed, used = docker.down()
    _say(f"containers removed: {', '.join(removed) or 'none, there were none left over'}")
    for name in used:
        _say(f"  {name} is in use by a run")
    return 0


def _ssh(found: lab.LabStatus, options: argparse.Namespace) -> int:
    """Become OpenSSH's client, with this lab's key and known hosts only."""
    names = {host.name: host for host in found.hosts}
    if options.host not in names:
        known = ", ".join(names) or f"none: splitbrain lab up --lab {found.instance}"
        raise UsageError(f"there is no host {options.host!r}; there are: {known}")
    program = shutil.which("ssh")
    if program is None:
        raise HarnessError("there is no ssh command: apt-get install openssh-client")
    words = ssh_words(program, names[options.host], options.words)
    sys.stdout.flush()
    os.execv(program, words)


def ssh_words(program: str, host: HostAddress, command: list[str]) -> list[str]:
    """Return the command line that opens a shell on a host, or runs a command there."""
    return [
        program,
        "-F",
        "/dev/null",
        "-i",
        str(host.key_path),
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"UserKnownHostsFile={host.known_hosts_path}",
        "-p",
        str(host.port),
        f"{host.user}@{host.address}",
        *command,
    ]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
