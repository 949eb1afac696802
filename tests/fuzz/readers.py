"""Every reader of what comes from outside, as a function of bytes: it returns, or raises an error of Coffre's.

Each has seeds: inputs that it takes. Hypothesis changes them (test_readers.py); atheris looks for new paths
(`make fuzz`). What either of them found is a file below `corpus/<reader>/` and a seed as well.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from backports import zstd

from coffre.alerts.destinations import parse_destinations
from coffre.alerts.message import Message
from coffre.buckets.client import parse_store_secret
from coffre.buckets.s3_xml import parse_page, parse_pairs
from coffre.model.configuration import parse_configuration
from coffre.model.configuration_mistakes import read_new_document
from coffre.model.errors import CoffreError
from coffre.model.manifest import Frame
from coffre.postgres.archive.reader import Archive, Compression, Section, TocEntry, read_archive
from coffre.postgres.archive.writer import LargeObject, custom_header, large_objects_block, read_large_objects
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.runtime.events.backup import BackupStorageEvent, parse_backup, parse_database_backup
from coffre.runtime.events.drill import DrillEvent
from coffre.runtime.events.notify import NotifyEvent
from coffre.runtime.events.restore import parse_restore
from coffre.runtime.events.rotate import parse_rotate
from coffre.runtime.events.verify import VerifyEvent
from coffre.stores.checks import too_large
from coffre.stores.s3_errors import Call
from coffre.stores.store import ObjectInfo, Store
from coffre.vault.bucket_progress import read_progress
from coffre.vault.codec import FrameDecoder, FrameEncoder, new_identity, parse_identities, parse_recipient, public_key
from coffre.vault.damage import read_damage
from coffre.vault.entry_lines import parse_lines
from coffre.vault.object_restores import read_names, read_state
from coffre.vault.reports import DrillReports
from coffre.vault.vault import Vault

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = Path(__file__).parent / "corpus"
BACKUP_ID: Final = "01M80CQHV1E87Z6EGTND1V2QFV"
IDENTITY: Final = new_identity()
MOST_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Reader:
    """One reader: `read` takes any bytes. `seeds` are inputs that it reads without an error."""

    name: str
    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]

    def run(self, data: bytes) -> CoffreError | None:
        """Read; return the error of Coffre's that it ended with. Any other error is raised: it is a finding."""
        try:
            self.read(data)
        except CoffreError as error:
            return error
        return None

    @property
    def corpus(self) -> tuple[bytes, ...]:
        """Seeds, and the inputs that once broke it."""
        return (*self.seeds, *(path.read_bytes() for path in sorted((CORPUS / self.name).glob("*")) if path.is_file()))


