"""Lambda function `copy`: put backups into other vaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.copy_function import CopyFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(CopyFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/copy/`."""
    return function().handle(event, context)
