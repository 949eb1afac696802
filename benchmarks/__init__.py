"""One script for each claim in docs/benchmarks.md: `python -m benchmarks.NAME`, or all of them: `make bench`."""

import sys
from pathlib import Path

# So that a benchmark is one command in a checkout, without PYTHONPATH.
_CHECKOUT = Path(__file__).resolve().parents[1]
sys.path += [path for part in ("layers/coffre", "cli") if (path := str(_CHECKOUT / part)) not in sys.path]
