#!/usr/bin/env bash
# A test on three virtual machines: real partitions, kills and pauses, and clocks that are really
# set. Then what else holds of such hosts. Part of `make nightly`.
#
# Needs root and: apt-get install qemu-system-x86 debootstrap e2fsprogs. The first time an image is
# made from Debian's servers, which takes minutes. Rules: emulated machines are many times slower
# than this one, so load and faults are fewer and deadlines are longer; nothing stays up.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN="${VENV:-.venv}/bin"
store="${1:-store/vm}"
seed="${2:-1}"

"$BIN/splitbrain" test --system raft --workload register --hosts vm --nodes 3 \
  --nemesis partition,kill,pause,clock --nemesis-interval 40 --time-limit 120 --rate 20 \
  --operation-timeout 10 --recovery-timeout 90 --seed "$seed" --store "$store"
SPLITBRAIN_VM_TESTS=1 "$BIN/pytest" tests/harness/hosts/test_vm_boot.py --timeout 900
