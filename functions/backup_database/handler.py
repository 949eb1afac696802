"""Lambda function `backup_database`: back up one database target, or start one invocation for each."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import backup_database_function
from coffre.runtime.function import LambdaContext


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/backup_database/`."""
    return backup_database_function().handle(event, context)
