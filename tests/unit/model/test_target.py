"""The configuration document: what is accepted, and what is said about what is not."""

import json
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.document import describe_validation
from coffre.model.errors import ConfigurationError, TargetUnknownError
from coffre.model.kinds import Contents, TargetKind

RECIPIENT = "age1" + "q" * 58
SECRET = "hunter2-pa55word"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def document(**changes: Any) -> dict[str, Any]:
    return {"encryption": "age", "recipients": [RECIPIENT], "targets": [target()], **changes}


def target(**changes: Any) -> dict[str, Any]:
    return {"name": "shop", "secret": "coffre/database/shop", **changes}


def bucket(**changes: Any) -> dict[str, Any]:
    return {"name": "files", "kind": "bucket", "buckets": [{"name": "uploads"}], **changes}


def refused(data: object) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(data if isinstance(data, str) else json.dumps(data), where="/coffre/configuration")
    return caught.value


def test_the_smallest_document_has_sensible_defaults() -> None:
    configuration = parse_configuration(json.dumps(document()), where="x")

    (shop,) = configuration.databases
    assert shop.kind is TargetKind.DATABASE
    assert (shop.retention.daily_days, shop.retention.weekly_days, shop.retention.monthly_days) == (7, 28, 365)
    assert shop.limits.streams is None
    assert shop.tls.mode is None
    assert shop.contents is Contents.FULL
    assert configuration.target("shop") is shop


def test_a_target_can_have_keys_of_its_own_in_place_of_the_documents() -> None:
    own = "age1" + "p" * 58
    text = json.dumps(document(targets=[target(), bucket(recipients=[own])]))

    configuration = parse_configuration(text, where="x")

    assert configuration.recipients_of("shop") == (RECIPIENT,)
    assert configuration.recipients_of("files") == (own,)
    assert configuration.all_recipients == (RECIPIENT, own)
    alone = parse_configuration(json.dumps(document(recipients=[], targets=[bucket(recipients=[own])])), where="x")
    assert alone.all_recipients == (own,)


def test_a_full_document_is_accepted() -> None:
    full = target(
        kind="database",
        schemas={"include": ["public", "app_*"], "exclude": ['"Odd Name"']},
        contents="schema",
        tables={"exclude": ["*.log_*"], "exclude_data": ["*.sessions"]},
        retention={"daily_days": 1, "weekly_days": 1, "monthly_days": 1, "minimum_verified": 1},
        limits={"streams": 16, "lock_timeout_seconds": 300, "connect_timeout_seconds": 60, "compression_level": 19},
        tls={"mode": "verify-full", "ca": CERTIFICATE},
    )

    configuration = parse_configuration(json.dumps(document(version=1, targets=[full])), where="x")

    assert configuration.databases[0].schemas.include == ("public", "app_*")
    assert configuration.databases[0].tables.exclude_data == ("*.sessions",)
    assert configuration.databases[0].contents is Contents.SCHEMA
    assert configuration.databases[0].tls.ca == CERTIFICATE


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (document(encryption="aes"), "encryption: should be 'age' or 'none'"),
        (document(version=2), "version: should be 1"),
        (document(recipients=["age1short"]), "recipients[0]: String should match pattern"),
        (document(recipients=[f"{RECIPIENT}\n"]), "recipients[0]: String should match pattern"),
        (document(recipients=[]), 'document: encryption is "age" but recipients is empty, for shop'),
        (
            document(recipients=[], targets=[target(recipients=[RECIPIENT]), bucket()]),
            'document: encryption is "age" but recipients is empty, for files',
        ),
        (
            document(encryption="none", recipients=[], targets=[target(recipients=[RECIPIENT])]),
            'document: encryption is "none" but recipients',
        ),
        (document(encryption="none"), 'document: encryption is "none" but recipients are given'),
        (document(targets=[]), "targets: Tuple should have at least 1 item"),
        (document(targets=[target(), target()]), "document: each target needs its own name; used twice: shop"),
        (document(targets=[target(name="Shop")]), "targets[0].name: String should match pattern"),
        (document(targets=[target(name="shop\n")]), "targets[0].name: String should match pattern"),
        (document(targets=[target(name="../x")]), "targets[0].name: String should match pattern"),
        (document(targets=[target(secret="")]), "targets[0].secret: String should have at least 1 character"),
        (document(targets=[{"name": "shop"}]), "targets[0].secret: Field required"),
        (
            document(targets=[target(contents="rows")]),
            "targets[0].contents: should be 'full', 'schema' or 'data'",
        ),
        (
            document(targets=[target(schemas={"exclude_data": ["x"]})]),
            "targets[0].schemas.exclude_data: unknown field",
        ),
        (document(targets=[target(pasword=SECRET)]), "targets[0].pasword: unknown field"),
        (
            document(targets=[target(limits={"streams": 17})]),
            "targets[0].limits.streams: should be less than or equal to 16",
        ),
        (
            document(targets=[target(limits={"streams": "many"})]),
            "targets[0].limits.streams: should be a valid integer",
        ),
        (
            document(targets=[target(tls={"mode": "none"})]),
            "targets[0].tls.mode: should be 'disable', 'prefer', 'require', 'verify-ca' or 'verify-full'",
        ),
        (document(targets=[target(tls={"ca": SECRET})]), "targets[0].tls.ca: String should match pattern"),
        (
            document(targets=[target(retention={"minimum_verified": -1})]),
            "targets[0].retention.minimum_verified: should be greater than or equal to 0",
        ),
        (
            document(targets=[target(kind="buckets")]),
            "targets[0].kind: should be 'database', 'bucket', 'settings' or 'repository'",
        ),
        (document(targets=[bucket(secret="x")]), "targets[0].secret: unknown field"),
        (document(targets=[bucket(buckets=[])]), "targets[0].buckets: Tuple should have at least 1 item"),
        (document(targets=[bucket(buckets=[{"name": "a/b"}])]), "targets[0].buckets[0].name: String should match"),
        (
            document(targets=[bucket(buckets=[{"name": "a"}, {"name": "a"}])]),
            "targets[0]: each bucket is named once, with all its prefixes; named twice: a",
        ),
        (
            document(targets=[bucket(store={"endpoint": "s3.example.com"})]),
            "targets[0].store.endpoint: String should match pattern",
        ),
        ([], "document: should be a valid dictionary"),
        ("null", "document: should be a valid dictionary"),
    ],
)
def test_a_wrong_value_is_named_by_its_path_with_what_is_allowed(data: object, line: str) -> None:
    error = refused(data)

    assert error.code == "CONFIGURATION_INVALID"
    assert "/coffre/configuration" in error.message
    assert line in (error.detail or "")
    assert error.hint


