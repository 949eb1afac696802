"""What of a backup a destination cannot have, as far as it is known before anything is tried."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from coffre.operations.restore_database.job import Source
from coffre.operations.restore_database.provider_objects import Fate
from coffre.postgres.archive.dangling_references import missing_relation, relations
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.destination import Destination
from coffre.postgres.destination.ledger import Ledger


def leave_out_known(
    ledger: Ledger,
    source: Source,
    destination: Destination,
    wanted: Collection[int] | None = None,
    fates: Mapping[int, Fate] = MappingProxyType({}),
) -> list[TocEntry]:
    """Record in the ledger what cannot be made, with what needs it, and return the other entries in their order.

    Everything else is tried: the server knows best what a role may do.

    Parameters
    ----------
    wanted
        The dump ids of the entries that are asked for; default: all.
    fates
        What the destination's provider makes itself.
    """
    reason_of = _reasons(source, destination)
    kept = []
    for entry in source.toc:
        if wanted is not None and entry.dump_id not in wanted:
            continue
        fate = fates.get(entry.dump_id)
        if fate is Fate.GIVEN or ledger.is_lost(entry):
            continue
        if fate is Fate.LACKING:
            ledger.refuse(entry, destination.profile.definitions.reason)
        elif (reason := reason_of(entry)) is not None:
            ledger.refuse(entry, reason)
        else:
            kept.append(entry)
    return kept


def is_made(entry: TocEntry, destination: Destination) -> bool:
    """Whether an entry is a schema that exists: `pg_dump` writes `public` when it is not as it was created."""
    return entry.description == "SCHEMA" and entry.tag in destination.schemas


def _reasons(source: Source, destination: Destination) -> Callable[[TocEntry], str | None]:
    absent = set(source.content.roles) - destination.roles
    policy_roles = source.content.policy_roles
    present = relations(source.toc)

    def reason_of(entry: TocEntry) -> str | None:
        if entry.description == "EXTENSION" and entry.tag not in destination.extensions_available:
            return "the destination's server does not have this extension"
        if entry.description == "POLICY":
            roles = sorted(set(policy_roles.get(entry.oid, ())) - destination.roles)
            return f"the destination lacks the role {', '.join(roles)}" if roles else None
        if entry.description == "USER MAPPING" and (role := _user_of(entry, absent)) is not None:
            return f"the destination lacks the role {role}"
        missing = missing_relation(entry, present, source.content.encoding)
        return f"the backup does not have {missing}" if missing is not None else None

    return reason_of


def _user_of(mapping: TocEntry, roles: set[str]) -> str | None:
    """Return which of the roles a user mapping is for: its tag is `USER MAPPING <role> SERVER <server>`."""
    return next((role for role in sorted(roles) if mapping.tag.startswith(f"USER MAPPING {role} SERVER ")), None)
