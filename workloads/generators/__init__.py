"""The parts of `workloads.generator`, which is the one to import from."""
