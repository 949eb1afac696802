"""Our signatures are botocore's, whatever the key."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.objects import sha256

from coffre.stores.s3_client import S3Credentials
from coffre.stores.s3_signing import CONTENT_SHA256, EMPTY_SHA256, encoded_path, encoded_query, signed_headers

NOW = datetime(2026, 11, 22, 7, 8, 9, tzinfo=UTC)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
QUERIES = st.dictionaries(st.sampled_from(["prefix", "list-type", "tagging", "start-after"]), KEYS | st.just(""))


HEADERS = {"if-none-match": "*", CONTENT_SHA256: sha256(b"body"), "x-amz-meta-a": "1", "content-md5": "x=="}


@given(
    key=KEYS,
    query=QUERIES,
    token=st.none() | st.just("session"),
    headers=st.sets(st.sampled_from(list(HEADERS))),
    method=st.sampled_from(["GET", "PUT"]),
)
def test_a_signature_is_the_one_that_botocore_computes(
    key: str, query: dict[str, str], token: str | None, headers: set[str], method: str
) -> None:
    path, asked = "/" + encoded_path("bucket", key), encoded_query(query)

    also = {name: HEADERS[name] for name in headers}
    place = {"host": "h:81", "path": path, "query": asked}

    ours = signed_headers(S3Credentials("key", "secret", token), "eu-west-3", NOW, method=method, headers=also, **place)

    request = AWSRequest(method, f"http://h:81{path}?{asked}" if asked else f"http://h:81{path}")
    request.headers["X-Amz-Content-SHA256"] = EMPTY_SHA256
    request.data = b"body" if CONTENT_SHA256 in also else b""  # botocore hashes it
    for name in also.keys() - {CONTENT_SHA256}:
        request.headers[name] = also[name]
    assert urlsplit(request.url).path == path
    with patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        S3SigV4Auth(Credentials("key", "secret", token), "s3", "eu-west-3").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-date"] == request.headers["X-Amz-Date"]
