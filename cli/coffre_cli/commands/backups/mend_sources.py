"""Which copies `coffre mend` reads: those of the configuration, or one at any address."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

import typer

from coffre.model.errors import CopyUnknownError
from coffre_cli.place import Place
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.stores.store import Store
    from coffre.stores.with_copies import Place as Source

_ADDRESS: Final = re.compile(r"[/.~]|.*[:/]", re.DOTALL)
_CONNECTIONS: Final = 32


def sources_of(place: Place, target: str, source: str | None, backup_id: str | None = None) -> list[Source]:
    """Return the copies to read, those first that are most likely whole.

    Parameters
    ----------
    source
        The name of one of the configuration, or an address; None: every copy of the target.
    backup_id
        The backup that is looked for; None: a journal.

    Raises
    ------
    CopyUnknownError
        No copy is configured for this target, or none has this name.
    """
    from coffre.operations.stored_backup.read_copies import most_likely_first
    from coffre.runtime.copy_destinations import Opening
    from coffre.runtime.reading import places_of
    from coffre.runtime.sources import read_secret
    from coffre.stores.with_copies import Place as Source

    if source is not None and _ADDRESS.match(source) is not None:
        return [Source(source, partial(_open, source))]
    if isinstance(place, StandaloneVault):
        raise typer.BadParameter("with --vault, --from has to be the address of a copy: directory:DIR, s3://BUCKET ...")
    configuration, copies = place.configuration, place.catalog.copies
    if source is not None:
        chosen = [configuration.destination(source)]
    else:
        chosen = most_likely_first(
            configuration.copies_of(target), lambda name: copies.find(name, backup_id) if backup_id else None
        )
    if not chosen:
        raise CopyUnknownError(
            f"The configuration has no copy of {target}: no place is known that has good bytes.",
            hint=f"Name one: coffre mend {backup_id or f'--journal {target}'} --from directory:DIR (or "
            "s3://BUCKET/PREFIX). Older versions of objects in the vault's bucket: docs/runbooks/VERIFY_FAILED.md",
        )
    return places_of(chosen, lambda name: read_secret(place.secrets, name), Opening(_CONNECTIONS))


def _open(address: str) -> Store:
    from coffre.model.addresses import parse_address
    from coffre.runtime.copy_destinations import Opening, open_address

    return open_address(parse_address(address), Opening(_CONNECTIONS))
