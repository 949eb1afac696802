"""Which keys of a bucket a backup takes."""

import pytest

from coffre.policy.object_keys import key_choice


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("*.jpg", ["a.jpg", ".jpg"], ["x/a.jpg", "a.jpg.bak", "a_jpg"]),
        ("**.jpg", ["a.jpg", "x/y/a.jpg", "x\ny.jpg"], ["a.png"]),
        ("tmp/**", ["tmp/", "tmp/a/b"], ["tmp", "x/tmp/a"]),
        ("u/*/avatar", ["u/1/avatar", "u//avatar"], ["u/1/2/avatar", "u/avatar"]),
        ("file?", ["file1", "fileé"], ["file", "file12", "file/"]),
        ("[a]+(b)", ["[a]+(b)"], ["ab"]),
    ],
)
def test_patterns_are_of_whole_keys(pattern: str, fitting: list[str], others: list[str]) -> None:
    takes, leaves = key_choice((), (pattern,), ()), key_choice((), (), (pattern,))

    assert [key for key in (*fitting, *others) if takes(key)] == fitting
    assert [key for key in (*fitting, *others) if leaves(key)] == others


def test_prefixes_include_and_exclude_have_to_agree() -> None:
    takes = key_choice(("a/", "b"), ("**.txt", "**.md"), ("a/private/**",))

    keys = ["a/x.txt", "a/x.md", "b.md", "a/private/x.md", "c/x.txt", "a/x.jpg"]
    assert [key for key in keys if takes(key)] == ["a/x.txt", "a/x.md", "b.md"]


def test_nothing_said_takes_everything() -> None:
    assert all(map(key_choice((), (), ()), ["", "a", "/", "..", "\x00"]))
