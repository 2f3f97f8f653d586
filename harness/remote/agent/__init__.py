"""The agent: runs on a host for the length of a run, applies faults there, and takes them back.

Rules of this package:
- It travels: standard library only, nothing of ours outside this folder, Python 3.9 or newer.
- What it installs is its own (its nft tables, one qdisc, one clock file, one volume, the processes it started),
  every undo is idempotent, and what is needed to undo is in files before the thing is done.
- It heals everything when its input ends, when its lease runs out, and on SIGTERM. When it is
  killed itself, a watchdog that it left behind does it; and cuts expire in the kernel.
"""