class OneObject:
    """A store that has one object below every key."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def get(self, key: str, *, limit_bytes: int = MOST_BYTES) -> bytes:
        if len(self._body) > limit_bytes:
            raise too_large(key, len(self._body), limit_bytes)
        return self._body

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        names = {"marks/": "pin.json", "reports/damage": "-01M80CQHV1E87Z6EGTND1V2QFV.json"}
        name = next((name for end, name in names.items() if prefix.endswith(end)), f"drill-{BACKUP_ID}.json")
        yield ObjectInfo(f"{prefix}{name}", len(self._body))


def _vault(body: bytes) -> Vault:
    return Vault(cast("Store", OneObject(body)))


def _json(read: Callable[[Any], object]) -> Callable[[bytes], object]:
    """Read events as Lambda gives them: JSON that Lambda itself has parsed."""

    def of_bytes(data: bytes) -> object:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return read(event)

    return of_bytes


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _frame(stored: bytes) -> bytes:
    decoder = FrameDecoder([IDENTITY])
    plaintext, _ = decoder.open(stored, FRAME)
    if plaintext != PLAINTEXT:
        raise AssertionError("other bytes were taken for those of the frame")
    return plaintext


def _archive(data: bytes) -> object:
    file = io.BytesIO(data)
    archive = read_archive(file)
    for _, objects in read_large_objects(file):
        for one in objects:
            for _ in one.chunks:
                pass
    return [entry.shown for entry in archive.entries]


# --- seeds ---


def _events(*folders: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for folder in folders for path in sorted((ROOT / "events" / folder).glob("*.json")))


def _example(document: str) -> bytes:
    """Return the first JSON example of a document of the format."""
    (found, *_) = re.findall(r"```json\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    return str(found).encode()


PLAINTEXT: Final = b"1\tAda\n2\tGrace\n" * 100
FRAME: Final = Frame(
    pack=f"v1/packs/{BACKUP_ID}/000000-f4ee7092-0000",
    offset=0,
    length=100,
    size=len(PLAINTEXT),
    sha256=hashlib.sha256(PLAINTEXT).hexdigest(),
)
_FRAMES: Final = (
    FrameEncoder([public_key(IDENTITY)]).encode(PLAINTEXT),
    FrameEncoder([]).encode(PLAINTEXT),
)
_ENTRY: Final = next(
    line for line in (ROOT / "docs/format/buckets.md").read_text().splitlines() if line.startswith('{"name":"uploads/')
).encode()
_MANIFEST: Final = _example("docs/format/v1.md")
_CONFIGURATION: Final = b"""{"version": 1, "encryption": "age", "recipients": ["%s"], "targets": [
{"name": "main", "kind": "database", "secret": "coffre/database/main", "limits": {"streams": 4},
"alerts": {"heartbeat_url": "https://example.com/beat"}},
{"name": "files", "kind": "bucket", "buckets": [{"name": "uploads", "exclude": ["**.tmp"]}], "drill": {"objects": 5}}
]}""" % public_key(IDENTITY).encode()
_PAGE: Final = b"""<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>
<Contents><Key>a%20b</Key><Size>3</Size><ETag>"e"</ETag><LastModified>2026-11-17T03:00:00.000Z</LastModified></Contents>
</ListBucketResult>"""
_DAMAGE: Final = json.dumps(
    {
        "backup_id": BACKUP_ID,
        "target": "shop",
        "level": "read",
        "found_at": "2026-11-22T01:08:04Z",
        "damages": [],
        "total": 0,
    }
).encode()
_STATE: Final = json.dumps(
    {"restore_id": BACKUP_ID, "result": {"scope": {"mode": "missing"}, "store_secret": None}}
).encode()
_ARCHIVE: Final = b"".join(
    (
        *custom_header(
            Archive(
                (1, 16, 0),
                Compression.NONE,
                (1, 2, 3, 4, 5, 126, 0),
                "shop",
                "18.0",
                "18.0",
                (TocEntry(1, 1259, 17000, "TABLE", "orders", "public", "ada", Section.PRE_DATA, "CREATE TABLE x ();"),),
            )
        ),
        *large_objects_block(2, [LargeObject(17, iter([b"abc"]))], Compression.NONE),
    )
)

READERS: Final = (
    Reader("manifest", lambda data: _vault(data).find_manifest("shop", BACKUP_ID), (_MANIFEST,)),
    Reader("entries", lambda data: list(parse_lines(data, where="here")), (zstd.compress(_ENTRY + b"\n"),)),
    Reader("entry_lines", lambda data: list(parse_lines(zstd.compress(data), where="here")), (_ENTRY + b"\n",)),
    Reader("frame", _frame, _FRAMES),
    Reader("archive", _archive, (_ARCHIVE,)),
    Reader(
        "marks", lambda data: _vault(data).read_marks("shop", BACKUP_ID), (b'{"tier": "DAILY"}', b'{"pinned_at": null}')
    ),
    Reader("damage", lambda data: read_damage(_vault(data), "shop", BACKUP_ID), (_DAMAGE,)),
    Reader("drill_report", lambda data: DrillReports(_vault(data).store).newest("shop", BACKUP_ID), ()),
    Reader("restore_report", lambda data: _vault(data).read_report("v1/restores/x.json"), ()),
    Reader("restore_state", lambda data: read_state(_vault(data), BACKUP_ID), (_STATE,)),
    Reader("progress", lambda data: read_progress(_vault(data), "shop", BACKUP_ID), ()),
    Reader(
        "names", lambda data: list(read_names(_vault(data), ["k"])), (zstd.compress(b'{"name": "a"}\n{"name": "b"}\n'),)
    ),
    Reader("name_lines", lambda data: list(read_names(_vault(zstd.compress(data)), ["k"])), (b'{"name": "a"}\n',)),
    Reader("new_configuration", lambda data: read_new_document(data, where="here"), (_CONFIGURATION,)),
    Reader("configuration", _text(lambda text: parse_configuration(text, where="here")), (_CONFIGURATION,)),
    Reader("backup_event", _json(parse_database_backup), _events("backup_database")),
    Reader("bucket_event", _json(lambda event: parse_backup(event, BackupStorageEvent)), _events("backup_storage")),
    Reader("restore_event", _json(parse_restore), _events("restore")),
    Reader("rotate_event", _json(parse_rotate), _events("rotate")),
    Reader("verify_event", _json(VerifyEvent.parse), _events("verify")),
    Reader("drill_event", _json(DrillEvent.parse), _events("drill")),
    Reader("notify_event", _json(lambda event: NotifyEvent.parse(event).messages), _events("notify")),
    Reader(
        "alarm",
        _text(lambda text: Message.of_sns("subject", text, {})),
        (b'{"AlarmName": "a", "NewStateValue": "OK"}',),
    ),
    Reader(
        "alert_urls",
        _text(lambda text: parse_destinations(text, where="here")),
        (b'["https://example.com/hook"]', b"slack://a/b/c\n"),
    ),
    Reader(
        "database_secret",
        _text(lambda text: parse_secret(text, where="here")),
        (
            b"postgresql://ada:x@db.example.com:5432/shop?sslmode=require",
            b'{"host": "h", "username": "u", "password": "p", "dbname": "d", "port": 5432}',
        ),
    ),
    Reader(
        "store_secret",
        _text(lambda text: parse_store_secret(text, where="here")),
        (b'{"access_key_id": "a", "secret_access_key": "b", "endpoint": "https://s3.example.com"}',),
    ),
    Reader("identities", _text(parse_identities), (b"# mine\n" + IDENTITY.encode(),)),
    Reader("recipient", _text(parse_recipient), (public_key(IDENTITY).encode(),)),
    Reader(
        "tags",
        lambda data: list(
            parse_pairs(data, "Tag", "Key", "Value", Call("s3:GetObjectTagging", "b", "k", "https://s3"))
        ),
        (b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",),
    ),
    Reader(
        "listing", lambda data: parse_page(data, Call("s3:ListBucket", "b", "", "https://s3.example.com")), (_PAGE,)
    ),
)
