"""Names of variables are found in files as people write them."""

from __future__ import annotations

import pytest

from coffre.policy.dotenv import variables_of


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"A=1\nB=2\n", {"A": "1", "B": "2"}),
        (b"\xef\xbb\xbfA=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        (b"export A='x y' # why\n  B = 2\n", {"A": "'x y'", "B": "2"}),
        (
            b'KEY="-----BEGIN\r\nB=not a variable\r\n-----END"\r\nC=3',
            {"KEY": '"-----BEGIN\nB=not a variable\n-----END"', "C": "3"},
        ),
        (b'A="say \\"B=1\\"\nC=2"\nD=\n', {"A": '"say \\"B=1\\"\nC=2"', "D": ""}),
        (b"# A=1\n#B=2\nnonsense\n=3\n", {}),
        (b"A=1=2\nA=3\n", {"A": "3"}),
        (b'A="never closed\nB=2\n', {"A": '"never closed', "B": "2"}),
        (b"\x00\xff\xfe", {}),
        (b"", {}),
    ],
)
def test_variables_are_found(content: bytes, found: dict[str, str]) -> None:
    assert variables_of(content) == found
