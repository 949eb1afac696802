"""A document that a person has just written: each mistake is named by its line, and nothing of it is repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coffre.model.configuration import parse_configuration
from coffre.model.configuration_mistakes import read_new_document
from coffre.model.configuration_version import LONGEST_DOCUMENT_BYTES
from coffre.model.errors import ConfigurationError
from coffre.vault.codec import new_identity, public_key

RECIPIENT = public_key(new_identity())


def document(**fields: Any) -> str:
    shop = {"name": "shop", "secret": "coffre/database/shop"}
    return json.dumps({"encryption": "age", "recipients": [RECIPIENT], "targets": [shop], **fields}, indent=2)


def mistakes(content: str | bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_new_document(content, where="a file")
    error = caught.value
    assert error.code == "CONFIGURATION_INVALID"
    assert "Nothing was written" in (error.hint or "")
    return f"{error.message}\n{error.detail or ''}"


def test_a_valid_document_is_read_as_the_functions_read_it() -> None:
    text = document(**{"$schema": "./configuration.schema.json"})

    assert read_new_document(text, where="a file") == parse_configuration(text, where="a file")
    assert read_new_document(text.encode(), where="a file") == parse_configuration(text, where="a file")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"\xff\xfe{}", "not text in UTF-8.\nthe byte at position 0"),
        ("\ud800", "not text in UTF-8"),
        (b"{", "not valid JSON.\nline 1, column 2"),
        (b'{"version": 1,}', "line 1, column 14"),
        (b"[" * 100_000, "too deeply nested"),
        (b"null", "document: should be a valid dictionary"),
        (b"[]", "document: should be a valid dictionary"),
        (b'"text"', "document: should be a valid dictionary"),
        (b"5", "document: should be a valid dictionary"),
        (b'{"version": ' + b"9" * 5000 + b"}", "out of range"),
    ],
)
def test_what_is_no_document_is_one_clear_error(content: str | bytes, said: str) -> None:
    assert said in mistakes(content)


def test_a_document_that_cannot_be_stored_is_refused_and_the_longest_one_is_not() -> None:
    text = document()
    longest = text + " " * (LONGEST_DOCUMENT_BYTES - len(text))

    assert read_new_document(longest, where="a file")
    assert "has 350,001 bytes; at most 350,000" in mistakes(longest + " ")
    assert "has 351,000 bytes" in mistakes("é" * 175_500)


def test_each_mistake_is_named_by_its_line_and_field_with_what_is_allowed() -> None:
    text = """{
  "encryption": "rot13",
  "recipients": [],
  "recipient": [],
  "targets": [
    {"name": "shop", "secret": "x",
     "limits": {"streams": 99,
                "lock_timeout_seconds": "long"}},
    {"name": "files", "kind": "bucket",
     "buckets": []},
    {"name": "Other", "kind": "tape"}
  ]
}"""
    said = mistakes(text)

    assert "6 mistakes" in said
    assert "line 2, encryption: should be 'age' or 'none'" in said
    assert "line 4, recipient: unknown field; did you mean recipients?" in said
    assert "line 7, targets[0].limits.streams: should be less than or equal to 16" in said
    assert "line 8, targets[0].limits.lock_timeout_seconds: should be a valid integer" in said
    assert "line 10, targets[1].buckets: " in said
    assert "line 11, targets[2].kind: should be 'database', 'bucket', 'settings' or 'repository'" in said


def test_what_is_missing_is_named_by_the_line_around_it() -> None:
    assert "line 4, targets[0].secret: Field required" in mistakes(
        '{\n"encryption": "none",\n"targets": [\n{"name": "shop"}]}'
    )
    assert mistakes("{}").count(": Field required") == 2


def test_a_value_that_may_be_a_secret_is_never_repeated() -> None:
    said = mistakes(document(targets=[{"name": "shop", "secret": "s", "password": "hunter2", "contents": "hunter2"}]))

    assert "targets[0].password: unknown field" in said
    assert "hunter2" not in said


def test_a_field_that_is_given_twice_is_named_wherever_it_is() -> None:
    text = """{"encryption": "none", "targets": [{"name": "a", "secret": "s",
      "limits": {"streams": 1,
                 "streams": 2}}],
      "encryption": "none"}"""
    said = mistakes(text)

    assert "line 3, targets[0].limits.streams: given twice" in said
    assert "line 4, encryption: given twice" in said


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(word: str) -> None:
    text = document(alerts={"success_rate_percent": 1}).replace(
        '"success_rate_percent": 1', f'"success_rate_percent": {word}'
    )

    assert f"{word} is no JSON" in mistakes(text)


def test_deep_nesting_that_json_still_takes_is_an_unknown_field() -> None:
    deep = '{"a":' * 900 + "1" + "}" * 900

    assert "a: unknown field" in mistakes(deep)


def test_of_thousands_of_mistakes_the_first_are_shown_and_the_others_counted() -> None:
    said = mistakes(document(**{f"f{number}": 1 for number in range(10_000)}))

    assert "10,000 mistakes" in said
    assert said.count("unknown field") == 50
    assert said.endswith("and 9,950 more")


def test_strings_with_quotes_and_braces_do_not_move_the_lines() -> None:
    text = """{"encryption": "none",
      "targets": [{"name": "a", "secret": "s\\"}{][,:\\\\",
        "contents": "some"}]}"""

    assert "line 3, targets[0].contents: " in mistakes(text)


def test_two_copies_of_one_place_are_refused_and_a_document_in_effect_is_not() -> None:
    def copy(name: str, **store: str) -> dict[str, object]:
        return {"name": name, "store": {"type": "s3", "bucket": "acme", **store}}

    text = document(copies=[copy("one"), copy("two", prefix="two"), copy("three", region="eu-west-1")])

    said = mistakes(text)
    assert "1 mistake" in said
    assert "copies[2].store: is the place of the copy one: give each its own" in said
    assert len(parse_configuration(text, where="SSM").copies) == 3
