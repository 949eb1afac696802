"""What a recovery kit says: where the backups are, what they are, and which keys open them. Nothing of it is secret."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from coffre.model.addresses import parse_address
from coffre.model.document import FrozenModel
from coffre_cli import aws
from coffre_cli.commands.keys.key_inventory import encrypted_backups, manifest_of, new_recipients
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place

if TYPE_CHECKING:
    from coffre.model.copies import Destination, Store
    from coffre.model.manifest import Manifest

FORMAT = 1


class VaultFacts(FrozenModel):
    """Where the stored bytes are."""

    address: str
    region: str | None = None
    account: str | None = None
    endpoint_url: str | None = None

    @property
    def copy_command(self) -> str:
        """The command that copies the vault into the directory `vault`."""
        import shlex

        if self.address.startswith("gs://"):
            return f"gcloud storage rsync --recursive {shlex.quote(self.address)} vault"
        if self.address.startswith("azure://"):
            account, _, rest = self.address.removeprefix("azure://").partition("/")
            return f"azcopy copy {shlex.quote(f'https://{account}.blob.core.windows.net/{rest}/*')} vault --recursive"
        if not self.address.startswith("s3://"):
            return f"cp -r {shlex.quote(self.address)} vault"
        options = f" --region {self.region}" if self.region else ""
        options += f" --endpoint-url {shlex.quote(self.endpoint_url)}" if self.endpoint_url else ""
        return f"aws s3 sync {shlex.quote(self.address)} vault{options}"


class CopyFacts(FrozenModel):
    """Where a copy of the vault is (`copies` in the configuration). `secret` names the secret with its access key."""

    name: str
    address: str
    region: str | None = None
    endpoint_url: str | None = None
    secret: str | None = None


class TargetFacts(FrozenModel):
    """What is backed up, and its newest backup when the kit was written."""

    name: str
    kind: Literal["database", "bucket"]
    what: str
    newest: str
    created_at: datetime
    recipients: tuple[str, ...]
    client_version: str | None = None


class KeyFacts(FrozenModel):
    """A public key, the targets whose backups it opens, and whether the kit contains its private key."""

    recipient: str
    targets: tuple[str, ...]
    is_included: bool


class ContactFacts(FrozenModel):
    """A person to call."""

    name: str
    role: str
    mail: str | None = None
    phone: str | None = None


class KitFacts(FrozenModel):
    """Everything. `is_of_all`: it was not asked for some targets alone."""

    kit: Literal[1] = 1
    made_at: datetime
    coffre_version: str
    format: int
    vault: VaultFacts
    copies: tuple[CopyFacts, ...] = ()
    stack: dict[str, str] = Field({})
    contacts: tuple[ContactFacts, ...] = ()
    targets: tuple[TargetFacts, ...]
    keys: tuple[KeyFacts, ...]
    identity_at: str | None = None
    is_of_all: bool = True

    @property
    def client_major(self) -> str | None:
        """The major version that `pg_restore` needs at least; None without a database."""
        majors = [int(one.client_version.split(".")[0]) for one in self.targets if one.client_version]
        return str(max(majors)) if majors else None


def facts_of(
    place: Place, targets: Sequence[str], included: Sequence[str], identity_at: str | None, now: datetime
) -> KitFacts:
    """Gather the facts.

    Parameters
    ----------
    included
        The public keys whose private keys the kit contains.

    Raises
    ------
    CoffreError
        The catalog or the vault did not answer, or the newest backup of a target cannot be read.
    """
    from coffre import __version__

    newest = [described for name in targets if (described := _target(place, name)) is not None]
    users: dict[str, set[str]] = {}
    for backup in encrypted_backups(place, targets):
        for recipient in backup.recipients or ():
            users.setdefault(recipient, set()).add(backup.target)
    for name in targets:
        for recipient in new_recipients(place, name):
            users.setdefault(recipient, set()).add(name)
    keys = (
        KeyFacts(recipient=key, targets=tuple(sorted(users[key])), is_included=key in included) for key in sorted(users)
    )
    return KitFacts(
        made_at=now,
        coffre_version=__version__,
        format=FORMAT,
        vault=_vault(place),
        copies=_copies(place),
        stack=_stack(place),
        contacts=_contacts(place),
        targets=tuple(newest),
        keys=tuple(keys),
        identity_at=identity_at,
    )


def _target(place: Place, name: str) -> TargetFacts | None:
    backup = place.catalog.latest_completed(name, damaged_too=True)
    if backup is None:
        return None
    manifest = manifest_of(place, backup)
    is_database = manifest.kind == "database"
    return TargetFacts(
        name=name,
        kind="database" if is_database else "bucket",
        what=_what(manifest),
        newest=backup.id,
        created_at=backup.created_at,
        recipients=manifest.recipients,
        client_version=manifest.database.client_version if is_database else None,
    )


def _what(manifest: Manifest) -> str:
    if manifest.kind == "database":
        content = manifest.database
        return f"database {content.database}, PostgreSQL {content.server_version}"
    if manifest.kind == "settings":
        return f"settings: {', '.join(folder.name for folder in manifest.storage.buckets)}"
    if manifest.kind == "repository":
        return f"repositories at {', '.join(host.name for host in manifest.storage.buckets)}"
    return f"buckets {', '.join(bucket.name for bucket in manifest.storage.buckets)}"


def _vault(place: Place) -> VaultFacts:
    if not isinstance(place, DeployedStack):
        choice = place.choice
        address = parse_address(choice.place)
        if address.type == "directory":
            return VaultFacts(address=address.place)
        if address.type != "s3":
            return VaultFacts(address=choice.place)
        return VaultFacts(address=choice.place, region=aws.region(), endpoint_url=choice.endpoint_url)
    prefix = place.outputs["VaultPrefix"].strip("/")
    return VaultFacts(
        address="/".join(filter(None, (f"s3://{place.outputs['VaultBucket']}", prefix))),
        region=aws.region(),
        account=place.caller.split(":")[4] if place.caller.count(":") >= 5 else None,
        endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
    )


def _copies(place: Place) -> tuple[CopyFacts, ...]:
    from coffre_cli.kept_configuration import configuration_of

    configuration = configuration_of(place)
    return tuple(copy_facts(one) for one in configuration.copies) if configuration else ()


def copy_facts(copy: Destination) -> CopyFacts:
    """Return what a stranger needs to find a copy."""
    store = copy.store
    return CopyFacts(
        name=copy.name,
        address=address_of(store),
        region=getattr(store, "region", None),
        endpoint_url=getattr(store, "endpoint", None),
        secret=getattr(store, "secret", None),
    )


def address_of(store: Store) -> str:
    """Return a destination's address as `coffre --vault` and `coffre recover --from` take it."""
    if store.type == "directory":
        return f"directory:{store.path}"
    if store.type == "azure":
        return "/".join(filter(None, (f"azure://{store.account}/{store.container}", store.prefix)))
    scheme = "gs" if store.type == "gcs" else "s3"
    return "/".join(filter(None, (f"{scheme}://{store.bucket}", store.prefix)))


