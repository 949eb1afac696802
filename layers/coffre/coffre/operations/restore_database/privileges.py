"""Which owners and privileges the restoring role can give at the destination."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from coffre.postgres.archive.entry_sql import definition_of
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.roles import split_statements
from coffre.postgres.destination.destination import Destination

_ROLE: Final = r'("(?:[^"]|"")+"|[^\s;"]+)'
_GRANTEE: Final = re.compile(rf"\b(?:TO|FROM) {_ROLE}(?: WITH GRANT OPTION)?;\s*\Z")
_FOR_ROLE: Final = re.compile(rf"\AALTER DEFAULT PRIVILEGES FOR ROLE {_ROLE} ")
_AUTHORIZATION: Final = re.compile(rf"\A(?:SET SESSION AUTHORIZATION {_ROLE}|RESET SESSION AUTHORIZATION);")
NO_ROLE: Final = "the role does not exist at the destination"


@dataclass(frozen=True)
class Privileges:
    """What can be given, by the roles of a destination. `by_id` has the entries of the backup."""

    destination: Destination
    by_id: Mapping[int, TocEntry]

    def statements(self, entry: TocEntry) -> Iterator[str]:
        """Yield the statements of an entry; who granted is given up where this role cannot act for them."""
        for statement in split_statements(definition_of(entry, self.by_id)):
            if found := _AUTHORIZATION.match(statement):
                role = _unquoted(found[1]) if found[1] else None
                is_possible = self.destination.capabilities.is_superuser and role in (None, *self.destination.roles)
                if not is_possible:
                    continue
            yield statement

    def is_providers(self, statement: str) -> bool:
        """Whether a privilege on what the provider has made is not the owner's: it is revoked, or a reserved role's."""
        found = _GRANTEE.search(statement)
        grantee = found[1] if found else "PUBLIC"
        is_own = statement.startswith("GRANT") and grantee != "PUBLIC"
        return not is_own or self.destination.profile.is_reserved(_unquoted(grantee))

    def missing_role(self, statement: str) -> str | None:
        """Return the role that a statement names and the destination lacks, as the statement writes it."""
        for pattern in (_GRANTEE, _FOR_ROLE):
            if found := pattern.search(statement):
                name = _unquoted(found[1])
                if found[1] != "PUBLIC" and name not in self.destination.roles:
                    return found[1]
        return None

    def may_give(self, role: str) -> bool:
        """Whether something can get this role as its owner, and does not have it already."""
        is_own = role == self.destination.capabilities.role
        return not is_own and self.why_not_given(role) is None

    def why_not_given(self, role: str) -> str | None:
        """Return why nothing can get this role as its owner; None: it can."""
        if role not in self.destination.roles:
            return NO_ROLE
        if not self.destination.capabilities.is_superuser and role not in self.destination.member_of:
            return f'"{self.destination.capabilities.role}" is not a member of this role'
        return None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
