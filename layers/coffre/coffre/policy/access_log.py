r"""One line of an S3 server access log: who asked for what, and whether S3 did it.

The form is AWS's (https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html, 2026-11): fields between
spaces, the time in brackets, request line, referrer and user agent in double quotes; fields may be added at the end.
Any field can be `-`. Keys are percent-encoded.

**AWS does not escape what is between the double quotes**, and the client chooses it: `GET /x" 403 AccessDenied` may
stand in a request line, and a whole false tail of a line in a user agent. So nothing behind the request line is taken
as a field. What comes before has no spaces and no quotes, and is read strictly. Of the status, every number that could
be it is taken: the true one is among them, so a success cannot be hidden.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final
from urllib.parse import unquote

from coffre.model.access import AccessAction, AccessRecord

# Request line and headers have at most 8 KB each, a key 1 KB, which percent-encoding makes up to nine times as long.
LONGEST_LINE_BYTES: Final = 64 * 1024
_LONGEST_KEY: Final = 9 * 1024
_FIELDS: Final = re.compile(
    r"[^ ]{1,128} [^ ]{1,255} "  # the bucket's owner, the bucket
    r"\[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4}):(?P<time>\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})\] "
    r"(?P<ip>[0-9A-Fa-f:.]{1,64}|-) (?P<principal>[^ \"]{1,2048}) [^ ]{1,128} "  # the last is the request's id
    rf"(?P<operation>[A-Za-z0-9_.]{{1,128}}) (?P<key>[^ ]{{1,{_LONGEST_KEY}}}) (?P<rest>(?:\"|-).*)",
    re.ASCII | re.DOTALL,
)
_STATUS: Final = re.compile(r"(?:^-|\") (\d{3}) ", re.ASCII)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_REFUSAL: Final = 400


def parse_line(line: bytes) -> AccessRecord | None:
    """Return the request in a line of a log, or None if the line has another form."""
    if len(line) > LONGEST_LINE_BYTES:
        return None
    found = _FIELDS.fullmatch(line.decode(errors="replace").rstrip("\r"))
    at = _time_of(found) if found else None
    if found is None or at is None:
        return None
    key = None if found["key"] == "-" else _decoded(found["key"])
    operation = found["operation"]
    statuses = [int(status) for status in _STATUS.findall(found["rest"])]
    return AccessRecord(
        at=at,
        principal=found["principal"],
        ip=found["ip"],
        operation=operation,
        action=action_of(operation, has_key=key is not None),
        key=key,
        succeeded=not statuses or min(statuses) < _FIRST_REFUSAL,
    )


def action_of(operation: str, *, has_key: bool) -> AccessAction:
    """Return what an operation does, such as `REST.GET.OBJECT`; one that is not known counts as a change.

    Operations are `REST.method.resource`, `BATCH.DELETE.OBJECT` for each key of a deletion of several, and
    `REST.COPY.OBJECT_GET` for the source of a copy.
    """
    _, _, rest = operation.partition(".")
    method, _, resource = rest.partition(".")
    if method == "COPY" and resource.endswith("_GET"):
        return AccessAction.READ
    if resource == "MULTI_OBJECT_DELETE":
        return AccessAction.DELETE
    if "SELECT" in rest or (method == "GET" and resource in ("OBJECT", "PART", "OBJECT_TORRENT") and has_key):
        return AccessAction.READ
    if method in ("GET", "HEAD", "OPTIONS"):
        return AccessAction.LOOK
    if not has_key:
        return AccessAction.CONFIGURE
    return AccessAction.DELETE if method == "DELETE" else AccessAction.WRITE


def _time_of(found: re.Match[str]) -> datetime | None:
    try:
        month = _MONTHS.index(found["month"]) + 1
        clock = datetime.fromisoformat(f"{found['year']}-{month:02}-{found['day']}T{found['time']}")
        hours, minutes = int(found["zone"][:3]), int(found["zone"][0] + found["zone"][3:])
        return clock.replace(tzinfo=timezone(timedelta(hours=hours, minutes=minutes))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _decoded(key: str) -> str:
    """Return a key as people know it. AWS encodes it a second time when the request had it encoded."""
    return unquote(unquote(key))
