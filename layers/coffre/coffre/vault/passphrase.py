"""Files that a passphrase opens: `age --passphrase` makes and opens the same."""

from __future__ import annotations

from typing import Final

import pyrage

from coffre.model.errors import EncryptionError
from coffre.vault.codec import AGE_MAGIC

_ARMOUR: Final = b"-----BEGIN AGE ENCRYPTED FILE-----"
# scrypt makes each guess take about a second; shorter ones can be guessed all the same.
MINIMUM_CHARACTERS: Final = 12


def is_encrypted(content: bytes) -> bool:
    """Return whether this is an age file."""
    return content.startswith((AGE_MAGIC, _ARMOUR))


def seal_with_passphrase(content: bytes, passphrase: str) -> bytes:
    """Encrypt something to a passphrase, as text that can be printed and typed.

    Raises
    ------
    EncryptionError
        `PASSPHRASE_SHORT`
    """
    if len(passphrase) < MINIMUM_CHARACTERS:
        raise EncryptionError(
            f"The passphrase has fewer than {MINIMUM_CHARACTERS} characters.",
            code="PASSPHRASE_SHORT",
            hint="Take five or more random words: a person who finds the file can try passphrases for years.",
        )
    return pyrage.passphrase.encrypt(content, passphrase, armored=True)


def open_with_passphrase(content: bytes, passphrase: str) -> bytes:
    """Return what was encrypted.

    Raises
    ------
    EncryptionError
        `PASSPHRASE_WRONG`
    """
    try:
        return pyrage.passphrase.decrypt(content, passphrase)
    except pyrage.DecryptError as error:
        raise EncryptionError(
            "The passphrase does not open the file with the private key.",
            code="PASSPHRASE_WRONG",
            hint="Type it again. A file that is encrypted to a key, not to a passphrase, cannot be used here.",
        ) from error
