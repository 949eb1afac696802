"""What Coffre knows of a provider: the model of the files `policy/profiles/*.toml`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from coffre.model.document import Document


@dataclass(frozen=True)
class ProviderFacts:
    """What is known of a server: its host, and which signs of the profiles it shows (see `Signs`)."""

    host: str = ""
    settings: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()


class Signs(Document):
    """By what a provider is recognized: any one of these.

    `hosts` are patterns of host names; the others are names: settings that the server knows, roles, functions.
    """

    hosts: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()

    def show(self, facts: ProviderFacts) -> bool:
        """Whether the facts have one of the signs."""
        host = facts.host.lower().rstrip(".")
        return any(fnmatchcase(host, pattern) for pattern in self.hosts) or not (
            facts.settings.isdisjoint(self.settings)
            and facts.roles.isdisjoint(self.roles)
            and facts.functions.isdisjoint(self.functions)
        )


class Address(Document):
    """Which address a backup needs, and with what its certificate is verified (`tls.ca`), each in a sentence."""

    use: str
    ca: str


class Definitions(Document):
    """Who makes what exists in the schemas of a provider.

    Parameters
    ----------
    managed
        Patterns of schemas in which only the provider makes anything: of these, a restore makes the owner's triggers,
        policies and privileges.
    shared
        Patterns of schemas that the provider fills, in which the owner may make more.
    publications
        Publications that exist in every project; a restore adds tables to them.
    managed_publications
        Those to which only the provider adds tables.
    policies
        Patterns of policies that extensions make.
    reason
        Why a definition that the destination lacks is not made there.
    """

    managed: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    managed_publications: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    reason: str = ""


class LeftOutRows(Document):
    """Tables and sequences (patterns `schema.name`) whose rows and values a restore leaves out, and why.

    `is_loss` says that something is missing then, which is reported as an exception.
    """

    tables: tuple[str, ...] = Field(min_length=1)
    reason: str
    is_loss: bool = False


class CalledRows(Document):
    """A table into which the provider permits no inserts: a query makes its rows, from the backup's in `{rows}`."""

    table: str
    query: str


class Rows(Document):
    """What happens to the rows of the provider's and its extensions' tables; all others are loaded.

    `in_use` are tables that have no rows in a fresh project. `transient_members` are patterns of tables of extensions
    whose rows no backup needs.
    """

    left_out: tuple[LeftOutRows, ...] = ()
    called: tuple[CalledRows, ...] = ()
    in_use: tuple[str, ...] = ()
    transient_members: tuple[str, ...] = ()


class Extensions(Document):
    """Where the provider wants extensions. `own_schema` are those that make their schema themselves."""

    schemas: dict[str, str] = Field(default={})
    own_schema: tuple[str, ...] = ()


class Profile(Document):
    """A provider.

    Parameters
    ----------
    name, title
        As the configuration names it, and for a person.
    checked
        When the facts were last compared with the provider's documentation or code.
    reserved_roles
        Patterns of roles that are the provider's (or PostgreSQL's): never created, altered or granted to.
    settings
        What each session of a restore sets.
    words
        Why this provider refuses definitions of a kind (as archives name them: `EVENT TRIGGER`), for its users.
    warnings
        What its users should know, among them what the provider's own backups do not cover.
    journal_plugin
        The output plugin of a journal's slot.
    """

    name: str
    title: str
    checked: date
    signs: Signs = Signs.model_construct()
    address: Address
    reserved_roles: tuple[str, ...] = ()
    definitions: Definitions = Definitions.model_construct()
    rows: Rows = Rows.model_construct()
    extensions: Extensions = Extensions.model_construct()
    settings: dict[str, str] = Field(default={})
    words: dict[str, str] = Field(default={})
    warnings: tuple[str, ...] = ()
    journal_plugin: Literal["test_decoding", "pgoutput"] = "test_decoding"

    @property
    def docs(self) -> str:
        """The document about this provider."""
        return f"docs/providers/{self.name}.md"

    def is_reserved(self, role: str) -> bool:
        """Whether a role is the provider's own."""
        return fits(role, self.reserved_roles)

    def is_managed(self, schema: str) -> bool:
        """Whether only the provider makes anything in a schema."""
        return fits(schema, self.definitions.managed)

    def is_known(self, schema: str) -> bool:
        """Whether the provider makes a schema, or fills it."""
        return fits(schema, (*self.definitions.managed, *self.definitions.shared))

    def left_out(self, schema: str, name: str) -> LeftOutRows | None:
        """Return the rule by which the rows of a table (or the value of a sequence) are left out of a restore."""
        return next((rule for rule in self.rows.left_out if fits(f"{schema}.{name}", rule.tables)), None)

    def called(self, schema: str, name: str) -> CalledRows | None:
        """Return how the rows of a table get in, into which no role may insert."""
        return next((one for one in self.rows.called if one.table == f"{schema}.{name}"), None)


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a raw name fits one of the patterns; `*` stands for any text."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
