"""Addresses of vaults, as a person writes them: a directory, or a place in an object store."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from coffre.model.errors import PermanentError

FORMS: Final = "DIR, directory:DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or azure://ACCOUNT/CONTAINER/PREFIX"
_DIRECTORY: Final = "directory:"
_STORE: Final = re.compile(
    r"(?P<scheme>s3|gs)://(?P<bucket>[^/]+)(/(?P<prefix>.*))?"
    r"|azure://(?P<account>[a-z0-9]{3,24})/(?P<container>[^/]+)(/(?P<below>.*))?",
    re.DOTALL,
)


class VaultUnusableError(PermanentError):
    """A place that was named is not a vault, or has no backup."""

    default_code = "VAULT_UNUSABLE"


@dataclass(frozen=True, slots=True)
class VaultAddress:
    """Where a vault is.

    Parameters
    ----------
    type
        The kind of store, as `Destination.store.type` says it.
    place
        The bucket, the container, or the absolute path of the directory.
    prefix
        The folder in the bucket or container, without slashes around it; empty: its root, and for directories.
    account
        Of Azure alone: the storage account.
    """

    type: Literal["s3", "gcs", "azure", "directory"]
    place: str
    prefix: str = ""
    account: str | None = None


def parse_address(text: str) -> VaultAddress:
    """Read an address in one of `FORMS`.

    Raises
    ------
    VaultUnusableError
        It has none of these forms.
    """
    if text.startswith(_DIRECTORY):
        text = text.removeprefix(_DIRECTORY)
    elif found := _STORE.fullmatch(text):
        if found["scheme"] is None:
            return VaultAddress("azure", found["container"], (found["below"] or "").strip("/"), found["account"])
        kind: Literal["s3", "gcs"] = "s3" if found["scheme"] == "s3" else "gcs"
        return VaultAddress(kind, found["bucket"], (found["prefix"] or "").strip("/"))
    if not text or "\0" in text or "://" in text:
        raise VaultUnusableError(
            f"{text[:200]!r} is neither a directory nor the address of a bucket.",
            hint=f"Give {FORMS}; another store than AWS with --endpoint-url URL as well.",
        )
    return VaultAddress("directory", str(Path(text).expanduser().absolute()))
