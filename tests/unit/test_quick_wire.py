"""What goes to the played AWS by a shorter way arrives and is answered as by moto's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import boto3
import botocore.awsrequest
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import HeadersDict
from botocore.exceptions import ClientError, ParamValidationError
from botocore.response import StreamingBody
from botocore.utils import get_tzinfo_options, parse_timestamp
from moto import mock_aws
from moto.core.request import Request
from moto.moto_api._internal import mock_random
from tests import quick_wire

HOST = "https://vault.s3.eu-west-1.amazonaws.com"
REQUESTS: list[tuple[str, str, Mapping[str, str | bytes], Any]] = [
    ("GET", f"{HOST}/a/b%20c%2Fd?versionId=x&list-type=2", {"Range": b"bytes=0-1", "Host": "other"}, None),
    ("PUT", f"{HOST}/%C3%A9", {"Content-Type": "text/plain", "Content-Length": "9", "x-amz-meta-a_B": "c"}, b"1\xff"),
    (
        "PUT",
        f"{HOST}/é",
        {"x-amz-meta-a-b": "1", "X-Amz-Meta-A_b": "2", "Transfer-Encoding": "chunked"},
        BytesIO(b"12"),
    ),
    ("POST", f"{HOST}:8443/", {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}, "A=b&C=d%20e"),
    ("POST", f"{HOST}/", {"Content-Type": "application/x-www-form-urlencoded"}, b""),
    ("DELETE", f"{HOST}//a;b?c", {}, ""),
    ("HEAD", HOST, {"A": ""}, None),
]


@pytest.mark.parametrize(("method", "url", "headers", "body"), REQUESTS)
def test_a_request_is_the_one_that_moto_makes(
    method: str, url: str, headers: Mapping[str, str | bytes], body: Any
) -> None:
    def made(make: Callable[..., Request]) -> tuple[Any, ...]:
        if hasattr(body, "seek"):
            body.seek(0)
        request = make(Request, method, url, headers, body)
        sent = request.environ.pop("wsgi.input").getvalue()
        request.environ["wsgi.input"] = BytesIO(sent)
        seen = {key: value for key, value in request.environ.items() if key not in ("wsgi.input", "werkzeug.request")}
        return sent, list(seen.items()), list(request.headers), request.raw_url, request.data, request.form

    assert made(quick_wire._request) == made(quick_wire._from_primitives)


def test_times_are_those_that_boto_reads() -> None:
    zone, *_ = get_tzinfo_options()
    for text in ("2026-11-30T12:00:01.000Z", "Mon, 30 Nov 2026 12:00:01 GMT", "20261130T120001Z", "1764504001", "1.5"):
        for _ in range(2):
            assert parse_timestamp(text) == quick_wire._parse_time(text, zone)
            assert repr(parse_timestamp(text)) == repr(quick_wire._parse_time(text, zone))
    with pytest.raises(ValueError, match="Invalid timestamp"):
        parse_timestamp("yesterday")


def test_headers_are_found_however_they_are_written() -> None:
    headers = HeadersDict({"ETag": "1"})
    headers["X-Other"] = "2"
    assert (headers["etag"], headers["ETAG"], headers.get("x-other")) == ("1", "1", "2")
    assert "eTag" in headers
    assert "e-tag" not in headers
    with pytest.raises(KeyError):
        headers["none"]


def test_a_header_of_two_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="newline"):
        quick_wire._request(Request, "GET", HOST, {"a": "b\nc"})


def test_calls_are_answered_as_by_motos_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    ours = _said()
    monkeypatch.setattr(SigV4Auth, "add_auth", quick_wire._add_auth)
    monkeypatch.setattr(Request, "from_primitives", classmethod(quick_wire._from_primitives))
    monkeypatch.setattr(HeadersDict, "__contains__", Mapping.__contains__)
    monkeypatch.setattr(
        HeadersDict, "__getitem__", lambda headers, name: headers._dict[vars(botocore.awsrequest)["_HeaderKey"](name)]
    )
    monkeypatch.setattr(Request, "raw_url", property(quick_wire._raw_url))
    monkeypatch.setattr(quick_wire, "_method", lambda *_: None)
    theirs = _said()

    assert ours == theirs
    refused = {said for _, said in ours if isinstance(said, str)}
    assert {"NoSuchKey", "404", "PreconditionFailed", "InvalidRange", "ParameterNotFound", "NotFound"} <= refused
    assert {"ResourceNotFoundException", "InvalidParameter", "AccessDenied"} <= refused


def _header(headers: Any, name: str) -> Any:
    return headers._dict[vars(botocore.awsrequest)["_HeaderKey"](name)]


def _said() -> list[tuple[str, Any]]:
    """What the played AWS says to calls of all sorts, from its beginning: answers, or the codes of errors."""
    said: list[tuple[str, Any]] = []
    clients: dict[str, Any] = {}

    def ask(call: str, **parameters: Any) -> Any:
        service, operation = call.split(".")
        client = clients.get(service) or clients.setdefault(service, _client(service))
        try:
            answer = getattr(client, operation)(**parameters)
        except ClientError as error:
            said.append((call, error.response["Error"]["Code"]))
            said.append((call, _comparable(error.response)))
        except ParamValidationError as error:
            said.append((call, str(error)))
        else:
            said.append((call, _comparable(answer)))
            return answer
        return {}

    with mock_aws():
        mock_random.seed(1)
        _use_buckets(ask)
        _use_the_rest(ask)
    return said


def _client(service: Any) -> Any:
    return boto3.client(service)


def _comparable(value: Any) -> Any:
    """Leave out what differs from call to call."""
    match value:
        case dict():
            changing = ("date", "Date", "x-amzn-requestid", "RequestId", "HostId", "last-modified", "UploadId")
            return {key: _comparable(held) for key, held in value.items() if key not in changing}
        case list():
            return [_comparable(held) for held in value]
        case datetime():
            return "a time"
        case StreamingBody():
            return value.read()
    return value


def _use_buckets(ask: Callable[..., Any]) -> None:
    vault, place = {"Bucket": "vault"}, {"LocationConstraint": "eu-west-1"}
    ask("s3.create_bucket", **vault, CreateBucketConfiguration=place, ObjectLockEnabledForBucket=True)
    ask("s3.create_bucket", **vault, CreateBucketConfiguration=place)
    kept = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime(2099, 1, 1, tzinfo=UTC)}
    first = ask("s3.put_object", **vault, Key="a b/é+&", Body=b"0123456789", Metadata={"a-B": "c", "d_e": "f"}, **kept)
    ask("s3.put_object", **vault, Key="a b/é+&", Body=b"text", IfNoneMatch="*")
    ask("s3.put_object", **vault, Key="file", Body=BytesIO(b"from a file"), ContentType="text/plain", IfNoneMatch="*")
    ask("s3.put_object", **vault, Key="sum", Body=b"a", ChecksumAlgorithm="SHA256", Tagging="a=b")
    ask("s3.put_object", **vault, Key="sum", Body=b"a", ChecksumSHA256="YQ==")
    ask("s3.put_object", **vault, Key="sum", Body=b"a", ContentMD5="YQ==")
    ask("s3.put_object", **vault, Key=5, Body=b"a")
    for more in ({}, {"Range": "bytes=2-4"}, {"Range": "bytes=90-"}, {"IfMatch": '"x"'}, {"VersionId": "none"}):
        ask("s3.get_object", **vault, Key="a b/é+&", **more)
        ask("s3.head_object", **vault, Key="a b/é+&", **more)
    for key in ("none", "file", "sum"):
        ask("s3.get_object", **vault, Key=key, ChecksumMode="ENABLED")
        ask("s3.head_object", **vault, Key=key)
    upload = {**vault, "Key": "parts", "UploadId": ask("s3.create_multipart_upload", **vault, Key="parts")["UploadId"]}
    parts = [ask("s3.upload_part", **upload, PartNumber=number, Body=b"xyz") for number in (1,)]
    done = [{"PartNumber": number, "ETag": part["ETag"]} for number, part in enumerate(parts, 1)]
    ask("s3.list_parts", **upload)
    ask("s3.complete_multipart_upload", **upload, MultipartUpload={"Parts": done}, IfNoneMatch="*")
    ask("s3.abort_multipart_upload", **upload)
    ask("s3.copy_object", **vault, Key="copy", CopySource={**vault, "Key": "file"}, MetadataDirective="REPLACE")
    ask("s3.list_objects_v2", **vault, MaxKeys=2, Prefix="", StartAfter="a")
    ask("s3.list_objects_v2", **vault, Delimiter="/", EncodingType="url")
    ask("s3.delete_object", **vault, Key="a b/é+&", VersionId=first["VersionId"])
    ask("s3.delete_objects", **vault, Delete={"Objects": [{"Key": "file"}, {"Key": "none"}], "Quiet": False})
    ask("s3.list_object_versions", **vault)
    ask("s3.get_object_lock_configuration", **vault)
    ask("s3.get_bucket_policy", **vault)
    ask("s3.list_objects_v2", Bucket="none")


def _use_the_rest(ask: Callable[..., Any]) -> None:
    ask("ssm.put_parameter", Name="configuration", Value="{\n é &}", Type="String", Overwrite=True)
    ask("ssm.put_parameter", Name="configuration", Value="other", Type="String")
    ask("ssm.put_parameter", Name="aws/x", Value="other", Type="String")
    for name in ("configuration", "none", "", 5):
        ask("ssm.get_parameter", Name=name, WithDecryption=True)
        ask("secretsmanager.get_secret_value", SecretId=name)
    ask(
        "secretsmanager.create_secret",
        Name="s",
        SecretString="é=&",
        ClientRequestToken="1" * 32,
        Tags=[{"Key": "a", "Value": "b"}],
    )
    ask("secretsmanager.put_secret_value", SecretId="s", SecretString="2", ClientRequestToken="2" * 32)
    ask("secretsmanager.get_secret_value", SecretId="s", VersionStage="AWSPREVIOUS")
    ask("secretsmanager.list_secrets")
    topic = ask("sns.create_topic", Name="alerts")["TopicArn"]
    queue = ask("sqs.create_queue", QueueName="alerts")["QueueUrl"]
    arn = ask("sqs.get_queue_attributes", QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    ask("sns.subscribe", TopicArn=topic, Protocol="sqs", Endpoint=arn)
    severity = {"severity": {"DataType": "String", "StringValue": "info"}}
    ask("sns.publish", TopicArn=topic, Subject="S", Message="é & <x>\n", MessageAttributes=severity)
    ask("sns.publish", TopicArn=f"{topic}-none", Message="x")
    ask("sns.publish", TopicArn=topic, Subject="x" * 101, Message="x")
    ask("sqs.get_queue_url", QueueName="none")
    ask("events.put_events", Entries=[{"Source": "a", "DetailType": "b", "Detail": "{}"}])
    ask("sts.get_caller_identity")
