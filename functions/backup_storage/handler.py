"""Lambda function `backup_storage`: back up the buckets of one target, or start one invocation for each target."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import backup_storage_function
from coffre.runtime.function import LambdaContext


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/backup_storage/`."""
    return backup_storage_function().handle(event, context)
