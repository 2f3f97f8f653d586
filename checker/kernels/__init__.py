"""Compiled searches over integer arrays. See `checker.kernels.layout` for what the arrays mean.

Rules of this package:
- Machine code is kept on disk, in a folder named for a digest of these sources and of numba's
  version, so that no kernel ever runs with what another version of its neighbours was compiled to
  (numba looks at the file of a function only, not at those it takes constants from).
- Compiling all takes about half a minute, once: `checker.kernels.warm` does it and leaves a mark.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

_HERE = Path(__file__).parent
MARK = "compiled"


def _digest() -> str:
    said = hashlib.sha256(version("numba").encode())
    for path in sorted(_HERE.glob("*.py")):
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


from numba.core import config  # noqa: E402  (its setting must stand before a kernel is imported)

vars(config)["CACHE_DIR"] = str(FOLDER)
