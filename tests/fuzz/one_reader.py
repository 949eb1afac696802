"""`python -m tests.fuzz.one_reader READER LIMIT ...`: atheris on one reader, with limits of libFuzzer."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["coffre"]):
    from tests.fuzz.readers import CORPUS, READERS

MEMORY_MB = 1024
LONGEST_BYTES = 20_000


def main() -> None:
    """Fuzz until the limit is reached, or an input breaks the reader: it is kept in the reader's corpus."""
    name, *limits = sys.argv[1:]
    (reader,) = [one for one in READERS if one.name == name]
    found = CORPUS / name
    with tempfile.TemporaryDirectory() as scratch:
        for number, seed in enumerate(reader.corpus):
            (Path(scratch) / str(number)).write_bytes(seed)
        found.mkdir(parents=True, exist_ok=True)
        limits += [
            f"-rss_limit_mb={MEMORY_MB}",
            "-timeout=10",
            f"-max_len={LONGEST_BYTES}",
        ]
        atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={found}/", scratch], reader.run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
