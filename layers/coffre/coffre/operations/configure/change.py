"""Plans a new version of the configuration document, and writes it. Each version leaves an audit event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.configuration_mistakes import read_new_document
from coffre.model.configuration_version import (
    ConfigurationVersion,
    CurrentConfiguration,
    WantedDocument,
    sha256_of,
)
from coffre.model.confirmation import Act, Facts, Overwritten, Plan, Request, Seen
from coffre.model.errors import ConfigurationError
from coffre.policy.configuration_change import Change, changes, listed

NAME: Final = "configuration"
"""What a person types to confirm a change that may weaken the protection."""


@dataclass(frozen=True)
class ConfigurationChange:
    """A document that `actor` wants to be in effect instead of the `current` one.

    Raises
    ------
    ConfigurationError
        From each method: `CONFIGURATION_INVALID`, `CONFIGURATION_UNCHANGED`, or `CONFIGURATION_CHANGED`: another person
        was faster. Nothing was written.
    """

    catalog: Catalog
    current: CurrentConfiguration
    wanted: WantedDocument
    actor: Actor
    now: datetime

    @cached_property
    def changes(self) -> list[Change]:
        """What the document would change."""
        after = read_new_document(self.wanted.document, where="the event")
        if self.wanted.based_on != self.current.number:
            raise changed_meanwhile(self.wanted.based_on, self.current)
        if sha256_of(self.wanted.document) == sha256_of(self.current.document):
            raise ConfigurationError(
                "This document is the one in effect: nothing was written.", code="CONFIGURATION_UNCHANGED"
            )
        return changes(_readable(self.current.document), after)

    def plan(self) -> Plan:
        """Return what a person has to confirm."""
        found = self.changes
        lost = Overwritten(changes=listed(found), weakens=listed([one for one in found if one.weakens]))
        scope = {"sha256": sha256_of(self.wanted.document), "based_on": self.wanted.based_on, "note": self.wanted.note}
        request = Request(act=Act.CONFIGURATION, target="", backup_id=self._subject, manifest_sha256="", scope=scope)
        facts = Facts(exact={"the document in effect": sha256_of(self.current.document)})
        return Plan(request=request, seen=Seen(destination=f"the {NAME}", name=NAME, facts=facts, overwrites=lost))

    def write(self) -> ConfigurationVersion:
        """Write the next version; it is in effect from the next run on."""
        words = listed(self.changes)
        version = self.current.next_version(self.wanted, self.actor, self.now, words)
        said = [f"{self.wanted.note}." if self.wanted.note else "", "; ".join(words) or "layout alone"]
        detail = f"SHA-256 {version.sha256}. {' '.join(filter(None, said))}"
        # What cannot be recorded is not done; the condition of the write decides between two at the same time.
        with self.catalog.audit.recorded(self.now, self.actor, "configuration.changed", None, self._subject, detail):
            if not self.catalog.configurations.add(version):
                raise changed_meanwhile(self.wanted.based_on, self.current)
        return version

    @property
    def _subject(self) -> str:
        return f"version {self.current.number + 1}"


def changed_meanwhile(based_on: int, current: CurrentConfiguration) -> ConfigurationError:
    """Return the error for a document that was made from a version which is not in effect any more."""
    newest = current.version
    by = f", written by {newest.actor} at {newest.at:%Y-%m-%d %H:%M} UTC" if newest and newest.number > based_on else ""
    return ConfigurationError(
        f"The configuration was changed meanwhile: this document was made from version {based_on}.",
        code="CONFIGURATION_CHANGED",
        detail=f"In effect is version {current.number}{by}." if current.number != based_on else None,
        hint=f"Nothing was written. coffre config diff {based_on} shows what was changed; make your change again.",
    )


def _readable(document: str) -> Configuration | None:
    """Return a document that is in effect; None: it is not valid, and the new one mends that."""
    try:
        return parse_configuration(document, where="")
    except ConfigurationError:
        return None
