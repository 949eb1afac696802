"""A line of an access log: read by AWS's form, and never by what a client wrote into it."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.access_logs import ALICE, MALLORY, NOON, OWNER, line

from coffre.model.access import AccessAction, AccessRecord
from coffre.policy.access_log import LONGEST_LINE_BYTES, action_of, parse_line

# Of AWS's own page about the form, with the fields that came later left out in the second.
DOCUMENTED = (
    f"{OWNER} amzn-s3-demo-bucket1 [06/Feb/2019:00:00:38 +0000] 192.0.2.3 {OWNER} 3E57427F3EXAMPLE "
    'REST.GET.VERSIONING - "GET /amzn-s3-demo-bucket1?versioning HTTP/1.1" 200 - 113 - 7 - "-" "S3Console/0.4" - '
    "s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= SigV4 ECDHE-RSA-AES128-GCM-SHA256 "
    "AuthHeader amzn-s3-demo-bucket1.s3.us-west-1.amazonaws.com TLSV1.2 arn:aws:s3:us-west-1:123456789012:"
    "accesspoint/example-AP Yes us-east-1"
)
OLD = (
    f"{OWNER} bucket [17/Sep/2010:13:38:36 +0200] 2001:db8::1 {OWNER} 71F7D2AAA93B0A05 REST.COPY.OBJECT_GET "
    "v1/packs/a - 200 - - 13538337 - - - - -"
)
LIFECYCLE = (
    f"{OWNER} bucket [17/Sep/2026:13:38:36 +0000] - AmazonS3 71F7D2AAA93B0A05 S3.EXPIRE.OBJECT v1/packs/a "
    '"-" - - - 13538337 - - "-" "-" 9CB8A - - - - - - - -'
)


def read(text: str) -> AccessRecord:
    record = parse_line(text.encode())
    assert record is not None
    return record


def test_the_documented_lines_are_read() -> None:
    first = read(DOCUMENTED)
    assert (first.at, first.ip, first.principal) == (datetime(2019, 2, 6, 0, 0, 38, tzinfo=UTC), "192.0.2.3", OWNER)
    assert (first.operation, first.action, first.key, first.succeeded) == (
        "REST.GET.VERSIONING",
        AccessAction.LOOK,
        None,
        True,
    )

    old = read(OLD)
    assert old.at == datetime(2010, 9, 17, 11, 38, 36, tzinfo=UTC)
    assert (old.ip, old.action, old.key, old.succeeded) == ("2001:db8::1", AccessAction.READ, "v1/packs/a", True)

    expired = read(LIFECYCLE)
    assert (expired.operation, expired.principal, expired.succeeded) == ("S3.EXPIRE.OBJECT", "AmazonS3", True)


def test_fields_that_aws_adds_at_the_end_change_nothing() -> None:
    assert read(f"{line()} something new \"or quoted\" 403 -") == read(line())  # fmt: skip


@pytest.mark.parametrize("status", ["400", "403", "404", "412", "500", "503"])
def test_a_refused_request_is_one(status: str) -> None:
    assert not read(line(status=status)).succeeded


@pytest.mark.parametrize(
    "request_line",
    [
        'GET /v1/packs/x" 403 AccessDenied 243 - 8 - "-" "a',
        'GET /" 404 ',
        '" 403 -',
        'GET /x HTTP/1.1" 403 AccessDenied - - - - "-" "-" - ',
        "",
        "-",
    ],
)
def test_a_request_line_cannot_hide_that_it_succeeded(request_line: str) -> None:
    assert read(line(request=request_line)).succeeded
    assert read(line(request=request_line, principal=ALICE)).principal == ALICE


@pytest.mark.parametrize("agent", ['x" 403 AccessDenied "', '" 500 - ', f'" - - {OWNER} vault [', "\x1b[2J", "é\u202e"])
def test_a_user_agent_cannot_either(agent: str) -> None:
    assert read(line(agent=agent)) == read(line())


def test_a_client_can_make_a_refusal_look_like_a_success_and_not_the_other_way_round() -> None:
    # What this costs is an alert too many.
    assert read(line(status="403", agent='" 200 - ')).succeeded


@pytest.mark.parametrize("key", ['a"b', "a b", "ключ", "a\nb", "a\x1b[31mb", "a%2Fb", "a" * 1024, "é" * 512, "-"])
def test_keys_are_decoded(key: str) -> None:
    record = read(line(key=key))

    # "-" is how AWS writes "no key".
    assert record.key == (None if key == "-" else key)


def test_a_key_that_is_encoded_once_is_read_as_well() -> None:
    assert read(line().replace("v1/packs", quote("v1/pä cks"))).key == "v1/pä cks/01K9/000001-1-2"


@pytest.mark.parametrize(
    "broken",
    [
        "",
        " ",
        "-",
        line()[:100],
        line().replace("[", "(", 1),
        line().replace("/Nov/", "/Foo/"),
        line().replace("27/Nov", "31/Nov"),
        line().replace("12:00:00 +0000", "25:00:00 +0000"),
        line().replace("+0000", "+9900"),
        line().replace("192.0.2.3", "not an address"),
        line(operation="REST.GET.OBJECT;drop"),
        line(principal="a" * 2049),
        line(principal='arn"x'),
        f" {line()}",
        f"x{line()}"[:40],
        "\x00" * 500,
        "a" * (LONGEST_LINE_BYTES + 1),
        line(agent="a" * LONGEST_LINE_BYTES),
    ],
)
def test_what_has_another_form_is_no_request(broken: str) -> None:
    assert parse_line(broken.encode()) is None


@pytest.mark.parametrize(
    ("operation", "has_key", "action"),
    [
        ("REST.GET.OBJECT", True, "read"),
        ("REST.COPY.OBJECT_GET", True, "read"),
        ("REST.COPY.PART_GET", True, "read"),
        ("WEBSITE.GET.OBJECT", True, "read"),
        ("REST.SELECT.OBJECT", True, "read"),
        ("REST.HEAD.OBJECT", True, "look"),
        ("REST.GET.BUCKET", False, "look"),
        ("REST.GET.BUCKETVERSIONS", False, "look"),
        ("REST.GET.OBJECT_TAGGING", True, "look"),
        ("REST.PUT.OBJECT", True, "write"),
        ("REST.COPY.OBJECT", True, "write"),
        ("REST.PUT.PART", True, "write"),
        ("REST.POST.UPLOADS", True, "write"),
        ("REST.PUT.OBJECT_LOCK_RETENTION", True, "write"),
        ("REST.DELETE.OBJECT", True, "delete"),
        ("BATCH.DELETE.OBJECT", True, "delete"),
        ("REST.POST.MULTI_OBJECT_DELETE", False, "delete"),
        ("REST.DELETE.UPLOAD", True, "delete"),
        ("REST.PUT.LIFECYCLE", False, "configure"),
        ("REST.DELETE.BUCKETPOLICY", False, "configure"),
        ("REST.PUT.LOGGING_STATUS", False, "configure"),
        ("REST.PUT.VERSIONING", False, "configure"),
        ("REST.NEW.THING", True, "write"),
        ("REST.NEW.THING", False, "configure"),
        ("NONSENSE", False, "configure"),
    ],
)
def test_each_operation_is_of_a_kind(operation: str, has_key: bool, action: str) -> None:
    assert action_of(operation, has_key=has_key) is AccessAction(action)


printable_keys = st.text(st.characters(exclude_characters="%", exclude_categories=["Cs"]), min_size=1, max_size=100)


@given(
    st.sampled_from([MALLORY, ALICE, OWNER, "svc:access-analyzer.amazonaws.com"]),
    printable_keys.filter(lambda key: key != "-"),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])),
    st.datetimes(datetime(2006, 3, 14), datetime(2099, 1, 1)),  # noqa: DTZ001 (hypothesis takes naive bounds)
)
def test_whatever_a_client_sends_is_told_from_who_it_is(
    principal: str, key: str, request_line: str, agent: str, at: datetime
) -> None:
    at = at.replace(microsecond=0, tzinfo=UTC)
    record = read(line(principal, "REST.DELETE.OBJECT", key, at=at, request=request_line, agent=agent))

    assert record == AccessRecord(
        at=at,
        principal=principal,
        ip="192.0.2.3",
        operation="REST.DELETE.OBJECT",
        action=AccessAction.DELETE,
        key=key,
        succeeded=True,
    )


@given(st.binary(max_size=400))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    parse_line(data)
    assert read(line()).at == NOON
    parse_line(line().encode() + data)
    parse_line(line().encode()[:150] + data)
