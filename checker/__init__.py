"""A library that checks histories of concurrent operations: history in, verdict and evidence out.

It imports nothing else of this project, so it is useful to people who never run the harness.
"""
