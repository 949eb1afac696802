"""`python -m tests.fuzz.one_reader READER[,READER ...] LIMIT ...`: atheris on each reader, with limits of libFuzzer.

To import Coffre with atheris's counters takes seconds: that is done once, and each reader has a fork of the process.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import atheris

with redirect_stderr(StringIO()), atheris.instrument_imports(include=["coffre"]):  # it names each module
    from tests.fuzz.readers import CORPUS, READERS

MEMORY_MB = 1024
LONGEST_BYTES = 20_000


def main() -> int:
    """Fuzz each reader until the limit is reached, or an input breaks it: that is kept in the reader's corpus."""
    names, *limits = sys.argv[1:]
    broken = [name for name in names.split(",") if not _holds(name, limits)]
    sys.stdout.write(f"Broken: {', '.join(broken)}\n" if broken else "No reader was broken.\n")
    return 1 if broken else 0


def _holds(name: str, limits: list[str]) -> bool:
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            _fuzz(name, limits, Path(scratch))
        _, status = os.waitpid(child, 0)
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    last = next((line for line in reversed(text.splitlines()) if line.startswith("Done ")), "broken")
    sys.stdout.write(f"{name}: {last}\n")
    if status:
        sys.stdout.write(text[-4000:])
    return status == 0


def _fuzz(name: str, limits: list[str], scratch: Path) -> None:
    """Fuzz a reader in this process, which libFuzzer ends."""
    try:
        (reader,) = [one for one in READERS if one.name == name]
        found = CORPUS / name
        for number, seed in enumerate(reader.corpus):
            (scratch / str(number)).write_bytes(seed)
        found.mkdir(parents=True, exist_ok=True)
        own = [f"-rss_limit_mb={MEMORY_MB}", "-timeout=10", f"-max_len={LONGEST_BYTES}", f"-artifact_prefix={found}/"]
        atheris.Setup([sys.argv[0], *limits, *own, str(scratch)], reader.run)
        atheris.Fuzz()
    finally:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
