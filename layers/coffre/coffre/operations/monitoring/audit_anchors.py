"""Anchoring the audit chains: their heads go where the writers of the chains cannot change them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Anchor
from coffre.policy.audit_chain import Finding, StoredEvent, verify_chain
from coffre.vault.audit_anchors import newest_anchor, write_anchor
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Anchored:
    """The newest anchor, whether it was made just now, and what was wrong with the events since the one before."""

    anchor: Anchor
    is_new: bool
    findings: tuple[Finding, ...] = ()


def anchor_chains(catalog: Catalog, vault: Vault, now: datetime) -> Anchored | None:
    """Write an anchor if a head changed since the newest one. None: no chain has an event.

    What was recorded since is checked before. An anchor is written even if something is wrong: it is evidence too, and
    the older ones stay.

    Raises
    ------
    CoffreError
        The catalog or the vault did not answer, or `ANCHOR_DAMAGED`.
    """
    heads = catalog.audit.heads()
    before = newest_anchor(vault.store, now)
    if before is not None and before.heads == heads:
        return Anchored(before, is_new=False)
    if before is None and not heads:
        return None
    findings = _since(catalog, before) if before is not None else ()
    anchor = Anchor(
        id=str(ULID.from_datetime(now)), at=now, previous=before.id if before is not None else None, heads=heads
    )
    write_anchor(vault, anchor)
    return Anchored(anchor, is_new=True, findings=findings)


def _since(catalog: Catalog, before: Anchor) -> tuple[Finding, ...]:
    """Check the events since an anchor: they follow those that it names, and end at the heads."""
    heads = {head.shard: head for head in catalog.audit.heads()}
    named = {head.shard: head.sequence for head in before.heads}

    def stored() -> Iterator[StoredEvent]:
        for shard in sorted(heads.keys() | named.keys()):
            yield from catalog.audit.stored(shard, heads.get(shard), after=named.get(shard, 1) - 1)

    return verify_chain(stored(), heads.values(), (before,), tail=True).findings
