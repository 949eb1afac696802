"""Lambda function `backup_database`: back up one database target, or start one invocation for each."""

from __future__ import annotations

from typing import Any

from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.bootstrap import once
from coffre.runtime.function import LambdaContext

function = once(BackupDatabaseFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/backup_database/`."""
    return function().handle(event, context)
