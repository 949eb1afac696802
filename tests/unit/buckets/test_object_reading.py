"""The pieces of one object belong together, also where no listing has shown its etag."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coffre.buckets.changes import SourceObject
from coffre.buckets.object_facts import Listed
from coffre.buckets.object_reading import ObjectReading
from coffre.buckets.reader import PIECE_BYTES, Piece
from coffre.model.errors import StoreTransientError
from coffre.stores.s3_errors import Call

ONE = {"etag": '"1"', "last-modified": "Tue, 17 Nov 2026 03:00:00 GMT"}
LATER = {"last-modified": "Tue, 17 Nov 2026 03:00:05 GMT"}


@pytest.mark.parametrize(
    ("first", "second", "size"),
    [
        (ONE, {**ONE, "etag": '"2"'}, PIECE_BYTES + 1),
        ({"last-modified": ONE["last-modified"]}, LATER, PIECE_BYTES + 1),
        (ONE, ONE, PIECE_BYTES + 2),
        (ONE, ONE, PIECE_BYTES + 1),
    ],
    ids=["etag", "time", "size", "the same"],
)
def test_pieces_of_two_versions_are_not_put_together(
    first: Mapping[str, str], second: Mapping[str, str], size: int
) -> None:
    pieces: list[Future[Piece]] = [Future(), Future()]
    pieces[0].set_result(Piece(bytes(PIECE_BYTES), PIECE_BYTES + 1, first))
    pieces[1].set_result(Piece(b"1", size, second))
    reader = cast("Any", SimpleNamespace(call=lambda what, bucket, key: Call(what, bucket, key, "https://store")))
    reading = ObjectReading(reader, SourceObject("b/k", "b", Listed("k", PIECE_BYTES + 1)), iter(pieces))

    if (first, size) == (second, PIECE_BYTES + 1):
        assert sum(map(len, reading.chunks())) == PIECE_BYTES + 1
        return
    with pytest.raises(StoreTransientError) as changed:
        list(reading.chunks())
    assert changed.value.code == "OBJECT_CHANGED"
