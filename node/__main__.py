"""`python -m node`: start one node."""

from node.server import main

raise SystemExit(main())
