#!/usr/bin/env bash
# One slice of the night: what takes too long for `make test`, in parts of at most 80 minutes.
#
#   make -k nightly                       every slice that has not passed tonight
#   make nightly SLICES="faults sweep"    these
#   tools/nightly.sh SLICE                one, in the foreground
#
# Rules of this file: a slice ends with 0 only if all of it holds; what a machine lacks is said and
# is no pass of the slice. Each can be run alone and again; the long ones go on where they were.
# What a slice began ends with it: who is told to stop waits for the command under way to do so.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN="${VENV:-.venv}/bin"
NIGHT="${NIGHT:-store/nightly/$(date +%F)}" # what the slices leave, and which of them passed
trap 'exit 143' TERM
trap 'jobs -p | xargs -r kill || true' EXIT

# The command is there, or the slice has not run: exit 2 is "usage" everywhere.
needs() {
  command -v "$1" >/dev/null || { echo "$1 is not installed: apt-get install -y $2" >&2; exit 2; }
}

# A sweep of its own for each night, that goes on where it was.
sweep() {
  "$BIN/splitbrain" sweep "$1" --store "$2" $([ ! -d "$2/sweeps" ] || echo --resume)
}

# The command has to end with this exit status.
ends_with() {
  local wanted="$1" status=0
  shift
  "$@" || status=$?
  [ "$status" -eq "$wanted" ] || { echo "exit $status, not $wanted: $*" >&2; exit 1; }
}

case "${1:-}" in
  fuzz) # every algorithm of the checker against trying all orders
    "$BIN/python" tools/fuzz_checker.py --seconds 3600 --jobs 2 --seed "$(date +%y%m%d)000000" ;;
  properties) # hypothesis, with two thousand examples a property
    HYPOTHESIS_PROFILE=nightly "$BIN/pytest" -n 2 --dist loadfile tests/checker tests/node --timeout 1800 ;;
  survives) # every host lost, every signal at every phase
    HYPOTHESIS_PROFILE=nightly "$BIN/pytest" tests/harness -m nightly --timeout 300 ;;
  simulator) # our node in virtual time, with seeds of its own each night
    first="$(date +%y%m%d)000000"
    "$BIN/python" -m harness.sim "$first" "$((first + 500000))" --seconds 2400 & other=$!
    "$BIN/python" -m harness.sim "$((first + 500000))" "$((first + 1000000))" --seconds 2400
    wait "$other" ;;
  faults) # every kind of fault, and the table of the evidence each gave, whatever came of the runs
    status=0
    sweep tools/every_fault.toml "$NIGHT/faults" || status=$?
    [ "$status" -ne 130 ] || exit 130 # interrupted
    # Beyond what the node promises, so what comes of it is in doubt at best, or nothing is found.
    "$BIN/splitbrain" test --nemesis amnesia --nodes 5 --time-limit 120 --store "$NIGHT/faults" \
      || [ $? -eq 3 ] || status=1
    "$BIN/python" tools/fault_table.py "$NIGHT/faults"
    exit "$status" ;;
  sweep) # every workload under a draw of all faults
    sweep docs/examples/nightly.toml "$NIGHT/sweep" ;;
  etcd) # another system: it keeps its word, and the control that does not is caught
    needs etcd etcd-server
    "$BIN/splitbrain" test --system etcd --nemesis partition,kill,pause,disk --time-limit 300 \
      --store "$NIGHT/etcd"
    ends_with 1 "$BIN/splitbrain" test --system etcd --reads stale --nemesis partition --nodes 3 \
      --time-limit 40 --store "$NIGHT/etcd" ;;
  docker) # hosts that are containers
    needs dockerd "docker.io iptables debootstrap"
    STORE="$NIGHT/docker" tools/docker-run.sh ;;
  vm) # hosts that are virtual machines, whose clocks are really set
    needs qemu-system-x86_64 "qemu-system-x86 debootstrap e2fsprogs"
    bash tools/vm-run.sh "$NIGHT/vm" ;;
  mutants) # the checker, broken on purpose: a test has to fail
    "$BIN/python" tools/mutate_checker.py --sample 80 --seed "$(date +%y%m%d)" ;;
  bench) # the checker's table: last, and with nothing beside it
    "$BIN/python" tools/bench_check.py ;;
  *)
    echo "usage: tools/nightly.sh SLICE, one of:" >&2
    sed -nE 's/^  ([a-z]+)\) # (.*)$/  \1: \2/p' "$0" >&2
    exit 2 ;;
esac
