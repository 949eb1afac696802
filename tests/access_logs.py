"""Logs of accesses to the vault, as S3 writes them, and a store that has them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from coffre.model.errors import ObjectMissingError
from coffre.stores.body import Body
from coffre.stores.store import ObjectInfo

ACCOUNT, VAULT = "123456789012", "vault"
REGION: Final = "eu-west-1"
OWNER: Final = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
OWN: Final = f"arn:aws:sts::{ACCOUNT}:assumed-role/coffre-RestoreRole-1ABC/coffre-restore"
ALICE: Final = f"arn:aws:iam::{ACCOUNT}:user/alice"
MALLORY: Final = f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/mallory"
ROLES: Final = frozenset({"coffre-RestoreRole-1ABC", "coffre-VerifyRole-2DEF"})
NOON: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)


def line(
    principal: str = MALLORY,
    operation: str = "REST.GET.OBJECT",
    key: str | None = "v1/packs/01K9/000001-1-2",
    *,
    at: datetime = NOON,
    status: str = "200",
    ip: str = "192.0.2.3",
    request: str | None = None,
    agent: str = "aws-cli/2.0",
) -> str:
    """Return one line with every field that AWS documents."""
    name = "-" if key is None else quote(quote(key, safe="/"), safe="/")
    asked = f"GET /{quote(key or '', safe='/')} HTTP/1.1" if request is None else request
    time = f"{at:%d}/{at:%b}/{at:%Y:%H:%M:%S} +0000"
    return (
        f'{OWNER} {VAULT} [{time}] {ip} {principal} 3E57427F3EXAMPLE {operation} {name} "{asked}" {status} - 113 - 7 - '
        f'"-" "{agent}" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 '
        f"ECDHE-RSA-AES128-GCM-SHA256 AuthHeader {VAULT}.s3.{REGION}.amazonaws.com TLSV1.3 - - {REGION}"
    )


def log_key(day: datetime, name: str, vault: str = VAULT) -> str:
    return f"vault/{ACCOUNT}/{REGION}/{vault}/{day:%Y/%m/%d}/{day:%Y-%m-%d}-00-00-00-{name}"


@dataclass
class LogStore:
    """A store that gives what a test put into it, and counts what was read."""

    bodies: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)
    largest: int = 0

    def add(self, name: str, *lines: str, day: datetime = NOON, delivered: datetime | None = None) -> None:
        body = "".join(f"{one}\n" for one in lines).encode()
        self.bodies[log_key(day, name)] = (body, delivered or day + timedelta(hours=3))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        self.listed.append(prefix)
        for key, (body, delivered) in sorted(self.bodies.items()):
            if key.startswith(prefix):
                yield ObjectInfo(key, len(body), last_modified=delivered)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        body = self.bodies[key][0]
        if not body:
            raise ObjectMissingError("It was deleted.")
        if offset == 0:
            self.read.append(key)
        self.largest = max(self.largest, length)
        return body[offset : offset + length]

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        raise NotImplementedError

    def get(self, key: str, *, limit_bytes: int = 0) -> bytes:
        raise NotImplementedError

    def head(self, key: str) -> ObjectInfo:
        raise NotImplementedError

    def delete(self, key: str) -> None:
        raise NotImplementedError