def _stack(place: Place) -> dict[str, str]:
    if not isinstance(place, DeployedStack):
        return {}
    names = {
        "catalog table": "CatalogTable",
        "configuration of the template (SSM parameter)": "Configuration",
        "private keys (secret)": "IdentitySecret",
    }
    found = {what: place.outputs[output] for what, output in names.items() if output in place.outputs}
    return {"CloudFormation stack": place.name, **found}


def _contacts(place: Place) -> tuple[ContactFacts, ...]:
    if not isinstance(place, DeployedStack):
        return ()
    return tuple(ContactFacts(**contact.model_dump()) for contact in place.configuration.contacts)


def differences(kit: KitFacts, today: KitFacts) -> list[str]:
    """Return in sentences what a stranger would miss who has the kit alone."""
    found = []
    if kit.format != today.format:
        found.append(f"New backups have format {today.format}; the kit reads format {kit.format}.")
    if _moved(kit.vault, today.vault):
        found.append(f"The vault is {_where(today.vault)} now; the kit says {_where(kit.vault)}.")
    if today.contacts and kit.contacts != today.contacts:
        found.append("The emergency contacts are not those of the kit.")
    addresses = {one.address for one in kit.copies}
    found += [
        f"The kit does not know the copy {one.name}: {one.address}."
        for one in today.copies
        if one.address not in addresses
    ]
    known = {key.recipient: key for key in kit.keys}
    for key in today.keys:
        if key.recipient not in known:
            found.append(f"The kit does not know the key {key.recipient} of {', '.join(key.targets)}.")
        elif more := sorted({*key.targets} - {*known[key.recipient].targets}):
            found.append(f"The kit does not say that {key.recipient} opens backups of {', '.join(more)}.")
    targets = {target.name for target in kit.targets}
    found += [f"The kit does not know the target {one.name}." for one in today.targets if one.name not in targets]
    if today.client_major and int(kit.client_major or 0) < int(today.client_major):
        found.append(f"pg_restore {today.client_major} is needed now; the kit says {kit.client_major or 'none'}.")
    if kit.identity_at is None:
        included = {key.recipient for key in kit.keys if key.is_included}
        found += [
            f"The kit contains no private key that opens the newest backup of {one.name}."
            for one in today.targets
            if one.recipients and not included & {*one.recipients}
        ]
    return found


def _moved(kit: VaultFacts, today: VaultFacts) -> bool:
    """Return whether two vaults differ in what is known of both: without a stack the account is not."""
    before, now = kit.model_dump(), today.model_dump()
    return any(before[name] != now[name] for name in before if None not in (before[name], now[name]))


def _where(vault: VaultFacts) -> str:
    parts = [vault.address, vault.region, f"account {vault.account}" if vault.account else None, vault.endpoint_url]
    return ", ".join(filter(None, parts))
