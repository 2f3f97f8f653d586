# The commands of this repository. `make help` lists them.
#
# Rules: every target that runs something goes through `setup`, which does nothing the second time;
# nothing here needs more than git, make and Python 3.11 on Debian 12.

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
WORKERS ?= 2
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test fuzz nightly bench-check bench-node bench-harness table-workloads lint format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## virtual environment, pip and Debian packages; a second run does nothing

$(READY): pyproject.toml tools/setup.sh
	@PYTHON=$(PYTHON) VENV=$(VENV) bash tools/setup.sh
	@touch $(READY)

demo: setup ## a real 30 s test on five SSH hosts: partitions, kills, pauses, clock skew
	@$(BIN)/splitbrain test --system raft --workload register \
	  --nemesis partition,kill,pause,clock --hosts lab --nodes 5 --time-limit 30

lint: setup ## ruff, mypy, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: setup ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

test: setup lint ## every test (as root also those in the lab), two files at a time
	@$(BIN)/pytest -n $(WORKERS) --dist loadscope

fuzz: setup ## the checker against trying all orders, five minutes
	@$(BIN)/python tools/fuzz_checker.py --seconds 300 --jobs 2

# Slices of the night (tools/nightly.sh), in this order. What passed tonight is not run again.
SLICES ?= faults sweep etcd survives docker vm simulator properties fuzz mutants bench
# The date is asked for once: a night ends after midnight.
NIGHT := $(or $(NIGHT),store/nightly/$(shell date +%F))
SLICE_S ?= 4800

nightly: setup $(SLICES:%=$(NIGHT)/%.passed) ## what takes longer, in slices of at most 80 minutes; -k goes on after a failure

$(NIGHT)/%.passed:
	@mkdir -p $(NIGHT); echo "slice $*: $(NIGHT)/$*.log"; began=$$(date +%s); \
	NIGHT=$(NIGHT) VENV=$(VENV) timeout -k 60 $(SLICE_S) tools/nightly.sh $* >$(NIGHT)/$*.log 2>&1 & \
	trap "kill $$!" INT TERM; wait $$!; status=$$?; wait; \
	echo "slice $*: exit $$status after $$(( $$(date +%s) - began )) s"; tail -n 3 $(NIGHT)/$*.log; \
	[ $$status -eq 0 ] && touch $@

bench-check: setup ## the checker's table: times, memory, ratios (about 10 minutes; nothing else may run)
	@$(BIN)/python tools/bench_check.py

bench-node: setup ## our node beside etcd and PySyncObj (about 25 minutes; needs apt-get install etcd-server)
	@$(BIN)/python tools/bench_node.py all --output store/bench-node.md

table-workloads: setup ## each workload passes, and catches the bugs it is for (45 minutes, root)
	@$(BIN)/python tools/workload_table.py --output store/workload-table.md

bench-harness: setup ## the interpreter: operations a second, ratio to a plain loop, rates kept
	@$(BIN)/python tools/bench_harness.py

clean: ## remove what the tools left here (never store/)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
