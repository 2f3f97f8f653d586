"""Compiled searches over integer arrays. See `checker.kernels.layout` for what the arrays mean.

Rules of this package:
- Pure but for numba's cache, which is put where `checker.kernel_cache` says before a kernel is
  imported. Compiling all takes about a minute, once: `checker.warm` does it and leaves a mark.
"""

from __future__ import annotations

from numba.core import config

from checker.kernel_cache import FOLDER

vars(config)["CACHE_DIR"] = str(FOLDER)
