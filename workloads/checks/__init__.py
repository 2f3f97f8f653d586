"""What must hold of a history: the kinds of checks that workloads are made of. All pure."""

from workloads.checks.finding import Finding, Finds
from workloads.checks.linearizable import Linearizable
from workloads.checks.transactional import Transactional

__all__ = ["Finding", "Finds", "Linearizable", "Transactional"]
