"""What S3 says becomes an error that says what happened, where, and what to do."""

from contextlib import closing

import pytest
from botocore.awsrequest import AWSPreparedRequest
from moto import mock_aws
from tests.contract.conftest import MakeStore
from tests.contract.faults import Answer, FaultyStore

from coffre.model.errors import CoffreError, PermanentError, SettingsError, StoreError, TransientError
from coffre.stores.s3 import Checksum, S3Store
from coffre.stores.s3_client import S3Credentials, make_client

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
SECRETS = "<StringToSign>SECRET-1</StringToSign><Token-0>SECRET-2</Token-0><AWSAccessKeyId>SECRET-3</AWSAccessKeyId>"

ANSWERS = [
    (404, "NoSuchBucket", StoreError, "BUCKET_MISSING"),
    (403, "AccessDenied", StoreError, "STORE_DENIED"),
    (403, "AllAccessDisabled", StoreError, "STORE_DENIED"),
    (403, "SomethingElse", StoreError, "STORE_DENIED"),
    (403, "InvalidAccessKeyId", StoreError, "STORE_CREDENTIALS"),
    (403, "SignatureDoesNotMatch", StoreError, "STORE_CREDENTIALS"),
    (401, "Unauthorized", StoreError, "STORE_CREDENTIALS"),
    (400, "ExpiredToken", StoreError, "CREDENTIALS_EXPIRED"),
    (400, "InvalidToken", StoreError, "STORE_CREDENTIALS"),
    (403, "RequestTimeTooSkewed", StoreError, "CLOCK_SKEWED"),
    (400, "BadDigest", TransientError, "UPLOAD_CORRUPTED"),
    (400, "InvalidDigest", TransientError, "UPLOAD_CORRUPTED"),
    (400, "XAmzContentChecksumMismatch", TransientError, "UPLOAD_CORRUPTED"),
    (400, "XAmzContentSHA256Mismatch", TransientError, "UPLOAD_CORRUPTED"),
    (400, "IncompleteBody", TransientError, "UPLOAD_CORRUPTED"),
    (501, "NotImplemented", StoreError, "CHECKSUM_UNSUPPORTED"),
    (503, "SlowDown", TransientError, "STORE_THROTTLED"),
    (429, "TooManyRequests", TransientError, "STORE_THROTTLED"),
    (503, "ServiceUnavailable", TransientError, "STORE_UNAVAILABLE"),
    (500, "InternalError", TransientError, "STORE_UNAVAILABLE"),
    (502, "BadGateway", TransientError, "STORE_UNAVAILABLE"),
    (400, "RequestTimeout", TransientError, "STORE_UNAVAILABLE"),
    (409, "ConditionalRequestConflict", TransientError, "STORE_CONFLICT"),
    (409, "OperationAborted", TransientError, "STORE_CONFLICT"),
    (507, "InsufficientCapacity", StoreError, "DISK_FULL"),
    (403, "QuotaExceeded", StoreError, "DISK_FULL"),
    (400, "KMS.DisabledException", StoreError, "KMS_UNUSABLE"),
    (400, "KMS.KMSInvalidStateException", StoreError, "KMS_UNUSABLE"),
    (403, "InvalidObjectState", StoreError, "OBJECT_ARCHIVED"),
    (412, "PreconditionFailed", StoreError, "OBJECT_EXISTS"),
    (400, "EntityTooLarge", StoreError, "STORE_FAILED"),
    (418, "Teapot", StoreError, "STORE_FAILED"),
]


def refusal(store: S3Store, key: str = "dir/pack") -> CoffreError:
    with pytest.raises(CoffreError) as refused:
        store.put(key, b"", sha256=EMPTY_SHA256)
    return refused.value


@pytest.mark.parametrize(("status", "said", "family", "code"), ANSWERS, ids=[said for _, said, *_ in ANSWERS])
def test_an_answer_is_translated(
    script: FaultyStore, store_at: MakeStore, status: int, said: str, family: type[CoffreError], code: str
) -> None:
    script.script = lambda _: Answer.error(status, said, "The store's own words.", extra=SECRETS)
    error = refusal(store_at(script.endpoint_url, attempts=1, prefix="vault"))
    assert (error.code, isinstance(error, family)) == (code, True)
    assert isinstance(error, PermanentError) != isinstance(error, TransientError)
    assert "coffre-contract" in error.message or "127.0.0.1" in error.message
    assert error.detail == f"{said}: The store's own words. (request R-1)"
    assert "SECRET" not in f"{error} {error.__cause__}"
    assert error.__cause__ is not None
    assert error.hint or code == "STORE_FAILED"


def test_a_key_with_braces_is_named_as_it_is(script: FaultyStore, store_at: MakeStore) -> None:
    script.script = lambda _: Answer.error(403, "AccessDenied", "No {way}.")
    error = refusal(store_at(script.endpoint_url, prefix="v"), "a{0}b{place}")
    assert "s3://coffre-contract/v/a{0}b{place}" in error.message


