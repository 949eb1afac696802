"""A large object written in parts: visible when all of it came, and gone without a trace otherwise."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from coffre.buckets.writer_attributes import fields_of
from coffre.buckets.writer_requests import WriteRequests, again, condition
from coffre.model.errors import ObjectMissingError, StoreError
from coffre.model.manifest import ObjectFacts
from coffre.stores.s3_errors import translated, was_retried

# The store's limit.
_MOST_PARTS: Final = 10_000
# Small enough to have some of them in memory, large enough that requests do not show. With the most parts it makes
# 80 GB, more than a function can write in its time.
PART_BYTES: Final = 8 * 1024 * 1024
_PARTS_AT_ONCE: Final = 3


@dataclass(frozen=True)
class MultipartUpload:
    """One upload of one object. `find_size` returns the size of the existing object of its key."""

    requests: WriteRequests
    key: str
    find_size: Callable[[], int | None]

    def run(self, pieces: Iterable[bytes], facts: ObjectFacts, *, size: int, if_absent: bool) -> None:
        """Send the pieces; an error that they raise ends the upload, and nothing is left of it.

        Raises
        ------
        StoreError
            `OBJECT_TOO_LARGE`, `OBJECT_EXISTS` (only with `if_absent`), and whatever the store refuses with.
        """
        if size > _MOST_PARTS * PART_BYTES:
            raise _too_large(self.requests.call("s3:PutObject", self.key).place, size)
        upload_id = self._begin(facts)
        try:
            parts, sent = self._send_parts(upload_id, _in_parts(pieces))
            self._complete(upload_id, parts, sent, condition(if_absent=if_absent))
        except BaseException as error:
            self._abort(upload_id, error)
            raise

    def _begin(self, facts: ObjectFacts) -> str:
        requests, found = self.requests, list[str]()

        def send(fields: dict[str, Any]) -> None:
            with self._translated(), requests.headers.taken_from(fields) as others:
                answer = requests.client.create_multipart_upload(Bucket=requests.bucket, Key=self.key, **others)
                found.append(answer["UploadId"])
            requests.see_key(facts.kms_key, answer.get("SSEKMSKeyId"))

        requests.adapting(fields_of(facts) | ({"ChecksumAlgorithm": "SHA256"} if requests.is_aws else {}), send)
        return found[-1]

    def _send_parts(self, upload_id: str, parts: Iterable[bytes]) -> tuple[list[dict[str, Any]], int]:
        done: list[dict[str, Any]] = []
        sent = 0
        waiting: deque[Future[dict[str, Any]]] = deque()
        with ThreadPoolExecutor(_PARTS_AT_ONCE, thread_name_prefix="part-upload") as pool:
            try:
                for number, part in enumerate(parts, 1):
                    sent += len(part)
                    waiting.append(pool.submit(self._send_part, upload_id, number, part))
                    if len(waiting) == _PARTS_AT_ONCE:
                        done.append(waiting.popleft().result())
                done += [future.result() for future in waiting]
            except BaseException:
                for future in waiting:
                    future.cancel()
                raise
        return done, sent

    def _send_part(self, upload_id: str, number: int, part: bytes) -> dict[str, Any]:
        requests = self.requests
        check = requests.checksum(part)
        found: dict[str, Any] = {"PartNumber": number}
        if requests.is_aws:
            found["ChecksumSHA256"] = check["ChecksumSHA256"]

        def send(fields: dict[str, Any]) -> None:
            with self._translated():
                answer = requests.client.upload_part(
                    Bucket=requests.bucket, Key=self.key, UploadId=upload_id, PartNumber=number, Body=part, **fields
                )
                found["ETag"] = answer["ETag"]

        again(send, check)
        return found

    def _complete(self, upload_id: str, parts: list[dict[str, Any]], size: int, only_if: dict[str, str]) -> None:
        requests = self.requests

        def send(fields: dict[str, Any]) -> None:
            with self._translated():
                requests.client.complete_multipart_upload(
                    Bucket=requests.bucket,
                    Key=self.key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
                    **fields,
                )

        try:
            requests.adapting(dict(only_if), send)
        except StoreError as error:
            # Its first completion was done, and the answer to it lost: the upload is not known any more, or in its way.
            is_own = isinstance(error, ObjectMissingError) or (error.code == "OBJECT_EXISTS" and was_retried(error))
            if not is_own or self.find_size() != size:
                raise

    def _abort(self, upload_id: str, error: BaseException) -> None:
        requests = self.requests
        try:
            requests.client.abort_multipart_upload(Bucket=requests.bucket, Key=self.key, UploadId=upload_id)
        except (ClientError, BotoCoreError):
            error.add_note(f"Parts of the upload {upload_id} may be left in {requests.bucket}.")

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.requests.call("s3:PutObject", self.key))


def _in_parts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    part = bytearray()
    for piece in pieces:
        part += piece
        while len(part) >= PART_BYTES:
            yield bytes(part[:PART_BYTES])
            del part[:PART_BYTES]
    if part:
        yield bytes(part)


def _too_large(place: str, size: int) -> StoreError:
    return StoreError(
        f"{place} has {size:,} bytes: more than a function can write.",
        code="OBJECT_TOO_LARGE",
        hint="Take it out on a machine of your own: coffre cat ID KEY > FILE",
    )
