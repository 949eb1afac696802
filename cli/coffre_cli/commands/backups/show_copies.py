"""`coffre show`: in which copies of the vault a backup is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre.model.errors import CoffreError
from coffre.model.kinds import Status
from coffre.model.words import size
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.screen import age, remark, say

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.copies import Copy


def copies_of(place: Place, backup: Backup) -> list[Copy]:
    """Return the records of a backup in each configured copy that has one; a vault alone has no records."""
    if not isinstance(place, DeployedStack) or backup.is_safety or backup.status is Status.FAILED:
        return []
    try:
        found = [place.catalog.copies.find(one.name, backup.id) for one in place.configuration.copies]
    except CoffreError as error:  # the backup is shown all the same
        remark(f"Which copies have it is not known: {error.message}")
        return []
    return [copy for copy in found if copy is not None]


def show_copies(place: Place, backup: Backup) -> None:
    """Print a line for each copy."""
    for copy in copies_of(place, backup):
        is_bad = copy.damaged is not None or copy.error is not None
        say(f"  copy      {copy.destination}: {_words(copy)}", style="red" if is_bad else "")


def _words(copy: Copy) -> str:
    from coffre.model.copies import CopyStatus

    if copy.damaged is not None:
        return f"DAMAGED: {copy.damaged}"
    if copy.status is CopyStatus.FAILED:
        return f"FAILED: {copy.error}"
    if copy.status is not CopyStatus.COMPLETED or copy.completed_at is None:
        return f"{copy.status.value}, {size(copy.bytes)} sent so far" if copy.bytes else copy.status.value
    verified = f", found whole {age(copy.verified_at)}" if copy.verified_at is not None else ""
    return f"complete since {copy.completed_at:%Y-%m-%d %H:%M:%S} UTC{verified}; {size(copy.bytes)} were sent"
