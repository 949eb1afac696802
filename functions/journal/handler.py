"""Lambda function `journal`: store what changed in databases between their backups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coffre.runtime.kept_imports import kept_imports

with kept_imports():
    from coffre.runtime.bootstrap import once
    from coffre.runtime.journal_function import JournalFunction

if TYPE_CHECKING:
    from coffre.runtime.function import LambdaContext

function = once(JournalFunction.make)


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an event of `events/journal/`."""
    return function().handle(event, context)
