"""Versions of the configuration document: what was in effect since when, and who changed what (docs/configuration.md).

The template's document, in an SSM parameter, is in effect until the first version is written, and never afterwards: a
deployment does not undo what a person changed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime, Field

from coffre.model.audit import Actor
from coffre.model.document import Document

LONGEST_DOCUMENT_BYTES: Final = 350_000
"""DynamoDB holds 400 KB in one item (AWS, 2026-11); the rest is for who, when and what changed."""
LONGEST_NOTE: Final = 256
TEMPLATE: Final = 0
"""The number that stands for the template's document."""


class ConfigurationVersion(Document):
    """One version, which is never changed.

    `number` counts from 1 without gaps; 0 is the template's document, of which the vault has a copy too. `actor` wrote
    it `at` that time; `verified`: STS has proven who that was. `changes` says in words what is different from the
    version before. `sha256` is of `document` in UTF-8, `template_sha256` of the template's document at that time (None:
    it could not be read).
    """

    number: int = Field(ge=0)
    at: AwareDatetime
    actor: str = Field(min_length=1)
    verified: bool = False
    note: str | None = Field(default=None, max_length=LONGEST_NOTE)
    changes: tuple[str, ...] = ()
    sha256: str
    template_sha256: str | None = None
    document: str


@dataclass(frozen=True)
class WantedDocument:
    """A document that a person wants to be in effect, because of `note`; made from the version `based_on`."""

    document: str
    based_on: int
    note: str | None = None


@dataclass(frozen=True)
class CurrentConfiguration:
    """The document that is in effect, and the template's.

    Attributes
    ----------
    version
        The newest version; None: the template's document is in effect.
    template
        The template's document. None: it could not be read, and is not needed.
    template_at
        When the template's document was last changed, if that is known.
    template_place
        Where the template's document is: an SSM parameter's name, or `file:` and a path.
    """

    version: ConfigurationVersion | None
    template: str | None
    template_at: datetime | None
    template_place: str

    @property
    def number(self) -> int:
        """The number of the version in effect; 0: the template's document."""
        return self.version.number if self.version else TEMPLATE

    @property
    def document(self) -> str:
        """The document in effect."""
        return self.version.document if self.version else self.template or ""

    @property
    def changed_at(self) -> datetime | None:
        """When what is in effect was written, if that is known."""
        return self.version.at if self.version else self.template_at

    @property
    def place(self) -> str:
        """Where the document in effect is, for messages."""
        return f"version {self.version.number} (coffre config show)" if self.version else self.template_place

    @property
    def template_has_changed(self) -> bool:
        """Whether the template's parameters have changed since the newest version was written, to something else."""
        if self.version is None or self.template is None or self.version.template_sha256 is None:
            return False
        now = sha256_of(self.template)
        return now not in (self.version.template_sha256, self.version.sha256)

    def as_version(self) -> ConfigurationVersion | None:
        """Return what is in effect as a version; None for a template's document of which no time is known."""
        if self.version is not None or self.template is None or self.template_at is None:
            return self.version
        sha256 = sha256_of(self.template)
        return ConfigurationVersion(
            number=TEMPLATE, at=self.template_at, actor="template", sha256=sha256, document=self.template
        )

    def next_version(
        self, wanted: WantedDocument, actor: Actor, now: datetime, changes: tuple[str, ...]
    ) -> ConfigurationVersion:
        """Return the version that follows this one."""
        return ConfigurationVersion(
            number=self.number + 1,
            at=now,
            actor=actor.name,
            verified=actor.verified,
            note=wanted.note,
            changes=changes,
            sha256=sha256_of(wanted.document),
            template_sha256=sha256_of(self.template) if self.template is not None else None,
            document=wanted.document,
        )


TEMPLATE_CHANGED: Final = (
    "The template's parameters have changed since the newest version of the configuration was written. They are not in "
    "effect: coffre config diff template shows the difference, coffre config restore template puts them in effect."
)


def sha256_of(document: str) -> str:
    """Return the SHA-256 of a document in UTF-8, in lower-case hex."""
    return hashlib.sha256(document.encode()).hexdigest()
