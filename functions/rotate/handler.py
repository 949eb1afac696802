"""Lambda function `rotate`: delete the backups that have outlived their tiers, and sweep the vault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.rotate_function import RotateFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(RotateFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/rotate/`."""
    return function().handle(event, context)
