"""Names of files for keys: never outside, never two keys in one file, also where case does not count."""

import tempfile
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coffre.policy.file_names import FOLDER, LIST, FileNames, is_safe_path

LETTERS = st.sampled_from(
    ["a", "A", "ß", "ẞ", "é", "e\u0301", "ﬁ", "fi", "/", "//", ".", "..", "\\", "\x00", "\n", " ", "x" * 256]
)
KEYS = st.lists(st.lists(LETTERS, min_size=1, max_size=6).map("".join), unique=True, max_size=25)
HOSTILE = [
    *(
        "",
        "/",
        "//",
        "/etc/passwd",
        "..",
        "../up",
        "a/../../b",
        "a/./b",
        "a//b",
        "trailing/",
        "a\\..\\b",
        "nul",
        "COM1.txt",
    ),
    *("bell\x07", "line\nbreak", "dot.", "space ", "x" * 256, "é" * 128, "\x85", "Aux/x", "lone\ud800"),
    *(LIST, LIST.upper(), f"{FOLDER}/x", f"{FOLDER.title()}/y"),
]


def folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


@settings(max_examples=150)
@given(KEYS, st.booleans())
@example(["A", "a", "a/b", "A/b"], True)
@example(["a/b", "a", "A"], False)
def test_every_key_gets_a_path_of_its_own_inside(keys: list[str], in_order: bool) -> None:
    names = FileNames()

    paths = [names.path_of(key) for key in (sorted(keys) if in_order else keys)]

    for path in paths:
        assert is_safe_path(path)
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
    plain = [folded(path) for path in paths]
    assert len(set(plain)) == len(keys)
    assert not any(one != other and other.startswith(f"{one}/") for one in plain for other in plain)


def test_what_is_safe_keeps_its_name() -> None:
    names, keys = (
        FileNames(),
        ["2026/cat.jpg", "2026/Über uns.html", "a-b", "a:b", "COMMA", "con-text", ".hidden", "x..y", "~"],
    )

    assert [names.path_of(key) for key in keys] == keys


@pytest.mark.parametrize("key", HOSTILE)
def test_what_cannot_be_a_file_gets_a_name_that_says_nothing(key: str) -> None:
    path = FileNames().path_of(key)

    assert path != key
    assert path.startswith(f"{FOLDER}/")
    assert path.isascii()


def test_a_name_made_up_keeps_the_ending_and_is_always_the_same() -> None:
    path = FileNames().path_of("../Cat.JPG")

    assert path.endswith(".jpg")
    assert path == FileNames().path_of("../Cat.JPG")


def test_folders_that_are_marked_are_folders_unless_a_file_is_in_the_way() -> None:
    names = FileNames()

    assert names.folder_of("a/") == "a"
    assert names.path_of("a/b") == "a/b"
    assert names.path_of("A").startswith(FOLDER)
    assert names.path_of("file") == "file"
    for key in ("file/", "FILE/x/", "../", "//", f"{FOLDER}/"):
        assert names.folder_of(key) is None


@settings(max_examples=40)
@given(KEYS)
def test_a_real_folder_holds_them_all(keys: list[str]) -> None:

    names = FileNames()
    with tempfile.TemporaryDirectory() as root:
        for key in keys:
            path = Path(root) / names.path_of(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                file.write(key.replace("\ud800", ""))
        assert sum(path.is_file() for path in Path(root).rglob("*")) == len(keys)
