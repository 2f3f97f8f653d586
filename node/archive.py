"""Builds the file that is copied to hosts: the node and h11 in one zip that python3 runs.

Rules of this file:
- The same source gives the same bytes: names sorted, times fixed, nothing compressed differently.
- A host needs python3 and nothing else. Compiled code for this version of Python travels beside
  the source, so that a node starts quickly; another version compiles the source itself.

    python -m node.archive TARGET [--source DIR]
"""

import argparse
import hashlib
import importlib.util
import marshal
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

SHEBANG = b"#!/usr/bin/env python3\n"
ENTRY = b'"""Starts the node in this archive."""\n\nfrom node.server import main\n\nraise SystemExit(main())\n'
TIME = (1980, 1, 1, 0, 0, 0)
LEFT_OUT = ("archive.py", "mutants", "__pycache__")
_UNCHECKED_HASH = 1


def build_archive(target: Path, source: Path | None = None) -> str:
    """Write the archive of the node package at `source`; its SHA-256."""
    source = Path(__file__).resolve().parent if source is None else source
    if not (source / "server.py").is_file():
        raise ValueError(f"no node package at {source}")
    members = {"__main__.py": ENTRY}
    members.update(_modules(source, "node"))
    members.update(_modules(_h11_directory(), "h11"))
    members["node/openapi.json"] = (source / "openapi.json").read_bytes()
    with target.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, content in sorted(members.items()):
                archive.writestr(zipfile.ZipInfo(name, TIME), content)
    target.chmod(0o755)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def _modules(directory: Path, package: str) -> Iterator[tuple[str, bytes]]:
    """Source and compiled code of every module of a package, by name in the archive."""
    for path in sorted(directory.rglob("*.py")):
        relative = path.relative_to(directory)
        if any(part in LEFT_OUT for part in relative.parts):
            continue
        name = f"{package}/{relative.as_posix()}"
        content = path.read_bytes()
        yield name, content
        yield name + "c", _compiled(content, name)


def _compiled(content: bytes, name: str) -> bytes:
    """A .pyc that is never compared with its source (PEP 552)."""
    code = compile(content, name, "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little")
    return header + importlib.util.source_hash(content) + marshal.dumps(code)


def _h11_directory() -> Path:
    spec = importlib.util.find_spec("h11")
    if spec is None or spec.origin is None:
        raise ValueError("h11 is not installed here")
    return Path(spec.origin).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: prints the SHA-256."""
    parser = argparse.ArgumentParser(prog="python -m node.archive", description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--source", type=Path, help="the node package (default: this one)")
    given = parser.parse_args(arguments)
    try:
        digest = build_archive(given.target, given.source)
    except (OSError, ValueError, SyntaxError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{digest}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
