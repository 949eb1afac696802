"""Lambda function `rotate`: delete the backups that have outlived their tiers, and sweep the vault."""

from __future__ import annotations

from typing import Any

from coffre.runtime.bootstrap import rotate_function
from coffre.runtime.function import LambdaContext


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/rotate/`."""
    return rotate_function().handle(event, context)
