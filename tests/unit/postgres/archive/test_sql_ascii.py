"""Names in a database without an encoding are any bytes, and come back as these bytes."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coffre.postgres.archive.sql_ascii import bytes_of, has_other_bytes, text_of


@given(st.binary())
@example("\uef80 and \ueffe".encode())
@example(b"\xee\xbe")
@example(b"caf\xe9 caf\xc3\xa9")
def test_any_bytes_have_a_text_of_their_own_that_json_takes(data: bytes) -> None:
    text = text_of(data)

    assert bytes_of(text) == data
    assert json.loads(json.dumps(text).encode()) == text
    assert text.encode().decode() == text  # valid Unicode: no surrogate


@given(st.text(st.characters(exclude_categories=["Cs"]).filter(lambda c: not "\uef80" <= c <= "\uefff")))
def test_what_is_utf_8_is_shown_as_it_is(text: str) -> None:
    assert text_of(text.encode()) == text
    assert bytes_of(text) == text.encode()
    assert not has_other_bytes(text)


@pytest.mark.parametrize(("data", "text"), [(b"caf\xe9", "caf\uefe9"), (b"\x80\xff", "\uef80\uefff")])
def test_other_bytes_are_private_characters(data: bytes, text: str) -> None:
    assert text_of(data) == text
    assert has_other_bytes(text)
