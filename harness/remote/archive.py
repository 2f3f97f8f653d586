"""Packs the agent into the one file that is put on a host.

Rules of this file:
- The same sources give the same bytes, so that a host which has them need not be sent them again.
"""

from __future__ import annotations

import io
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "agent"
_MAIN: Final = "import sys\n\nfrom agent.main import main\n\nsys.exit(main())\n"
# The oldest date that a zip file can hold.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


@cache
def agent_archive() -> bytes:
    """Return the agent as a file that `python3` can run."""
    files = {f"agent/{path.name}": path.read_bytes() for path in sorted(FOLDER.glob("*.py"))}
    files["__main__.py"] = _MAIN.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _DATE), content)
    return buffer.getvalue()
