"""A stream written to S3 in parts, whose length no one knows beforehand: visible when all of it came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from coffre.model.errors import StoreError
from coffre.stores.s3_errors import Call, translated

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# With S3's 10,000 parts: 312 GiB, which takes longer than a function lives.
PART_BYTES: Final = 32 * 1024 * 1024
_MOST_PARTS: Final = 10_000


class Upload:
    """Where a stream is written; `size` counts its bytes."""

    def __init__(self, client: S3Client, bucket: str, key: str, upload_id: str) -> None:
        self._client, self._upload_id = client, upload_id
        self._place: Any = {"Bucket": bucket, "Key": key}
        self._part = bytearray()
        self._etags: list[str] = []
        self.size = 0

    def write(self, data: bytes) -> None:
        """Add bytes; each time that a part is full it is sent."""
        self._part += data
        self.size += len(data)
        while len(self._part) >= PART_BYTES:
            self._send(bytes(self._part[:PART_BYTES]))
            del self._part[:PART_BYTES]

    def finish(self) -> None:
        """Send what is left, and make the object of its parts."""
        if self._part or not self._etags:
            self._send(bytes(self._part))
        parts: Any = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._etags, start=1)]
        self._client.complete_multipart_upload(
            **self._place, UploadId=self._upload_id, MultipartUpload={"Parts": parts}
        )

    def _send(self, part: bytes) -> None:
        number = len(self._etags) + 1
        if number > _MOST_PARTS:
            raise StoreError(f"The file would have more than {_MOST_PARTS:,} parts.", code="OBJECT_TOO_LARGE")
        sent = self._client.upload_part(**self._place, UploadId=self._upload_id, PartNumber=number, Body=part)
        self._etags.append(sent["ETag"])


@contextmanager
def streamed(client: S3Client, bucket: str, key: str) -> Iterator[Upload]:
    """Give what a stream is written to. It becomes an object at the end; after an error nothing of it is left.

    Raises
    ------
    StoreError
        As of every store: what was denied, missing or did not answer.
    """
    call = Call("s3:PutObject", bucket, key, client.meta.endpoint_url)
    kind: dict[str, Any] = {"ContentType": "application/octet-stream"}
    with translated(call):
        upload_id = client.create_multipart_upload(Bucket=bucket, Key=key, **kind)["UploadId"]
    upload = Upload(client, bucket, key, upload_id)
    try:
        with translated(call):
            yield upload
            upload.finish()
    except BaseException:
        with contextlib.suppress(ClientError, BotoCoreError):  # the lifecycle removes such parts after a day
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        raise
