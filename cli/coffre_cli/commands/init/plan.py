"""What `init` would make or change: decided from the answers and from what exists, without any call."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coffre_cli.commands.init.existing_resources import Before, Place
from coffre_cli.commands.keys.secrets import DEFAULT_SECRET

if TYPE_CHECKING:
    from coffre.model.provider import Provider

_FILES, _SERVER = "files", "db"
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")
# Of a target's name.
_LONGEST: Final = 63
_OFFLINE_TOO: Final = 2


@dataclass(frozen=True)
class Answers:
    """What a person wants.

    Parameters
    ----------
    databases
        Name of each database -> the secret's text for it; of a server any one.
    offline
        Where the second private key goes; None: there is none, or a second public key is in use already.
    """

    databases: Mapping[str, str] = field(repr=False)
    buckets: tuple[str, ...] = ()
    offline: Path | None = None
    mail: str | None = None
    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    architecture: str | None = None
    provider: Provider = "auto"
    is_server: bool = False

    @property
    def names(self) -> dict[str, str]:
        """The target's name of each database; one name for a server (docs/databases.md)."""
        return dict.fromkeys(self.databases, _SERVER) if self.is_server else target_names(list(self.databases))


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Parameters
    ----------
    secrets
        Name -> text of those that are new or change.
    changes
        One sentence for each thing that is made or changed; none: all is as it should be.
    """

    targets: tuple[dict[str, Any], ...]
    secrets: Mapping[str, str] = field(repr=False)
    parameters: Mapping[str, str]
    changes: tuple[str, ...]


def target_names(databases: Sequence[str]) -> dict[str, str]:
    """Return a target's name for each database: lower case, digits and dashes, each only once."""
    names: dict[str, str] = {}
    for database in databases:
        plain = _NOT_IN_NAMES.sub("-", database.lower()).strip("-")[:_LONGEST] or "database"
        name, number = plain, 2
        while name in names.values():
            name, number = f"{plain[: _LONGEST - 4]}-{number}", number + 1
        names[database] = name
    return names


def plan_of(place: Place, before: Before, answers: Answers, stored: Mapping[str, str | None]) -> Plan:
    """Decide what differs.

    Parameters
    ----------
    stored
        Name of each secret that is wanted -> its present text; None when it does not exist.
    """
    names = answers.names
    secrets = {place.database_secret(names[one]): text for one, text in answers.databases.items()}
    written = {name: text for name, text in secrets.items() if stored.get(name) != text}
    targets, changes = _targets(place, before, answers, names)
    for name in written:
        exists = stored.get(name) is not None
        changes.append(f"{'Change' if exists else 'Store'} the database's address in the secret {name}.")
    changes += _keys(place, before, answers)
    parameters = _parameters(place, before, answers, targets)
    for name, value in parameters.items():
        was = before.parameters.get(name, "")
        if value != was:
            changes.append(f"Set {name} = {value}" + (f" (it is {was})." if was else "."))
    if not before.is_deployed:
        changes.append(f"Create the stack {place.stack}.")
    return Plan(tuple(targets), written, parameters, tuple(changes))


def document_of(before: Before, plan: Plan, recipients: Sequence[str]) -> dict[str, Any]:
    """Return the configuration document: what it has stays, targets and keys are added."""
    document = {"version": 1, "encryption": "age", **before.document}
    if document["encryption"] == "age":
        document["recipients"] = list(recipients)
    return {**document, "targets": list(plan.targets)}


def compact(document: Mapping[str, Any]) -> str:
    """Return the document as a parameter's value: short."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def wants_second_key(before: Before) -> bool:
    """Return whether backups are encrypted to one key only, or to none yet."""
    recipients = before.document.get("recipients", [])
    return before.document.get("encryption", "age") == "age" and len(recipients) < _OFFLINE_TOO


def _targets(
    place: Place, before: Before, answers: Answers, names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[str]]:
    targets, changes = before.targets, []
    secrets = {target.get("secret") for target in targets}
    for database, name in names.items():
        secret = place.database_secret(name)
        own: dict[str, str] = {"databases": "all"} if answers.is_server else {}
        own |= {} if answers.provider == "auto" else {"provider": answers.provider}
        whose = "all databases of the server, new ones too," if answers.is_server else f'the database "{database}"'
        if secret not in secrets:
            targets.append({"name": name, "kind": "database", "secret": secret, **own})
            changes.append(f"Protect {whose} as the target {name}.")
            continue
        at = next(number for number, one in enumerate(targets) if one.get("secret") == secret)
        differs = [key for key, value in own.items() if targets[at].get(key) != value]
        if differs:
            targets[at] = {**targets[at], **own}
            changes.append(f"Set {' and '.join(f'{key}: {own[key]}' for key in differs)} of {targets[at]['name']}.")
    known = {bucket["name"] for target in targets if _in_aws(target) for bucket in target["buckets"]}
    added = [bucket for bucket in answers.buckets if bucket not in known]
    if added:
        name = _FILES if _FILES not in names.values() else "buckets"
        mine = next((one for one in targets if one["name"] == name and _in_aws(one)), None)
        entries = [{"name": bucket} for bucket in added]
        if mine is None:
            targets.append({"name": name, "kind": "bucket", "buckets": entries})
        else:
            targets[targets.index(mine)] = {**mine, "buckets": [*mine["buckets"], *entries]}
        changes.append(f"Protect {'the bucket' if len(added) == 1 else 'the buckets'} {', '.join(added)} as {name}.")
    return targets, changes


def _in_aws(target: Mapping[str, Any]) -> bool:
    return target.get("kind") == "bucket" and not target.get("store")


def _keys(place: Place, before: Before, answers: Answers) -> list[str]:
    changes = []
    if not before.document.get("recipients") and not before.recipients:
        changes.append(f"Make a key pair; its private key goes to the secret {place.identity_secret} alone.")
    if answers.offline is not None:
        changes.append(f"Make a second key pair; its private key goes to the file {answers.offline} alone.")
    return changes


def _parameters(place: Place, before: Before, answers: Answers, targets: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the template's parameters besides the document; what is not asked stays as it is deployed."""
    buckets = [bucket["name"] for target in targets if _in_aws(target) for bucket in target["buckets"]]
    readable = [name for name in before.parameters.get("SourceBuckets", "").split(",") if name]
    wanted = {
        "SourceBuckets": ",".join(dict.fromkeys([*readable, *buckets])),
        "AlertEmail": answers.mail or "",
        "SubnetIds": ",".join(answers.subnets),
        "SecurityGroupIds": ",".join(answers.security_groups),
        "Architecture": answers.architecture or "",
    }
    if place.identity_secret != DEFAULT_SECRET and not before.is_deployed:
        wanted["IdentitySecret"] = place.identity_secret
    return {name: value for name, value in wanted.items() if value}
