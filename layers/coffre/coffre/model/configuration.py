"""The configuration document: which targets exist, and what holds for all of them. JSON, in versions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import PrivateAttr, ValidationError

from coffre.model.any_target import AnyTarget, ObjectTarget
from coffre.model.bucket_target import BucketTarget
from coffre.model.configuration_document import ConfigurationDocument
from coffre.model.confirmation_rules import ConfirmationRules
from coffre.model.copies import Destination
from coffre.model.database_target import DatabaseTarget, FoundDatabase
from coffre.model.document import describe_validation, parse_json
from coffre.model.errors import ConfigurationError, CopyUnknownError, TargetUnknownError
from coffre.model.objectives import Objective
from coffre.model.point_options import Point
from coffre.model.repository_target import RepositoryTarget
from coffre.model.server import SeenDatabase, usable
from coffre.model.settings_target import SettingsTarget
from coffre.model.words import counted


class Configuration(ConfigurationDocument):
    """The whole document.

    `encryption` is `age` (then `recipients`, or those of each target, hold at least one public key) or, explicitly,
    `none`.
    `vault_quota_bytes` is what the vault may hold before an alert says so. `access` says who may access the vault
    besides Coffre.
    `confirmation` holds for targets that have no rules of their own (docs/confirmation.md).
    """

    _servers: tuple[DatabaseTarget, ...] = PrivateAttr(default=())

    def expanded(self, seen: Iterable[SeenDatabase]) -> Configuration:
        """Return the configuration in which each server is replaced by its databases, as far as they are known.

        A server without a known database stays a target, so that it is overdue as any other without a backup. `target`
        and `database` still know a server's name.
        """
        known = tuple(seen)
        taken = {target.name for target in self.targets}
        targets: list[AnyTarget] = []
        for target in self.targets:
            found: list[FoundDatabase] = []
            if isinstance(target, DatabaseTarget) and target.databases is not None:
                found = [FoundDatabase.of(target, one) for one in usable(known, target.name, taken).values()]
            found.sort(key=lambda one: one.name)
            targets += found or [target]
        changed = self.model_copy(update={"targets": tuple(targets)})
        changed._servers = self.servers
        return changed

    @property
    def servers(self) -> tuple[DatabaseTarget, ...]:
        """The servers whose databases are targets of their own."""
        return self._servers or tuple(target for target in self.databases if target.databases is not None)

    @property
    def names(self) -> frozenset[str]:
        """The names that the document itself gives: no database that is found gets one of them."""
        return frozenset({one.name for one in self.started_databases} | {one.name for one in self.object_targets})

    @property
    def started_databases(self) -> tuple[DatabaseTarget, ...]:
        """What a run of every database starts: databases that the document names, and servers, which start theirs."""
        own = (one for one in self.databases if one.databases is None and not isinstance(one, FoundDatabase))
        return (*own, *self.servers)

    @property
    def object_targets(self) -> tuple[ObjectTarget, ...]:
        """The targets whose backups hold objects: buckets, settings and repositories."""
        return (*self.buckets, *self.settings, *self.repositories)

    def copies_of(self, name: str) -> tuple[Destination, ...]:
        """Return where backups of a target are copied to."""
        found = next((one for one in self.targets if one.name == name), None)
        server = found.server if isinstance(found, FoundDatabase) else name
        return tuple(copy for copy in self.copies if not copy.targets or {name, server} & set(copy.targets))

    def destination(self, name: str) -> Destination:
        """Return the copy of this name.

        Raises
        ------
        CopyUnknownError
            No copy has it; the message names those that exist.
        """
        for copy in self.copies:
            if copy.name == name:
                return copy
        known = ", ".join(copy.name for copy in self.copies) or "none"
        raise CopyUnknownError(
            f'There is no copy "{name}".', detail=f"Configured copies: {known}", hint="Check the name's spelling."
        )

    def objective_of(self, target: AnyTarget) -> Objective:
        """Return the objectives of a target: its own; then `drill.rto_minutes`; then those of its component."""
        own, component = target.objectives, self.objectives.of_kind(target.kind)
        rtos = (own.rto_minutes, target.drill.rto_minutes, component.rto_minutes)
        return Objective(
            rpo_minutes=component.rpo_minutes if own.rpo_minutes is None else own.rpo_minutes,
            rto_minutes=next((one for one in rtos if one is not None), None),
        )

    def point(self, name: str) -> Point:
        """Return the restore point of this name; raises as `target` does."""
        for point in self.points:
            if point.name == name:
                return point
        known = ", ".join(point.name for point in self.points) or "none"
        raise TargetUnknownError(
            f'There is no restore point "{name}".',
            detail=f"Configured points: {known}",
            hint="Check the name's spelling; docs/points.md shows how one is configured.",
        )

    def point_of(self, target: str) -> Point | None:
        """Return the restore point that a target belongs to."""
        return next((point for point in self.points if target in point.targets), None)

    def confirmation_of(self, target: str) -> ConfirmationRules:
        """Return what a confirmation of what replaces this target needs, or of what deletes a backup of it."""
        own = next((one.confirmation for one in self.targets if one.name == target), None)
        return own or self.confirmation

    def target(self, name: str) -> AnyTarget:
        """Return the target of this name.

        Raises
        ------
        TargetUnknownError
            When no target has it; the message names those that exist.
        """
        return _named(name, (*self.targets, *self.servers), "target")

    def named(self, name: str) -> tuple[AnyTarget, ...]:
        """Return the target of this name, or the databases of the server of this name; raises as `target` does."""
        found = tuple(one for one in self.databases if isinstance(one, FoundDatabase) and one.server == name)
        return found or (self.target(name),)

    def database(self, name: str) -> DatabaseTarget:
        """Return the database of this name; raises as `target` does."""
        return _named(name, (*self.databases, *self.servers), "database target")

    def bucket(self, name: str) -> BucketTarget:
        """Return the bucket target of this name; raises as `target` does."""
        return _named(name, self.buckets, "bucket target")

    def object_target(self, name: str) -> ObjectTarget:
        """Return the target of buckets, settings or repositories of this name; raises as `target` does."""
        return _named(name, self.object_targets, "target of buckets, settings or repositories")

    def repository_target(self, name: str) -> RepositoryTarget:
        """Return the repositories of this name; raises as `target` does."""
        return _named(name, self.repositories, "repository target")

    def settings_target(self, name: str) -> SettingsTarget:
        """Return the settings of this name; raises as `target` does."""
        return _named(name, self.settings, "settings target")


def _named[T: (DatabaseTarget, BucketTarget, SettingsTarget, RepositoryTarget, ObjectTarget, AnyTarget)](
    name: str, targets: tuple[T, ...], what: str
) -> T:
    for target in targets:
        if target.name == name:
            return target
    known = ", ".join(sorted({target.name for target in targets})) or "none"
    raise TargetUnknownError(
        f'There is no {what} "{name}".', detail=f"Configured {what}s: {known}", hint="Check the name's spelling."
    )


def validated(data: object) -> Configuration:
    """Return the configuration of a parsed document; it may name its schema, for editors, as `$schema`."""
    if isinstance(data, dict) and isinstance(data.get("$schema"), str):
        data = {name: value for name, value in data.items() if name != "$schema"}
    return Configuration.model_validate(data)


def parse_configuration(text: str, *, where: str) -> Configuration:
    """Parse and validate a configuration document.

    Parameters
    ----------
    text
        The JSON document.
    where
        Where it came from, for the message (an SSM parameter's name or a file's path).

    Raises
    ------
    ConfigurationError
        Names each wrong field by its path with the allowed values.
    """
    try:
        data: Any = parse_json(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"The configuration document in {where} is not valid JSON.",
            detail=f"line {error.lineno}, column {error.colno}: {error.msg}",
            hint="Correct the document; docs/configuration.md shows a complete one.",
        ) from error
    try:
        return validated(data)
    except ValidationError as error:
        lines = describe_validation(error)
        raise ConfigurationError(
            f"The configuration document in {where} has {counted(len(lines), 'wrong value')}.",
            detail="\n  ".join(lines),
            hint="Correct these fields; docs/configuration.md lists every field with its allowed values.",
        ) from error
