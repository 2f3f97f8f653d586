"""The system under test: a replicated key-value store on Raft. Imports nothing of ours."""

__version__ = "0.1.0"
