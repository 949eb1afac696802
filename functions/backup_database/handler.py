"""Lambda function `backup_database`: back up one database target, or start one invocation for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.backup_database_function import BackupDatabaseFunction
    from coffre.runtime.bootstrap import once

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(BackupDatabaseFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/backup_database/`."""
    return function().handle(event, context)
