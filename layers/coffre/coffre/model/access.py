"""Accesses to the vault's bucket: one request, and the requests of one principal that belong together."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from coffre.model.document import FrozenModel


class AccessAction(StrEnum):
    """What a request does: `read` bytes of an object, `write` or `delete` one, `configure` the bucket, or `look`.

    `look` is everything that changes nothing and reads no object: listings, metadata, the bucket's settings.
    """

    READ = "read"
    WRITE = "write"
    DELETE = "delete"
    CONFIGURE = "configure"
    LOOK = "look"


class AccessRecord(FrozenModel):
    """One line of a log: who did what when. `key` is None for requests about the whole bucket.

    `succeeded` is False only if no reading of the line says that the request succeeded.
    """

    at: datetime
    principal: str
    ip: str
    operation: str
    action: AccessAction
    key: str | None
    succeeded: bool


class AccessGroup(FrozenModel):
    """What one principal did by one kind of action: on one `day` (UTC), or, without it, in the whole period.

    `requests` includes the `refused` ones: S3 refused them, or found nothing. `keys` and `ips` are the first few that
    differ.
    """

    day: str | None = None
    principal: str
    action: AccessAction
    expected: bool = False
    requests: int
    refused: int
    first_at: datetime
    last_at: datetime
    keys: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()


class AccessReport(FrozenModel):
    """What the logs of a period say.

    `own` and `aws` are the numbers of requests of Coffre's functions and of AWS itself (its lifecycle rules), which are
    in no group. `unreadable` lines have another form than AWS documents. `newest_log` is when the newest log that was
    read was delivered.
    """

    groups: tuple[AccessGroup, ...] = ()
    own: int = 0
    aws: int = 0
    unreadable: int = 0
    logs: int = 0
    newest_log: datetime | None = None
