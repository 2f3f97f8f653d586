"""Faults: planned purely from the seed (`plan`, `grudges`), carried out by `conductor`."""
