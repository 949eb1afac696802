"""A vault without any stack: a directory or a bucket, opened with the keys that a person has."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import typer

from coffre.model.addresses import VaultUnusableError
from coffre.model.errors import EncryptionError, TargetUnknownError
from coffre_cli.screen import remark
from coffre_cli.vault_choice import IDENTITY_VARIABLE, VAULT_VARIABLE, VaultChoice

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.kinds import TargetKind
    from coffre.operations.stored_backup.vault_backups import VaultBackups
    from coffre.stores.store import Store
    from coffre.vault.codec import FrameDecoder
    from coffre.vault.vault import Vault

_KEY: Final = "AGE-SECRET-KEY-"
# One for each thread that reads ahead.
_CONNECTIONS: Final = 32
_INSIDE: Final = "/v1"
# Objects to list in a place without backups: enough to find a vault below it, and quick in a large bucket.
_LOOKED_AT: Final = 10_000


@dataclass(frozen=True)
class StandaloneVault:
    """One vault: its backups by their manifests, and what opens them.

    Attributes
    ----------
    catalog
        Answers what a stack's catalog would, from the manifests.
    """

    choice: VaultChoice
    vault: Vault
    identities: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def open(cls, choice: VaultChoice, *, identities: tuple[str, ...] | None = None, quiet: bool = False) -> Self:
        """Open the vault, and warn once (unless `quiet`) what cannot be proven without a catalog.

        Parameters
        ----------
        identities
            Private keys that were read already, in place of those that the choice names.

        Raises
        ------
        VaultUnusableError
            The vault has no backup.
        EncryptionError
            `IDENTITY_MISSING`
        StoreError
            The directory or bucket is missing, or closed to us.
        """
        from coffre.vault.vault import Vault

        if identities is None:
            identities = tuple(key for given in choice.identities for key in given_identities(given))
        opened = cls(choice, Vault(open_store(choice)), identities)
        if not opened.catalog.targets:
            raise _no_backups(choice, opened.vault.store)
        if not quiet:
            remark(
                f"Reading the vault {choice.place} alone. Without a catalog nothing proves that a manifest is the one "
                "that was written; all other bytes are checked against it."
            )
        return opened

    @property
    def command(self) -> str:
        """How a command that opens this vault again begins; options that variables already hold are left out."""
        words = ["coffre"]
        if os.environ.get(VAULT_VARIABLE) != self.choice.place:
            words += ["--vault", shlex.quote(self.choice.place)]
        if self.choice.endpoint_url is not None:
            words += ["--endpoint-url", shlex.quote(self.choice.endpoint_url)]
        for identity in self.choice.identities:
            if os.environ.get(IDENTITY_VARIABLE) != identity:
                words += ["--identity", shlex.quote(identity)]
        return " ".join(words)

    @cached_property
    def catalog(self) -> VaultBackups:
        from coffre.operations.stored_backup.vault_backups import VaultBackups

        return VaultBackups(self.vault)

    def only_target(self, name: str | None, kind: TargetKind | None = None) -> str:
        """Return the named target, or the only one (of a kind) that has backups."""
        if name is not None:
            return self.known_target(name)
        everything = self.catalog.targets
        names = [one for one in everything if kind in (None, next(self.catalog.backups(target=one)).kind)] or everything
        if len(names) == 1:
            return names[0]
        raise TargetUnknownError(
            f"The vault has backups of several targets: {', '.join(names)}.",
            hint=f"Name one of them: --target {names[0]}",
        )

    def known_target(self, name: str) -> str:
        """Return the name of a target that has backups.

        Raises
        ------
        TargetUnknownError
            It has none; the error names those that have.
        """
        return self.catalog.known_target(name)

    def decoder_of(self, backup: Backup) -> FrameDecoder:
        """Return what opens the backup.

        Raises
        ------
        EncryptionError
            `IDENTITY_MISSING`
        """
        from coffre.vault.codec import FrameDecoder

        if backup.encryption != "none" and not self.identities:
            raise EncryptionError(
                f"Backup {backup.id} is encrypted, and no private key was given.",
                code="IDENTITY_MISSING",
                hint=f"Give the key file before the command: {self.command} --identity FILE ... "
                "The file has a line that starts with AGE-SECRET-KEY-1.",
            )
        return FrameDecoder(self.identities)

    @contextmanager
    def with_staging(self) -> Iterator[StandaloneVault]:
        """Yield the same vault read-only, with a temporary directory for what a job writes of its own."""
        from coffre.stores.directory import DirectoryStore
        from coffre.vault.vault import Vault
        from coffre_cli.read_only_vault import ReadOnlyVault

        with tempfile.TemporaryDirectory(prefix="coffre-") as staging:
            yield replace(self, vault=Vault(ReadOnlyVault(self.vault.store, DirectoryStore(staging))))

    def report_problems(self) -> None:
        """Report on stderr which backups have records that cannot be read."""
        for backup_id, problem in self.catalog.problems.items():
            remark(f"Not all of backup {backup_id} can be read: {problem}")


def given_identities(identity: str) -> tuple[str, ...]:
    """Return the keys in a file, or in a variable (`env:NAME`).

    The passphrase of an encrypted file (`age --passphrase`, a recovery kit) is asked for.

    Raises
    ------
    EncryptionError
        `IDENTITY_MISSING`
    """
    from coffre.vault.codec import parse_identities

    if identity.upper().startswith(_KEY):
        raise EncryptionError(
            "The private key itself was given as an argument: other users of this machine can read it there.",
            code="IDENTITY_MISSING",
            hint="Give a file with it, or a variable: --identity FILE, --identity env:NAME",
        )
    if identity.startswith("env:"):
        place = f"the variable {identity.removeprefix('env:')}"
        text = os.environ.get(identity.removeprefix("env:"), "")
    else:
        place = f"the file {identity}"
        try:
            text = _read_key_file(Path(identity).expanduser())
        except (OSError, UnicodeDecodeError) as error:
            raise _no_identity(place, error.strerror if isinstance(error, OSError) else "not a text") from error
    found = parse_identities(text)
    if not found:
        raise _no_identity(place, None)
    return found


def _read_key_file(file: Path) -> str:
    from coffre.vault.passphrase import is_encrypted, open_with_passphrase

    content = file.read_bytes()
    if is_encrypted(content):
        content = open_with_passphrase(content, typer.prompt(f"Passphrase of {file}", hide_input=True, err=True))
    return content.decode()


def _no_identity(place: str, why: str | None) -> EncryptionError:
    return EncryptionError(
        f"No age identity was found in {place}.",
        code="IDENTITY_MISSING",
        detail=why,
        hint="It is a line that starts with AGE-SECRET-KEY-1, as `coffre keys new` printed it.",
    )


def open_store(choice: VaultChoice) -> Store:
    """Return the store of a vault, which may be empty; raises what opening it raises."""
    from coffre.model.addresses import parse_address
    from coffre.runtime.copy_destinations import Opening, open_address

    return open_address(
        parse_address(choice.place), Opening(_CONNECTIONS), endpoint_url=choice.endpoint_url, region=choice.region
    )


def _no_backups(choice: VaultChoice, store: Store) -> VaultUnusableError:
    """Return the error for a place without backups; the hint names a vault that was found below it."""
    from coffre.vault.layout import BACKUPS

    first = next((info.key for info in islice(store.list(), _LOOKED_AT) if f"/{BACKUPS}" in f"/{info.key}"), None)
    inner = first[: f"/{first}".index(f"/{BACKUPS}")].strip("/") if first else ""
    if choice.place.rstrip("/").endswith(_INSIDE):
        hint = (
            f"This is inside a vault. Give the parent of v1: --vault {choice.place.rstrip('/').removesuffix(_INSIDE)}"
        )
    elif inner:
        hint = f"Backups are below {inner}: --vault {choice.place.rstrip('/')}/{inner}"
    else:
        hint = "Give the directory, or the bucket with the prefix, that contains v1/backups and v1/packs."
    return VaultUnusableError(
        f"{choice.place} has no backup: no manifest was found below {BACKUPS}.", code="VAULT_EMPTY", hint=hint
    )
