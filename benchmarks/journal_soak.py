"""A source that keeps writing while no drain runs: the guard drops the slot, and what the server keeps stays bounded.

    python -m benchmarks.journal_soak [SECONDS]

The guard looks every second here, as it does each hour in use, and drops the slot at 128 MiB; the server's own limit
(`max_slot_wal_keep_size`) is 512 MiB. Then a drain begins the journal again, and no further one runs. The greatest
size that was seen has to stay below the server's limit, and no slot may be lost.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg2
from tests.integration.journal_scene import SETTINGS, scene

from benchmarks.journal import into_a_vault
from coffre.operations.journal.guard import guard
from coffre.policy.journal_health import Guarding
from coffre.postgres.journal import slot
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

_MIB: Final = 1 << 20
_LIMIT: Final = 512 * _MIB
_WRITE: Final = "INSERT INTO busy SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 2000) i"
_PAUSE_SECONDS: Final = 0.05


def main(arguments: list[str]) -> int:
    """Write for some time, and print how much WAL was kept at most."""
    seconds = float(arguments[0]) if arguments else 120.0
    toolchain = Toolchain()
    home = toolchain.postgresql(18)
    options = ServerOptions(settings=SETTINGS | {"max_slot_wal_keep_size": "512MB", "max_wal_size": "128MB"})
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory()))
        server = running.enter_context(PostgresServer(home, options))
        played = running.enter_context(scene(server, home, scratch, "soak"))
        played.run("CREATE TABLE busy (i int, t text)")
        journal = into_a_vault(running, played)
        job = replace(journal.job, guarding=Guarding(maximum_lag_bytes=128 * _MIB, reserve_bytes=64 * _MIB))
        stopped = threading.Event()
        written = [0]

        def write() -> None:
            with psycopg2.connect(server.dsn(played.name)) as session, session.cursor() as cursor:
                while not stopped.is_set():
                    cursor.execute("TRUNCATE public.busy")
                    cursor.execute(_WRITE.replace("busy", "public.busy"))
                    session.commit()
                    written[0] += 1
                    stopped.wait(_PAUSE_SECONDS)

        writer = threading.Thread(target=write)
        writer.start()
        most = drops = lost = looks = 0
        ends = time.monotonic() + seconds
        try:
            while time.monotonic() < ends:
                looks += 1
                state = journal.catalog.journals.find(journal.job.target)
                found = slot.inspect(played.reader, state.slot) if state is not None and state.slot else None
                if found is not None:
                    most = max(most, found.retained_bytes)
                    lost += found.wal_status == "lost"
                if guard(job) is not None:
                    drops += 1
                    journal.drain()
                time.sleep(1)
        finally:
            stopped.set()
            writer.join()
    print(f"{written[0]:,} transactions of about 2 MB in {seconds:.0f} s; {looks} looks, {drops} slots dropped", end="")
    print(f"; at most {most / _MIB:.0f} MiB were kept (limit {_LIMIT // _MIB})")
    print(f"{lost} looks found a slot that was lost")
    return 1 if lost or not drops or most > _LIMIT else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
