"""`make bench-node`: our node, etcd and PySyncObj under the same client, in one run.

Rules of this file: it only starts `tools.bench_node.command`, where the options are.

    python tools/bench_node.py [throughput|recovery|catch-up|memory|profile|all] [--output FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    from tools.bench_node.command import main

    sys.exit(main())
