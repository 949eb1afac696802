"""What of a backup the destination's provider makes itself: left to it, with what the owner added to it kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from coffre.model.words import counted
from coffre.operations.restore_database.job import Source
from coffre.policy.profiles import Profile, fits
from coffre.postgres.archive.entry_sql import ACL
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.destination import Destination

_NAME: Final = r'("(?:[^"]|"")+"|[^\s;."()]+)'
_CALLED: Final = re.compile(rf"\bEXECUTE (?:FUNCTION|PROCEDURE) {_NAME}\.")
_OF_SCHEMA: Final = "SCHEMA "
_IN_EXTENSION: Final = re.compile(rf"( WITH SCHEMA ){_NAME}(;\s*)\Z")
_ABOUT: Final = frozenset({"COMMENT", "SECURITY LABEL", *ACL})
_PARTS_OF_TABLES: Final = frozenset({"INDEX", "FK CONSTRAINT", "SEQUENCE", "RULE"})


class Fate(Enum):
    """What happens to an entry that is not simply made.

    `GIVEN`: left to the provider, which has it. `LACKING`: the provider alone could make it, and has not. `OWN_GRANTS`:
    privileges on what is given, of which only those of the owner's own roles are set.
    """

    GIVEN = auto()
    LACKING = auto()
    OWN_GRANTS = auto()


def fates(
    destination: Destination, toc: Sequence[TocEntry], absent: Callable[[list[TocEntry]], list[TocEntry]]
) -> dict[int, Fate]:
    """Return the fate of each entry that is not simply made, by dump id.

    Parameters
    ----------
    absent
        Returns those of some entries whose object the destination lacks.
    """
    if not destination.given:
        return {}
    decision = _Decision(destination, toc)
    touched = [entry for entry in toc if decision.concerns(entry)]
    missing = {entry.dump_id for entry in absent(touched)}
    for entry in touched:
        decision.decide(entry, is_missing=entry.dump_id in missing)
    return decision.fates


class _Decision:
    """Decides entry after entry, in the archive's order: what others need comes first."""

    def __init__(self, destination: Destination, toc: Sequence[TocEntry]) -> None:
        self._given = destination.given
        self._profile = destination.profile
        self._by_id = {entry.dump_id: entry for entry in toc}
        self._own: set[int] = set()
        self.fates: dict[int, Fate] = {}

    def concerns(self, entry: TocEntry) -> bool:
        """Whether an entry is in, or about, what the provider makes."""
        if entry.description in ("PUBLICATION", "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "EVENT TRIGGER"):
            return True
        if entry.description == "COMMENT" and entry.tag.startswith(("EXTENSION ", "EVENT TRIGGER ", "PUBLICATION ")):
            return True
        if entry.description == "DEFAULT ACL" and self._profile.is_reserved(entry.owner):
            return True
        return schema_of(entry) in self._given

    def decide(self, entry: TocEntry, *, is_missing: bool) -> None:
        """Decide about one entry."""
        fate = self._fate(entry, is_missing=is_missing)
        if fate is not None:
            self.fates[entry.dump_id] = fate
        else:
            self._own.add(entry.dump_id)

    def _needs(self, entry: TocEntry) -> list[TocEntry]:
        return [self._by_id[one] for one in entry.dependencies if one in self._by_id]

    def _fate(self, entry: TocEntry, *, is_missing: bool) -> Fate | None:
        kind = entry.description
        if kind.startswith("PUBLICATION"):
            return self._of_publication(entry, is_missing=is_missing)
        if kind in ("TRIGGER", "EVENT TRIGGER"):
            return self._of_trigger(entry, is_missing=is_missing)
        if kind == "POLICY":
            is_own = is_missing and not fits(entry.tag.partition(" ")[2], self._profile.definitions.policies)
            return None if is_own else Fate.GIVEN
        if kind in _ABOUT:
            return self._of_words(entry)
        if self._is_of_left_out(entry):
            return Fate.GIVEN
        if any(one.dump_id in self._own or self.fates.get(one.dump_id) is Fate.LACKING for one in self._needs(entry)):
            return None  # a part of what is the owner's goes with it
        if not is_missing:
            return Fate.GIVEN
        return Fate.LACKING if self._profile.is_managed(schema_of(entry) or "") else None

    def _of_publication(self, entry: TocEntry, *, is_missing: bool) -> Fate | None:
        definitions = self._profile.definitions
        if entry.description == "PUBLICATION":
            is_known = fits(entry.tag, (*definitions.publications, *definitions.managed_publications))
            return Fate.GIVEN if is_known and not is_missing else None
        is_managed = any(
            home.description == "PUBLICATION" and fits(home.tag, definitions.managed_publications)
            for home in self._needs(entry)
        )
        return Fate.GIVEN if is_managed else None

    def _of_trigger(self, entry: TocEntry, *, is_missing: bool) -> Fate | None:
        """Decide about a trigger: the provider's own call functions of its own schema."""
        if (called := _CALLED.search(entry.definition)) is None:
            return None
        schema = called[1][1:-1].replace('""', '"') if called[1].startswith('"') else called[1]
        if entry.description == "EVENT TRIGGER":
            return Fate.GIVEN if schema in self._given else None
        return Fate.GIVEN if schema == entry.schema or not is_missing else None

    def _of_words(self, entry: TocEntry) -> Fate | None:
        """Decide about a comment, a label or privileges: made where they are about what is the owner's."""
        if entry.description == "DEFAULT ACL" or entry.tag.startswith("EXTENSION "):
            return Fate.GIVEN
        is_own = any(one.dump_id not in self.fates for one in self._needs(entry))
        if entry.description in ACL:
            return None if is_own else Fate.OWN_GRANTS
        return None if is_own else Fate.GIVEN

    def _is_of_left_out(self, entry: TocEntry) -> bool:
        """Whether an entry is, or is a part of, a table that is not missed: its rows are left out without a loss."""
        schema = schema_of(entry) or ""
        if (rule := self._profile.left_out(schema, entry.tag)) is not None and not rule.is_loss:
            return True
        return entry.description in _PARTS_OF_TABLES and any(
            home.description == "TABLE" and self._is_of_left_out(home) for home in self._needs(entry)
        )


def schema_of(entry: TocEntry) -> str | None:
    """Return the schema that an entry is in, makes or is about."""
    if entry.description == "SCHEMA":
        return entry.tag
    if entry.schema is None and entry.tag.startswith(_OF_SCHEMA) and entry.description in _ABOUT:
        return entry.tag.removeprefix(_OF_SCHEMA)
    return entry.schema


def with_extensions_placed(source: Source, profile: Profile) -> Source:
    """Return the source with each extension in the schema that the provider wants."""

    def placed(entry: TocEntry) -> TocEntry:
        wanted = profile.extensions.schemas.get(entry.tag)
        if entry.description != "EXTENSION" or not (wanted or entry.tag in profile.extensions.own_schema):
            return entry
        schema = rf"\g<1>{wanted}\g<3>" if wanted else r"\g<3>"
        return replace(entry, definition=_IN_EXTENSION.sub(schema, entry.definition))

    return replace(source, toc=tuple(map(placed, source.toc)))


def note_of_given(profile: Profile, toc: Iterable[TocEntry], fates: Mapping[int, Fate]) -> Iterator[str]:
    """Yield a sentence about the definitions that are left to the provider."""
    given = [schema_of(entry) or "" for entry in toc if fates.get(entry.dump_id) is Fate.GIVEN]
    if given:
        schemas = ", ".join(sorted({schema for schema in given if profile.is_known(schema)}))
        yield f"Left to {profile.title}, which makes them itself: {counted(len(given), 'definition')} ({schemas})."
