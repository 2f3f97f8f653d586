"""How the harness reaches a host: SSH, and a small agent that it leaves there for a run."""