def test_every_wrong_value_is_named_at_once() -> None:
    error = refused(document(version=2, targets=[target(name="A", x=1), target(tls={"mode": "x"})]))

    assert "4 wrong values" in error.message
    for path in ("version: ", "targets[0].name: ", "targets[0].x: ", "targets[1].tls.mode: "):
        assert path in (error.detail or "")


def test_text_that_is_not_json_is_named_by_line_and_column() -> None:
    error = refused(f'{{"encryption": "age",\n "recipients": [{SECRET}]}}')

    assert error.detail == "line 2, column 17: Expecting value"
    assert SECRET not in shown(error)


def test_an_unknown_target_is_answered_with_those_that_exist() -> None:
    configuration = Configuration.model_validate(document(targets=[target(), target(name="blog")]))

    with pytest.raises(TargetUnknownError) as caught:
        configuration.target("shoop")

    assert caught.value.detail == "Configured targets: blog, shop"


_PATHS = [
    ("encryption",),
    ("version",),
    ("recipients",),
    ("recipients", 0),
    ("targets",),
    ("targets", 0),
    ("targets", 0, "kind"),
    ("targets", 0, "schemas"),
    ("targets", 0, "tables"),
    ("targets", 0, "retention"),
    ("targets", 0, "limits"),
    ("targets", 0, "tls"),
    ("targets", 0, "secret", "url"),
    *(("targets", 0, "limits", name) for name in ("streams", "lock_timeout_seconds", "compression_level")),
    *(("targets", 0, "tls", name) for name in ("mode", "ca")),
    ("targets", 0, "unknown"),
    ("unknown",),
]
_SHAPES: list[Any] = [SECRET, [SECRET], {"x": SECRET}, [{"x": [SECRET]}], f"postgresql://u:{SECRET}@h/d"]


@given(st.sampled_from(_PATHS), st.sampled_from(_SHAPES))
def test_a_secret_in_a_wrong_place_is_never_repeated(path: tuple[str | int, ...], value: Any) -> None:
    data: Any = document(targets=[target(limits={}, tls={}, tables={})])
    place = data
    for step in path[:-1]:
        if not isinstance(place[step], dict | list):
            place[step] = {}
        place = place[step]
    place[path[-1]] = value

    assert SECRET not in shown(refused(data))


def shown(error: BaseException) -> str:
    """All that a log could hold of an error: its texts, those of its causes, and the tracebacks."""
    fields = " ".join(str(value) for value in vars(error).values())
    return fields + "".join(traceback.format_exception(error))


def test_a_validation_error_becomes_one_line_for_each_field() -> None:
    class Inner(BaseModel):
        numbers: list[int]
        mode: str = Field(pattern="^a$")

    class Outer(BaseModel):
        inner: list[Inner]

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": [{"numbers": [1, "x"], "mode": "b"}]})

    assert describe_validation(caught.value) == [
        "inner[0].numbers[1]: should be a valid integer, unable to parse string as an integer",
        "inner[0].mode: String should match pattern '^a$'",
    ]


def test_each_kind_of_target_is_found_among_its_own() -> None:
    configuration = Configuration.model_validate(document(targets=[target(), bucket()]))

    assert [found.name for found in configuration.databases] == ["shop"]
    assert [found.name for found in configuration.buckets] == ["files"]
    assert configuration.target("files") is configuration.bucket("files")
    with pytest.raises(TargetUnknownError) as caught:
        configuration.database("files")
    assert caught.value.detail == "Configured database targets: shop"
