"""A large object written in parts: visible when all of it came, and gone without a trace otherwise."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from coffre.buckets.writer_attributes import fields_of
from coffre.buckets.writer_requests import WriteRequests, again, condition
from coffre.model.errors import ObjectMissingError, RunStoppedError, StoreError
from coffre.model.manifest import ObjectFacts
from coffre.model.storage import BegunUpload, UploadedPart
from coffre.stores.s3_errors import translated, was_retried

# The store's limit.
_MOST_PARTS: Final = 10_000
# Small enough to have some of them in memory, large enough that requests do not show. With the most parts it makes
# 80 GB; larger objects have larger parts.
PART_BYTES: Final = 8 * 1024 * 1024
_MIB: Final = 1024 * 1024
# Of one object, as for a backup; five parts of 53 MiB are in memory then.
MOST_BYTES: Final = 512 * 1024**3
_PARTS_AT_ONCE: Final = 3
_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class MultipartUpload:
    """One upload of one object.

    `refuse_existing` raises if its key is taken. `is_written` tells whether the key has this very object, of this size:
    by the etag that its parts give, or by its bytes.
    """

    requests: WriteRequests
    key: str
    refuse_existing: Callable[[], None]
    is_written: Callable[[int, str | None], bool]

    def run(
        self,
        pieces: Callable[[int], Iterable[bytes]],
        facts: ObjectFacts,
        *,
        size: int,
        if_absent: bool,
        begun: BegunUpload | None = None,
        pauses: bool = False,
    ) -> BegunUpload | None:
        """Send the pieces; an error that they raise ends the upload, and nothing is left of it.

        Parameters
        ----------
        pieces
            Returns the bytes from an offset on.
        begun
            An upload that was paused. One that the store does not know any more is begun again.
        pauses
            When the pieces raise `RunStoppedError`, the parts that the store has stay there, and are returned.

        Raises
        ------
        RunStoppedError
            Not a part is stored, or it does not pause.
        StoreError
            `OBJECT_TOO_LARGE`, `OBJECT_EXISTS` (only with `if_absent`), and whatever the store refuses with.
        """
        if size > MOST_BYTES:
            raise _too_large(self.requests.call("s3:PutObject", self.key).place, size)
        part_bytes = begun.part_bytes if begun else part_bytes_of(size)
        upload_id = begun.upload_id if begun else self._begin(facts)
        sending = _Sending(self, upload_id, list(begun.parts if begun else ()))
        try:
            start = len(sending.parts) * part_bytes
            sending.send(_in_parts(pieces(start), part_bytes))
            self._complete(upload_id, sending.parts, start + sending.sent, condition(if_absent=if_absent))
        except RunStoppedError as error:
            if pauses and sending.parts:
                return BegunUpload(
                    name="", bucket=self.requests.bucket, key=self.key, upload_id=upload_id, part_bytes=part_bytes,
                    parts=tuple(sending.parts),
                )  # fmt: skip
            self.abort(upload_id, error)
            raise
        except BaseException as error:
            self.abort(upload_id, error)
            if isinstance(error, ObjectMissingError) and begun is not None:
                return self.run(pieces, facts, size=size, if_absent=if_absent, pauses=pauses)
            raise
        return None

    def _begin(self, facts: ObjectFacts) -> str:
        requests, found = self.requests, list[str]()

        def send(fields: dict[str, Any]) -> None:
            with self._translated(), requests.headers.taken_from(fields) as others:
                answer = requests.client.create_multipart_upload(Bucket=requests.bucket, Key=self.key, **others)
                found.append(answer["UploadId"])
            requests.see_key(facts.kms_key, answer.get("SSEKMSKeyId"))

        requests.adapting(fields_of(facts) | ({"ChecksumAlgorithm": "SHA256"} if requests.is_aws else {}), send)
        return found[-1]

    def send_part(self, upload_id: str, number: int, part: bytes) -> UploadedPart:
        """Send one part."""
        requests, etags = self.requests, list[str]()
        check = requests.checksum(part)

        def send(fields: dict[str, Any]) -> None:
            with self._translated():
                answer = requests.client.upload_part(
                    Bucket=requests.bucket, Key=self.key, UploadId=upload_id, PartNumber=number, Body=part, **fields
                )
                etags.append(answer["ETag"])

        again(send, check)
        return UploadedPart(etag=etags[-1], checksum=check["ChecksumSHA256"] if requests.is_aws else None)

    def _complete(self, upload_id: str, parts: list[UploadedPart], size: int, only_if: dict[str, str]) -> None:
        requests = self.requests
        named: list[dict[str, Any]] = [
            {"PartNumber": number, "ETag": part.etag} | ({"ChecksumSHA256": part.checksum} if part.checksum else {})
            for number, part in enumerate(parts, 1)
        ]

        def send(fields: dict[str, Any]) -> None:
            with self._translated():
                requests.client.complete_multipart_upload(
                    Bucket=requests.bucket,
                    Key=self.key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": named},  # type: ignore[typeddict-item]
                    **fields,
                )

        try:
            requests.adapting(dict(only_if), send, self.refuse_existing)
        except StoreError as error:
            # Its first completion was done, and the answer to it lost: the upload is not known any more, or in its way.
            is_own = isinstance(error, ObjectMissingError) or (error.code == "OBJECT_EXISTS" and was_retried(error))
            if not is_own or not self.is_written(size, _etag_of(parts)):
                raise

    def abort(self, upload_id: str, error: BaseException | None = None) -> str | None:
        """End an upload; return what could not be deleted, which is added to the error as a note."""
        requests = self.requests
        try:
            requests.client.abort_multipart_upload(Bucket=requests.bucket, Key=self.key, UploadId=upload_id)
        except (ClientError, BotoCoreError) as failure:
            if isinstance(failure, ClientError) and failure.response["Error"].get("Code") == "NoSuchUpload":
                return None
            left = f"Parts of the upload {upload_id} of {self.key} may be left in {requests.bucket}."
            if error is not None:
                error.add_note(left)
            return left
        return None

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.requests.call("s3:PutObject", self.key))


@dataclass
class _Sending:
    """Sends parts, some at the same time. `parts` are what the store has, `sent` counts new bytes."""

    upload: MultipartUpload
    upload_id: str
    parts: list[UploadedPart]
    sent: int = 0

    def send(self, parts: Iterable[bytes]) -> None:
        """Send what follows. When it is stopped, what was begun is finished."""
        waiting: deque[Future[UploadedPart]] = deque()
        with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="part-upload") as pool:
            try:
                for number, part in enumerate(parts, len(self.parts) + 1):
                    self.sent += len(part)
                    waiting.append(pool.submit(self.upload.send_part, self.upload_id, number, part))
                    if len(waiting) == _PARTS_AT_ONCE:
                        self.parts.append(waiting.popleft().result())
                self._take(waiting)
            except RunStoppedError:
                self._take(waiting)
                raise
            except BaseException:
                for future in waiting:
                    future.cancel()
                raise

    def _take(self, waiting: deque[Future[UploadedPart]]) -> None:
        while waiting:
            self.parts.append(waiting.popleft().result())


def part_bytes_of(size: int) -> int:
    """Return how large the parts of an object of this size are."""
    return max(PART_BYTES, -(-size // _MOST_PARTS // _MIB) * _MIB)


def _in_parts(pieces: Iterable[bytes], part_bytes: int) -> Iterator[bytes]:
    part = bytearray()
    for piece in pieces:
        part += piece
        while len(part) >= part_bytes:
            yield bytes(part[:part_bytes])
            del part[:part_bytes]
    if part:
        yield bytes(part)


def _etag_of(parts: Iterable[UploadedPart]) -> str | None:
    """Return the etag that most stores give an object of these parts; None where those of parts are no MD5."""
    etags = [part.etag.strip('"') for part in parts]
    if not all(_MD5.fullmatch(etag) for etag in etags):
        return None
    whole = hashlib.md5(b"".join(map(bytes.fromhex, etags)), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(etags)}"


def _too_large(place: str, size: int) -> StoreError:
    return StoreError(
        f"{place} has {size:,} bytes; the most that is restored is {MOST_BYTES:,}.",
        code="OBJECT_TOO_LARGE",
        hint="Take it out on a machine of your own: coffre cat ID KEY > FILE",
    )
