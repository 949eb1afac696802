"""A server that is newer than the client programs is noted in its backups."""

import pytest

from coffre.postgres.connection.minors import TESTED_MINORS, note_of_newer_minor


@pytest.mark.parametrize(
    ("number", "client", "is_newer"),
    [
        (180006, (18, 6), False),
        (180007, (18, 6), True),
        (180007, (18, 7), False),
        (150000 + TESTED_MINORS[15], (18, 6), False),
        (150001 + TESTED_MINORS[15], (18, 6), True),
        (110022, (18, 6), False),
    ],
)
def test_only_a_newer_minor_is_noted(number: int, client: tuple[int, int], *, is_newer: bool) -> None:
    note = note_of_newer_minor(number, f"{number // 10000}.{number % 10000} (Debian)", client)

    assert (note is not None) == is_newer
    if note:
        assert f"PostgreSQL {number // 10000}.{number % 10000}, newer" in note
        assert "(Debian)" not in note
