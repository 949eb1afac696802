"""The options of `coffre restore objects`; wrong combinations are refused in the options' own names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from coffre.model.errors import EventError, SecretError
from coffre.model.kinds import Mode
from coffre_cli.commands.restore.destination import secret_name
from coffre_cli.commands.restore.options import refuse
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.storage import StorageResult, StorageScope

# What fits easily into an event, which may have 256 KB.
_MOST_KEYS: Final = 500
_MOST_CHARACTERS: Final = 50_000
# What the role of the restore function may read (template.yaml).
_READABLE: Final = ("coffre/destination/", "coffre/storage/")


@dataclass(frozen=True)
class ObjectChoices:
    """The options that choose objects and their destination, as they were given."""

    to: str | None
    bucket: str | None
    prefix: str | None
    keys: tuple[str, ...]
    keys_from: str | None
    mode: Mode | None
    store: str | None
    retry: str | None
    no_safety: bool
    dry_run: bool

    def refuse(self) -> None:
        """Refuse what is wrong with them, as far as that is known before the stack is asked."""
        refuse(self._problems())
        self._scope()

    def scope(self, deployed: Place, backup: Backup, restore_id: str, scratch: Path) -> StorageScope:
        """Return what they ask for; a long list of keys goes into the vault.

        Raises
        ------
        CoffreError
            A list cannot be read or kept; a bucket has to be named.
        """
        from coffre.model.storage import ObjectChoice
        from coffre.operations.stored_backup.object_selection import start_of
        from coffre.operations.stored_backup.open_backup import open_manifest
        from coffre.vault.object_restores import write_names

        keys = _sorted_once([*self.keys, *(_read_keys(self.keys_from) if self.keys_from else ())])
        plain = [key for key in keys if isinstance(key, str)]
        if len(plain) == len(keys) <= _MOST_KEYS and sum(map(len, plain)) <= _MOST_CHARACTERS:
            return self._scope().model_copy(update={"keys": tuple(plain)})
        start = ""
        if plain:
            wanted = ObjectChoice(bucket=self.bucket, keys=("",))
            start = start_of(open_manifest(deployed.vault, backup).storage, wanted)
        names = sorted({start + key if isinstance(key, str) else key.name for key in keys})
        listed = write_names(deployed.vault, restore_id, names, scratch)
        return self._scope().model_copy(update={"keys": (), "names": (listed,)})

    def again(self, before: StorageResult) -> StorageScope:
        """Return the scope of the objects that an earlier restore failed to restore.

        Raises
        ------
        EventError
            `NOTHING_FAILED`
        """
        if not before.failed_lists:
            raise EventError("That restore has no failed objects to retry.", code="NOTHING_FAILED")
        mode = Mode.OVERWRITE if before.scope.mode is Mode.MIRROR else before.scope.mode
        changes = {"names": before.failed_lists, "keys": (), "prefix": "", "mode": mode, "dry_run": self.dry_run}
        changes["no_safety"] = self.no_safety
        return before.scope.model_copy(update=changes)

    def _scope(self) -> StorageScope:
        from pydantic import ValidationError

        from coffre.model.document import describe_validation
        from coffre.model.storage import StorageScope

        choices = {
            "bucket": self.bucket,
            "prefix": self.prefix or "",
            "keys": self.keys,
            "to": self.to,
            "mode": self.mode or Mode.MISSING,
            "no_safety": self.no_safety and self.retry is None,
            "dry_run": self.dry_run,
        }
        try:
            return StorageScope.model_validate(choices)
        except ValidationError as error:
            raise typer.BadParameter("; ".join(describe_validation(error)).removeprefix("document: ")) from None

    def _problems(self) -> Iterator[str]:
        chosen = "--key" if self.keys else "--keys-from" if self.keys_from else None
        if chosen and self.prefix is not None:
            yield f"{chosen} and --prefix exclude each other"
        if self.no_safety and self.mode in (None, Mode.MISSING) and self.retry is None:
            yield "--no-safety is for --mode overwrite and mirror: nothing else changes existing objects"
        if chosen and self.mode is Mode.MIRROR:
            yield f"--mode mirror is for whole buckets or prefixes: with {chosen} use overwrite"
        others = [option for option in ("--to", "--bucket", "--prefix", "--mode") if self._value(option) is not None]
        others += [chosen] if chosen else []
        if self.retry is not None and others:
            yield f"--retry repeats that restore for the failed objects: leave {others[0]} out"

    def _value(self, option: str) -> object:
        return {"--to": self.to, "--bucket": self.bucket, "--prefix": self.prefix, "--mode": self.mode}[option]


@dataclass(frozen=True)
class WholeName:
    """The name of an object with its bucket, as lists of failures have it."""

    name: str


def _read_keys(place: str) -> Iterator[str | WholeName]:
    """Yield the keys of a file, one a line; a line with JSON is one of a list of failures."""
    try:
        text = sys.stdin.read() if place == "-" else Path(place).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise EventError(
            f"The keys in {place} cannot be read: {why}.",
            code="KEYS_UNREADABLE",
            hint="Give a file with one key a line.",
        ) from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith('{"'):
            yield WholeName(_name_in(line, f"{place}, line {number}"))
        elif line.removesuffix("\r"):
            yield line.removesuffix("\r")


def _name_in(line: str, where: str) -> str:
    try:
        return str(json.loads(line)["name"])
    except (ValueError, KeyError) as error:
        raise EventError(
            f"A line of the list of keys is not JSON with a name: {where}.",
            code="KEYS_UNREADABLE",
            hint='Write one key a line, or lines like {"name": "bucket/key"}.',
        ) from error


def _sorted_once(keys: Iterable[str | WholeName]) -> list[str | WholeName]:
    return list(dict.fromkeys(keys))


@contextmanager
def store_secret(deployed: DeployedStack, store: str | None, restore_id: str) -> Iterator[str | None]:
    """Yield the name of a secret with a store; one from a file or a variable exists while the restore is followed.

    Raises
    ------
    SecretError
        It is neither the name of a secret that the function may read, nor a file or variable with one's contents.
    """
    from coffre.buckets.client import parse_store_secret

    if store is None or store.removeprefix("arn:").rpartition(":secret:")[2].startswith(_READABLE):
        yield store
        return
    text = contents_of_store(store)
    parse_store_secret(text, where=f"in {store}")
    with deployed.lending(secret_name(restore_id), text) as name:
        yield name


def contents_of_store(store: str) -> str:
    """Return the description of a store in a file or a variable; raises what `store_secret` raises."""
    if store.startswith("env:"):
        return os.environ.get(store.removeprefix("env:"), "")
    try:
        return Path(store).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(
            f"{store[:100]} does not describe a store.",
            code="DESTINATION_SHAPE",
            detail=error.strerror if isinstance(error, OSError) else "it is not text",
            hint="Give a file or a variable (env:NAME) with JSON: endpoint, region, access_key_id, secret_access_key; "
            "or the name of a secret below coffre/destination/ or coffre/storage/.",
        ) from error
