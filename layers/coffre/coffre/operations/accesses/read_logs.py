"""Reads the logs of accesses to the vault from their bucket, a day's folder after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from coffre.model.errors import ObjectMissingError
from coffre.policy.access_log import LONGEST_LINE_BYTES, parse_line
from coffre.policy.accesses import Tally
from coffre.stores.store import ObjectInfo, Store

LOG_PREFIX: Final = "vault/"
"""The parameter `LogFilePrefix` of the vault's bucket in template.yaml."""
# AWS delivers most logs within a few hours, and promises no time
# (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html, 2026-11).
LATE: Final = timedelta(days=3)
_PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class AccessLogs:
    """The logs of one vault.

    S3 writes them as `PREFIX ACCOUNT/REGION/BUCKET/YYYY/MM/DD/YYYY-MM-DD-00-00-00-UNIQUE`, by the day of the requests
    (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PartitionedPrefix.html, 2026-11).

    Parameters
    ----------
    store
        The logs' bucket.
    account, region, bucket
        Of the vault.
    """

    store: Store
    account: str
    region: str
    bucket: str

    def read(self, tally: Tally, since: date, until: date, *, delivered_after: datetime | None = None) -> None:
        """Add the requests of a period to a tally.

        Parameters
        ----------
        since, until
            The first and the last day (UTC).
        delivered_after
            Leave out logs that were delivered before.

        Raises
        ------
        StoreError, StoreTransientError
            The bucket does not exist, or may not be read.
        """
        for info in self._logs(since, until):
            if delivered_after is None or info.last_modified is None or info.last_modified >= delivered_after:
                self._read_log(info, tally)

    def oldest_day(self) -> date | None:
        """Return the day of the oldest log, or None without any."""
        oldest = next(self.store.list(self._folder), None)
        try:
            return date.fromisoformat(oldest.key.removeprefix(self._folder)[:10].replace("/", "-")) if oldest else None
        except ValueError:
            return date.min  # something else is in the folder: any day may have logs

    @property
    def _folder(self) -> str:
        return f"{LOG_PREFIX}{self.account}/{self.region}/{self.bucket}/"

    def _logs(self, first: date, last: date) -> Iterator[ObjectInfo]:
        day = first
        while day <= last:
            yield from self.store.list(f"{self._folder}{day:%Y/%m/%d}/")
            day += timedelta(days=1)

    def _read_log(self, info: ObjectInfo, tally: Tally) -> None:
        try:
            for line in self._lines(info):
                tally.add(parse_line(line))
        except ObjectMissingError:
            return  # the lifecycle deleted it since it was listed
        tally.add_log(info.last_modified)

    def _lines(self, info: ObjectInfo) -> Iterator[bytes]:
        """Yield the lines of a log; of one that is too long for any, its beginning."""
        rest = b""
        for offset in range(0, info.size, _PIECE_BYTES):
            piece = self.store.get_range(info.key, offset, min(_PIECE_BYTES, info.size - offset))
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line for line in lines if line)
            rest = rest[: LONGEST_LINE_BYTES + 1]
        if rest:
            yield rest