def test_a_denied_kms_key_is_not_a_denied_object(script: FaultyStore, store_at: MakeStore) -> None:
    said = "User: arn:aws:sts::1:assumed-role/x is not authorized to perform: kms:GenerateDataKey on resource: k"
    script.script = lambda _: Answer.error(403, "AccessDenied", said)
    error = refusal(store_at(script.endpoint_url))
    assert error.code == "KMS_UNUSABLE"
    assert "kms:GenerateDataKey" in (error.hint or "")


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("KMS.DisabledException", "is disabled", "aws kms enable-key"),
        ("KMS.KMSInvalidStateException", "about to be deleted", "aws kms cancel-key-deletion"),
        ("KMS.NotFoundException", "does not exist", "cannot be restored"),
    ],
)
def test_the_state_of_a_kms_key_is_named_with_what_to_do(
    script: FaultyStore, store_at: MakeStore, said: str, message: str, hint: str
) -> None:
    key = "arn:aws:kms:eu-west-3:111122223333:key/1234"
    script.script = lambda _: Answer.error(400, said, f"{key} is in a state that does not allow this.")
    error = refusal(store_at(script.endpoint_url, attempts=1))
    assert error.code == "KMS_UNUSABLE"
    assert message in error.message
    assert hint in (error.hint or "")
    assert key in (error.detail or "")


@pytest.mark.parametrize("said", ["InvalidArgument", "InvalidRequest"])
def test_a_store_that_does_not_know_the_checksum_is_told_apart(
    script: FaultyStore, store_at: MakeStore, said: str
) -> None:
    script.script = lambda _: Answer.error(400, said, "Unsupported header 'x-amz-checksum-sha256'")
    error = refusal(store_at(script.endpoint_url))
    assert error.code == "CHECKSUM_UNSUPPORTED"
    assert "'md5'" in (error.hint or "")


@pytest.mark.parametrize(
    "answer",
    [
        Answer.error(301, "PermanentRedirect", "Use another endpoint.", **{"x-amz-bucket-region": "eu-west-3"}),
        Answer.error(400, "AuthorizationHeaderMalformed", "Wrong region.", extra="<Region>eu-west-3</Region>"),
        Answer.error(400, "IllegalLocationConstraintException", "No.", **{"x-amz-bucket-region": "eu-west-3"}),
    ],
    ids=["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"],
)
def test_the_right_region_is_named(script: FaultyStore, store_at: MakeStore, answer: Answer) -> None:
    script.script = lambda _: answer
    error = refusal(store_at(script.endpoint_url))
    assert error.code == "BUCKET_REGION"
    assert "eu-west-3" in error.message
    assert "eu-west-3" in (error.hint or "")


def test_an_answer_that_is_not_s3_is_translated(script: FaultyStore, store_at: MakeStore) -> None:
    script.script = lambda _: Answer(200, b"<html>Log in to the hotel's network", {"Content-Type": "text/html"})
    with pytest.raises(CoffreError) as refused:
        list(store_at(script.endpoint_url, attempts=1).list())
    assert refused.value.code == "STORE_UNAVAILABLE"


def test_a_bucket_name_that_cannot_be_is_refused(script: FaultyStore, store_at: MakeStore) -> None:
    error = refusal(store_at(script.endpoint_url, bucket="not a bucket!"))
    assert error.code == "STORE_FAILED"
    assert script.requests == []


def test_an_endpoint_without_tls_may_only_be_starting(script: FaultyStore, store_at: MakeStore) -> None:
    error = refusal(store_at(script.endpoint_url.replace("http:", "https:"), attempts=1))
    assert isinstance(error, TransientError)
    assert error.code == "STORE_UNREACHABLE"


def test_no_credentials_is_told(monkeypatch: pytest.MonkeyPatch, script: FaultyStore) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with closing(make_client(region="us-east-1", endpoint_url=script.endpoint_url)) as client:
        error = refusal(S3Store("coffre-contract", client=client))
    assert error.code == "STORE_CREDENTIALS"
    assert script.requests == []


@pytest.mark.parametrize("endpoint", ["", "s3.example.org", "ftp://example.org", "https://key:secret@example.org"])
def test_an_endpoint_that_is_none_is_refused_without_repeating_it(endpoint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        make_client(region="us-east-1", endpoint_url=endpoint)
    assert "secret@" not in str(refused.value)


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_aws_gets_the_digest_signed_instead_of_the_body(checksum: Checksum) -> None:
    """Somebody in between cannot change both, and nothing is hashed twice."""
    sent: list[dict[str, str]] = []

    def keep(request: AWSPreparedRequest, **_: object) -> None:
        sent.append({name.lower(): _text(value) for name, value in request.headers.items()})

    with mock_aws(), closing(make_client(region="us-east-1", credentials=S3Credentials("key", "secret"))) as client:
        client.create_bucket(Bucket="coffre-contract")
        client.meta.events.register_first("before-send.s3.PutObject", keep)
        S3Store("coffre-contract", client=client, checksum=checksum).put("a", b"", sha256=EMPTY_SHA256)
    headers = sent[0]
    digest = {"sha256": "x-amz-checksum-sha256", "md5": "content-md5"}[checksum]
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert digest in headers
    assert digest in headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")


def test_other_stores_get_the_body_signed(script: FaultyStore, store_at: MakeStore) -> None:
    script.expect([Answer(200)])
    store_at(script.endpoint_url).put("a", b"", sha256=EMPTY_SHA256)
    assert script.requests[0].headers["x-amz-content-sha256"] == EMPTY_SHA256


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
