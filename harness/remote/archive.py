"""Packs the agent into the one file that is put on a host.

Rules of this file:
- The same sources give the same bytes, so that a host which has them need not be sent them again.
- Compiled code for this version of Python travels beside the source, so that the agent and its
  watchdog start quickly on a slow host; another version compiles the source itself.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "agent"
_MAIN: Final = "import sys\n\nfrom agent.main import main\n\nsys.exit(main())\n"
_UNCHECKED_HASH: Final = 1
# The oldest date that a zip file can hold.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


@cache
def agent_archive() -> bytes:
    """Return the agent as a file that `python3` can run."""
    files: dict[str, bytes] = {}
    for path in sorted(FOLDER.glob("*.py")):
        name, source = f"agent/{path.name}", path.read_bytes()
        files[name], files[f"{name}c"] = source, _compiled(source, name)
    files["__main__.py"] = _MAIN.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return buffer.getvalue()


def _compiled(source: bytes, name: str) -> bytes:
    """Return a .pyc that is never compared with its source (PEP 552)."""
    code = compile(source, name, "exec", dont_inherit=True)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little")
    return header + importlib.util.source_hash(source) + marshal.dumps(code)
