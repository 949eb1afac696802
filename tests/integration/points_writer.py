"""An application that writes rows and objects while a restore point is taken."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

TABLE = """
CREATE TABLE documents (key text PRIMARY KEY, bucket text NOT NULL, version text, etag text NOT NULL, size bigint)
"""


class Writer(threading.Thread):
    """Inserts, overwrites and deletes rows with their objects, in the order that keeps every row's object readable.

    An object is stored before its row, and deleted after it.

    Parameters
    ----------
    rate
        Writes a second; None: as many as it can.
    """

    def __init__(self, client: S3Client, bucket: str, database: str, *, name: str, rate: float | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self._client, self._bucket, self._rate = client, bucket, rate
        self._session = psycopg2.connect(database)
        self._session.autocommit = True
        self._random = random.Random(name)
        self._keys: list[str] = []
        self._stop = threading.Event()
        self._moved = threading.Condition()
        self.done: Counter[str] = Counter()
        self.error: BaseException | None = None

    @property
    def writes(self) -> int:
        """How many writes were done."""
        return self.done.total()

    def wait_for(self, writes: int) -> None:
        """Wait until this number of writes was done."""
        with self._moved:
            self._moved.wait_for(lambda: self.error is not None or self.writes >= writes)
        if self.error is not None:
            raise self.error

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Write until the block is left."""
        self.start()
        try:
            yield self
        finally:
            self._stop.set()
            self.join()
            self._session.close()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """Write until it is stopped."""
        began = time.monotonic()
        try:
            while not self._stop.is_set():
                self._write()
                with self._moved:
                    self._moved.notify_all()
                if self._rate is not None:
                    self._stop.wait(began + self.writes / self._rate - time.monotonic())
        except BaseException as error:  # noqa: BLE001 - the test gets it
            with self._moved:
                self.error = error
                self._moved.notify_all()

    def _write(self) -> None:
        way = self._random.choices(("insert", "overwrite", "delete"), (5, 3, 2))[0] if self._keys else "insert"
        if way == "delete":
            key = self._keys.pop(self._random.randrange(len(self._keys)))
            self._execute("DELETE FROM documents WHERE key = %s", key)
            self._client.delete_object(Bucket=self._bucket, Key=key)
        else:
            key = f"{self.name}/{self.writes:06}" if way == "insert" else self._random.choice(self._keys)
            body = self._random.randbytes(self._random.randrange(1, 3_000))
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body)
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            self._execute(
                "INSERT INTO documents VALUES (%s, %s, NULL, %s, %s) "
                "ON CONFLICT (key) DO UPDATE SET etag = EXCLUDED.etag, size = EXCLUDED.size",
                *(key, self._bucket, etag, len(body)),
            )
            if way == "insert":
                self._keys.append(key)
        self.done[way] += 1

    def _execute(self, statement: str, *values: object) -> None:
        with self._session.cursor() as cursor:
            cursor.execute(statement, values)
