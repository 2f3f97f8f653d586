"""Where the kernels' machine code is kept, and whether it is there.

Rules of this file:
- Machine code is kept on disk, in a folder named for a digest of the kernels' sources and of numba's
  version, so that no kernel ever runs with what another version of its neighbours was compiled to
  (numba looks at the file of a function only, not at those it takes constants from).
- Does not load numba: whoever only wants to know does not wait for it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

_KERNELS = Path(__file__).parent / "kernels"
MARK = "compiled"


def _digest() -> str:
    said = hashlib.sha256(version("numba").encode())
    for path in sorted(_KERNELS.glob("*.py")):
        said.update(path.name.encode() + b"\0" + path.read_bytes())
    return said.hexdigest()[:16]


def _folder() -> Path:
    """Return where machine code is kept; the temporary folder if there is no home to write to."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    name = f"kernels-{_digest()}"
    for base in (Path(home) / "splitbrain", Path(tempfile.gettempdir()) / "splitbrain"):
        try:
            (base / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(base / name, os.W_OK):
            return base / name
    return Path(tempfile.mkdtemp(prefix="splitbrain-"))


FOLDER = _folder()


def are_compiled() -> bool:
    """Whether the kernels can be used without waiting for a compiler."""
    return (FOLDER / MARK).exists()
