"""Lambda function `backup_storage`: back up the buckets of one target, or start one invocation for each target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.backup_storage_function import BackupStorageFunction
    from coffre.runtime.bootstrap import once

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(BackupStorageFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/backup_storage/`."""
    return function().handle(event, context)
