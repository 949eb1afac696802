"""When a full bundle is due."""

from __future__ import annotations

import pytest

from coffre.policy.bundle_chain import is_full_due


@pytest.mark.parametrize(
    ("sizes", "due"),
    [([], True), ([100], False), ([100, 60, 40], False), ([100, 60, 41], True), ([10**9] * 1 + [1] * 58, False),
     ([10**9] * 1 + [1] * 59, True)],
)  # fmt: skip
def test_a_full_bundle_is_due_when_the_chain_is_long_or_large(sizes: list[int], due: bool) -> None:
    assert is_full_due(sizes) is due
