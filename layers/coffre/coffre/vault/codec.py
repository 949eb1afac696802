"""Frames: `age(zstd(plaintext))`, each decodable on its own.

zstd is inside and age outside, so `age --decrypt | zstd --decompress` opens a frame. With encryption `none` a frame is
the zstd frame alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import pyrage
from backports import zstd

from coffre.model.errors import EncryptionError, IntegrityError
from coffre.model.manifest import Frame
from coffre.vault.compression_level import Levels

AGE_MAGIC: Final = b"age-encryption.org/v1\n"
_X25519_STANZA: Final = b"\n-> X25519 "
_AGE_HEADER_END: Final = b"\n--- "

Plaintext = bytes | bytearray | memoryview


class FrameEncoder:
    """Compresses and encrypts frames to public keys; it holds nothing that could read them again.

    Parameters
    ----------
    recipients
        age X25519 public keys (`age1...`). Empty means encryption `none`, chosen explicitly by the caller.
    level
        zstd level, 1 to 19: the highest that is used.
    """

    def __init__(self, recipients: Sequence[str], *, level: int = 3) -> None:
        self._recipients = [parse_recipient(recipient) for recipient in recipients]
        self._levels = Levels(level)

    @property
    def encrypts(self) -> bool:
        """Whether frames are encrypted."""
        return bool(self._recipients)

    def encode(self, plaintext: Plaintext, alike: str | None = "", *, at_least: int | None = None) -> bytes:
        """Return the stored bytes of one frame; `alike` names what it has in common with others, for its compression.

        None: nothing. Whether it is compressed already is then tried out on a part of it. `at_least` is a level below
        which nothing is tried.

        Raises
        ------
        EncryptionError
            When the bytes made are not an age file for exactly these recipients: they must not be sent.
        """
        compressed = self._levels.compress(plaintext, alike, at_least)
        if not self._recipients:
            return compressed
        stored = pyrage.encrypt(compressed, self._recipients)
        self.check_encrypted(stored)
        return stored

    def check_encrypted(self, stored: bytes | bytearray) -> None:
        """Assert on the very bytes to be sent that they are encrypted to every recipient (field note 3)."""
        end = stored.find(_AGE_HEADER_END)
        recipients = stored.count(_X25519_STANZA, 0, max(end, 0))
        if not stored.startswith(AGE_MAGIC) or recipients != len(self._recipients):
            raise EncryptionError(
                "A frame about to be stored is not encrypted to the configured recipients.",
                code="ENCRYPTION_MISSING",
                hint="Nothing was stored. This is a defect of Coffre or of its age library: please report it.",
            )


class FrameDecoder:
    """Opens frames with private keys, and checks what comes out.

    Parameters
    ----------
    identities
        age identities (`AGE-SECRET-KEY-1...`). Empty for vaults with encryption `none`.
    """

    def __init__(self, identities: Sequence[str] = ()) -> None:
        self._identities = [_parse_identity(identity) for identity in identities]
        self._is_recipient = False

    def of_recipients(self, recipients: Sequence[str]) -> FrameDecoder:
        """Return a decoder for a backup that was encrypted to these public keys (none: not encrypted).

        Knowing that one of the identities fits, it takes a frame that no identity opens for damaged.

        Raises
        ------
        EncryptionError
            `IDENTITY_MISSING`, or `WRONG_IDENTITY`: none of the identities belongs to a recipient.
        """
        if recipients and not self._identities:
            raise _identity_missing()
        if recipients and not {str(identity.to_public()) for identity in self._identities} & set(recipients):
            raise _wrong_identity(f"it is encrypted to {', '.join(recipients)}")
        decoder = FrameDecoder()
        decoder._identities = self._identities
        decoder._is_recipient = bool(recipients)
        return decoder

    def decode(self, stored: bytes, frame: Frame) -> bytes:
        """Return the plaintext of `frame`; raises what `open` raises."""
        return self.open(stored, frame)[0]

    def open(self, stored: bytes, frame: Frame, *, hashed: bool = True) -> tuple[bytes, bytes]:
        """Return the plaintext of `frame`, and the one zstd frame that it was in.

        Without `hashed` its SHA-256 is left to the caller, who hashes the whole that the frame belongs to.

        Raises
        ------
        EncryptionError
            When no identity fits (code `WRONG_IDENTITY`), or there is none (`IDENTITY_MISSING`).
        IntegrityError
            When the bytes are damaged: age, zstd, the size or the SHA-256 say so (code `FRAME_DAMAGED`).
        """
        compressed = self._decrypt(stored, frame) if stored.startswith(AGE_MAGIC) else stored
        decompressor = zstd.ZstdDecompressor()
        try:
            # One byte more than promised is enough to notice a frame that is too long, without unpacking a bomb.
            plaintext = decompressor.decompress(compressed, max_length=frame.size + 1)
        except zstd.ZstdError as error:
            raise _damaged(frame, f"zstd: {error}") from error
        if len(plaintext) != frame.size or (frame.size and not decompressor.eof):
            raise _damaged(frame, f"the plaintext is not {frame.size} bytes long")
        if hashed and hashlib.sha256(plaintext).hexdigest() != frame.sha256:
            raise _damaged(frame, "the SHA-256 of the plaintext differs")
        if decompressor.unused_data:
            raise _damaged(frame, "bytes follow its zstd frame")
        return plaintext, compressed

    def _decrypt(self, stored: bytes, frame: Frame) -> bytes:
        if not self._identities:
            raise _identity_missing()
        try:
            return pyrage.decrypt(stored, self._identities)
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error) and not self._is_recipient:
                raise _wrong_identity(f"frame at {frame.offset} of {frame.pack}") from error
            raise _damaged(frame, f"age: {error}") from error


def public_key(identity: str) -> str:
    """Return the recipient (`age1...`) of an identity."""
    return str(_parse_identity(identity).to_public())


def new_identity() -> str:
    """Return a fresh age identity (`AGE-SECRET-KEY-1...`)."""
    return str(pyrage.x25519.Identity.generate())


def parse_identities(text: str) -> tuple[str, ...]:
    """Read identities from the text of an age identity file: one a line, `#` starts a comment."""
    lines = (line.strip() for line in text.splitlines())
    identities = tuple(line for line in lines if line and not line.startswith("#"))
    for identity in identities:
        _parse_identity(identity)
    return identities


def parse_recipient(text: str) -> pyrage.x25519.Recipient:
    """Return the public key of an `age1...` text."""
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise EncryptionError(
            f'"{text}" is not a valid age recipient.',
            code="RECIPIENT_INVALID",
            hint="Copy the public key (age1...) exactly as `coffre keys new` printed it.",
        ) from error


def _parse_identity(text: str) -> pyrage.x25519.Identity:
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError as error:
        raise EncryptionError(
            "An age identity is malformed.",  # never repeat it: it is a private key
            code="IDENTITY_INVALID",
            hint="The identity is the one line that starts with AGE-SECRET-KEY-1.",
        ) from error


def _identity_missing() -> EncryptionError:
    return EncryptionError(
        "The backup is encrypted and no age identity is configured.",
        code="IDENTITY_MISSING",
        hint="Give the restore the identity that `coffre keys new` printed (secret or file).",
    )


def _wrong_identity(detail: str) -> EncryptionError:
    return EncryptionError(
        "None of the configured age identities can open this backup.",
        code="WRONG_IDENTITY",
        detail=detail,
        hint="Use the identity of a recipient that the manifest names; `coffre show ID` prints them.",
    )


def _damaged(frame: Frame, why: str) -> IntegrityError:
    return IntegrityError(
        "A stored frame is damaged.",
        code="FRAME_DAMAGED",
        detail=f"{frame.length} bytes at {frame.offset} of {frame.pack}: {why}",
        hint="This backup cannot be trusted. Restore an older one (`coffre list`) and keep the vault as it is.",
    )
