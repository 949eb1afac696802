"""When a certificate is reported: early enough to renew it, and not while it is renewed by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from coffre.policy.certificates import ends_soon

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("life", "left", "expected"),
    [
        (3650, 31, False),
        (3650, 29, True),
        (365, 31, False),
        (365, 29, True),
        # Public authorities' of 90 days are renewed when 30 are left, those of 45 days when 15 are
        (90, 29, False),
        (90, 17, True),
        (45, 14, False),
        (45, 8, True),
        (365, -1, True),
    ],
)
def test_the_end_is_near_by_the_length_of_a_life(life: int, left: int, expected: bool) -> None:
    ends = NOW + timedelta(days=left)

    assert ends_soon(ends - timedelta(days=life), ends, NOW) is expected
