"""What a backup of settings reads: AWS's services, Coffre's own settings, files of the backup before, and new ones."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from coffre.buckets.settings_reader import HandedIn, SettingsReader
from coffre.model.backup import Backup
from coffre.model.errors import EncryptionError, IntegrityError, StoreError
from coffre.model.manifest import Entry
from coffre.model.settings_target import FILES, PARAMETERS, SECRETS, SettingsTarget
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.backup import BackupStorageEvent
from coffre.runtime.function import utc_now
from coffre.vault.codec import FrameEncoder

# Names of Coffre's own settings in a backup.
CONFIGURATION: Final = "configuration.json"
STACK_PARAMETERS: Final = "parameters.json"


def open_settings(
    services: Services,
    target: SettingsTarget,
    *,
    stopping: threading.Event,
    wanted: BackupStorageEvent | None = None,
    previous: Backup | None = None,
    encoder: FrameEncoder | None = None,
) -> SettingsReader:
    """Return what reads a target of settings.

    Parameters
    ----------
    wanted
        The event: which files it hands in, which it forgets.
    previous
        The backup whose files stay.
    encoder
        What was handed in has to be encrypted to its recipients.

    Raises
    ------
    EncryptionError
        `ENCRYPTION_MISSING`: a file that was handed in is not encrypted to the target's recipients.
    """
    files: dict[str, HandedIn] = {}
    for name, file in (wanted.files if wanted else {}).items():
        content = b64decode(file.content)
        if encoder is not None:
            _refuse_readable(name, content, encoder)
        files[name] = HandedIn(content, file.sealed, utc_now())
    reader = SettingsReader(
        services.secrets,
        services.ssm,
        services.session.get_config_variable("region") or "",
        stopping,
        patterns={SECRETS: target.secrets, PARAMETERS: target.parameters},
        own=_own(services) if target.coffre else {},
        handed_in=files,
        forgotten=frozenset(wanted.forget if wanted else ()),
        is_full=wanted.full if wanted else False,
    )
    reader.kept = _kept(services, previous, reader)
    _refuse_unknown(reader)
    return reader


def _refuse_readable(name: str, content: bytes, encoder: FrameEncoder) -> None:
    try:
        encoder.check_encrypted(content)
    except EncryptionError:
        raise EncryptionError(
            f"The file {name} that was handed in is not encrypted to the public keys of the target.",
            code="ENCRYPTION_MISSING",
            hint="Nothing was stored. Hand it in by `coffre backup settings --file`, which encrypts it.",
        ) from None


def _kept(services: Services, previous: Backup | None, reader: SettingsReader) -> tuple[Entry, ...]:
    """Return the entries of files in the backup before; what cannot be read of them is an exception of this one."""
    if previous is None or previous.manifest_key is None or previous.manifest_sha256 is None:
        return ()
    try:
        entries = services.vault.entries(manifest_of(services.vault, previous), f"{FILES}/")
        return tuple(entry for entry in entries if entry.name.startswith(f"{FILES}/"))
    except (IntegrityError, StoreError) as error:
        reader.miss(
            f"Files that were handed in to earlier backups: the backup {previous.id} cannot be read ({error.code}). "
            "Hand them in again: coffre backup settings --file FILE."
        )
        return ()


def _refuse_unknown(reader: SettingsReader) -> None:
    known = {entry.name.removeprefix(f"{FILES}/") for entry in reader.kept}
    unknown = sorted(reader.forgotten - known)
    if unknown:
        raise StoreError(
            f"The newest backup has no file {', '.join(unknown)} to forget.",
            code="FILE_UNKNOWN",
            detail=f"It has: {', '.join(sorted(known)) or 'none'}",
            hint="Check the name's spelling.",
        )


def _own(services: Services) -> dict[str, Callable[[], bytes]]:
    own: dict[str, Callable[[], bytes]] = {CONFIGURATION: partial(_configuration_of, services)}
    if services.settings.stack is not None:
        own[STACK_PARAMETERS] = partial(_parameters_of, services, services.settings.stack)
    return own


def _configuration_of(services: Services) -> bytes:
    return services.current_configuration().document.encode()


def _parameters_of(services: Services, stack: str) -> bytes:
    """Return the values of the stack's parameters as JSON; CloudFormation masks those that are secret."""
    try:
        [found] = services.stacks.describe_stacks(StackName=stack)["Stacks"]
    except (ClientError, BotoCoreError, ValueError) as error:
        code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
        raise StoreError(
            "cloudformation:DescribeStacks failed, which shows the stack's parameters.",
            code="STORE_DENIED" if code in ("AccessDenied", "AccessDeniedException") else "STORE_FAILED",
            detail=code or type(error).__name__,
        ) from None
    values = {one["ParameterKey"]: one.get("ParameterValue", "") for one in found.get("Parameters", [])}
    return json.dumps(values, indent=1, sort_keys=True).encode() + b"\n"
