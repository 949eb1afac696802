"""Whether an object that exists is the one of a backup: what a store can prove without sending its bytes."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from coffre.buckets.writer_requests import in_base64
from coffre.model.manifest import ObjectFacts
from coffre.stores.checks import digest_of

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

_MD5: Final = re.compile(r"[0-9a-f]{32}")


class Likeness(Enum):
    """What an object has in common with the one of a backup."""

    SAME = auto()
    ALL_BUT_TAGS = auto()
    BYTES = auto()
    OTHER = auto()


class Proof(Enum):
    """What checksums say about the bytes of two objects. NONE: nothing, they have to be read."""

    SAME = auto()
    OTHER = auto()
    NONE = auto()


def proof_of(facts: ObjectFacts, head: HeadObjectOutputTypeDef, sha256: str) -> Proof:
    """Compare the checksums of an object that exists with what a backup recorded; their sizes are equal.

    An etag of parts depends on the size of the parts, one under KMS on the key: other etags prove nothing then.
    """
    kept = head.get("ChecksumSHA256", "")
    if kept and "-" not in kept:
        return Proof.SAME if kept == in_base64(digest_of(sha256)) else Proof.OTHER
    etag = head.get("ETag", "").strip('"')
    if etag and etag == facts.etag:
        return Proof.SAME
    is_md5 = bool(_MD5.fullmatch(etag) and _MD5.fullmatch(facts.etag or ""))
    is_encrypted = bool(facts.kms_key or head.get("SSEKMSKeyId") or head.get("SSECustomerAlgorithm"))
    is_encrypted = is_encrypted or head.get("ServerSideEncryption", "AES256") != "AES256"
    return Proof.OTHER if is_md5 and not is_encrypted else Proof.NONE
