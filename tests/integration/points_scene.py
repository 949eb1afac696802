"""A restore point from its configuration to what is in the vault: both functions, real PostgreSQL, a real S3 store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tests.contract.weed import OWNER
from tests.integration.conftest import Coffre, Context

from coffre.model.backup import Backup
from coffre.model.manifest import Entry
from coffre.model.points import PointRecord
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.vault.codec import FrameDecoder, public_key


@dataclass
class Invoked:
    """Lambda, as far as the functions call it: what is started is kept, until a test lets it run."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    error: Exception | None = None
    then: Callable[[], None] = lambda: None

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert InvocationType == "Event"
        if self.error is not None:
            raise self.error
        self.events.append((FunctionName, json.loads(Payload)))
        self.then()


@dataclass
class PointScene:
    """The target `shop`, the target `files` with one bucket, and the point `shop` of both."""

    coffre: Coffre
    endpoint: str
    bucket: str
    invoked: Invoked = field(default_factory=Invoked)

    def configure(self, database: str, limits: Mapping[str, Any] = MappingProxyType({}), **point: Any) -> None:
        """Write the configuration: `limits` of the database's target, and what the point says besides its targets."""
        self.coffre.secret("coffre/database/shop", database)
        key = {"access_key_id": OWNER.access_key_id, "secret_access_key": OWNER.secret_access_key}
        self.coffre.secret("coffre/storage/weed", json.dumps(key))
        store = {"endpoint": self.endpoint, "secret": "coffre/storage/weed"}
        files = {"name": "files", "kind": "bucket", "store": store, "buckets": [{"name": self.bucket}]}
        document = {
            "encryption": "age",
            "recipients": [public_key(self.coffre.identity)],
            "targets": [{"name": "shop", "secret": "coffre/database/shop", "limits": dict(limits)}, files],
            "points": [{"name": "shop", "database": "shop", "buckets": ["files"], **point}],
        }
        self.coffre.document(json.dumps(document))

    def backup_database(self, **event: Any) -> dict[str, Any]:
        """Invoke `backup_database` for the target `shop`."""
        function = self.coffre.backup_function()
        vars(function.services)["functions"] = self.invoked
        return function.handle({"target": "shop", **event}, Context())

    def backup_storage(self, **event: Any) -> dict[str, Any]:
        """Invoke `backup_storage`."""
        function: BackupStorageFunction = self.coffre._function(BackupStorageFunction.make)
        vars(function.services)["functions"] = self.invoked
        return function.handle(event, Context(function_name="backup-storage"))

    def run_started(self) -> list[dict[str, Any]]:
        """Let the backups of buckets run that were started."""
        events, self.invoked.events = self.invoked.events, []
        return [self.backup_storage(**event) for _, event in events]

    def take(self, between: Callable[[], None] = lambda: None) -> PointRecord:
        """Take a point by hand; `between` the snapshot and the backup of the bucket something happens."""
        self.backup_database(point="shop")
        between()
        self.run_started()
        return self.newest()

    def newest(self) -> PointRecord:
        """The point that was begun last."""
        return next(self.coffre.catalog.points.all())

    def files(self, point: PointRecord) -> Backup:
        """The backup of the bucket of a point."""
        return self.coffre.catalog.get_backup(point.buckets[0].backup_id)

    def entries(self, point: PointRecord) -> dict[str, Entry]:
        """The entries of that backup."""
        vault = self.coffre.backup_function().services.vault
        return {entry.name: entry for entry in vault.entries(manifest_of(vault, self.files(point)))}

    def bodies(self, point: PointRecord) -> dict[str, bytes]:
        """What that backup has of each object, by its key."""
        vault, decoder = self.coffre.backup_function().services.vault, FrameDecoder([self.coffre.identity])
        return {
            name.partition("/")[2]: b"".join(vault.read_entry(entry, decoder))
            for name, entry in self.entries(point).items()
            if entry.object is not None and entry.object.unread is None
        }
