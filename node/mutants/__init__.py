"""Mutants of the node: named edits kept as data, so that the node itself has no bug switches."""
