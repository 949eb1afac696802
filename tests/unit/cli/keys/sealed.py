"""Files that a passphrase opens, with a scrypt that takes no time: Coffre's own takes a second, and so does opening it.

The format: https://age-encryption.org/v1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_WORK: Final = 4  # as a power of two; Coffre's is about 18


def sealed(content: bytes, passphrase: str) -> bytes:
    """Return an age file with less than 64 KiB of content."""
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    label = b"age-encryption.org/v1/scrypt" + salt
    wrapping = hashlib.scrypt(passphrase.encode(), salt=label, n=2**_WORK, r=8, p=1, dklen=32)
    wrapped = ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None)
    header = f"age-encryption.org/v1\n-> scrypt {_text(salt)} {_WORK}\n{_text(wrapped)}\n---".encode()
    mac = hmac.digest(_derived(file_key, b"", b"header"), header, "sha256")
    body = ChaCha20Poly1305(_derived(file_key, nonce, b"payload")).encrypt(bytes(11) + b"\1", content, None)
    return header + f" {_text(mac)}\n".encode() + nonce + body


def _derived(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, purpose).derive(key)


def _text(binary: bytes) -> str:
    return base64.b64encode(binary).decode().rstrip("=")
