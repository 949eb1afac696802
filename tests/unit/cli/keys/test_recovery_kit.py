"""`coffre keys recovery-kit`: what the folder contains, what it never contains, and when it is out of date."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.conftest import BUCKET, REGION, Coffre
from tests.unit.cli.keys.conftest import MAIN, Keys, Pair

from coffre.vault.passphrase import open_with_passphrase
from coffre_cli.commands.keys import kit_facts
from coffre_cli.commands.keys.recovery_kit import SCRIPT

PASSPHRASE = "five random words here"


@pytest.fixture
def kit(keys: Keys) -> Path:
    """A folder that does not exist yet; backups of one target exist."""
    keys.back_up(keys.main, keys.offline)
    return keys.scratch / "kit"


@pytest.fixture
def sealed(kit: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The arguments for a kit with the private keys."""
    monkeypatch.setenv("KIT", PASSPHRASE)
    return ["keys", "recovery-kit", kit, "--include-identity", "--passphrase", "env:KIT"]


@pytest.fixture
def included(sealed: list[object], monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The same without the seconds that scrypt takes by design."""
    monkeypatch.setattr("coffre.vault.passphrase.seal_with_passphrase", lambda content, passphrase: b"sealed")
    return sealed


def files_of(kit: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in kit.iterdir()}


def test_a_kit_names_everything_and_contains_the_keys_encrypted_alone(
    coffre: Coffre, keys: Keys, kit: Path, sealed: list[object]
) -> None:
    said = coffre(*sealed, "--identity", keys.file(keys.offline))

    assert said.status == 0, said.err
    files = files_of(kit)
    assert set(files) == {
        "README.md",
        "page.html",
        "restore.py",
        "facts.json",
        "configuration.json",
        "identity.age",
        "SHA256SUMS",
    }
    assert json.loads(files["configuration.json"])["targets"][0]["name"] == "shop"
    assert kit.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in kit.iterdir()} == {0o600}
    for needed in (f"s3://{BUCKET}", REGION, "123456789012", keys.main.recipient, "shop", "database shop", MAIN):
        assert needed in files["README.md"], needed
        assert needed in files["page.html"], needed
    assert f"aws s3 sync s3://{BUCKET} vault --region {REGION}\n" in files["README.md"]
    assert all("AGE-SECRET-KEY" not in text for text in (*files.values(), said.out, said.err))
    opened = open_with_passphrase((kit / "identity.age").read_bytes(), PASSPHRASE).decode()
    assert keys.main.identity in opened
    assert keys.offline.identity in opened
    assert files["restore.py"] == SCRIPT.read_text()
    for line in files["SHA256SUMS"].splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((kit / name).read_bytes()).hexdigest() == digest
    assert len(files["SHA256SUMS"].splitlines()) == 6


def test_the_page_loads_nothing_and_shows_codes(coffre: Coffre, keys: Keys, kit: Path, included: list[object]) -> None:
    coffre(*included)

    page = (kit / "page.html").read_text()
    assert page.count("<svg") == 3  # the address and two public keys
    assert not re.search(
        r"""(src|href)=|url\(|<script|@import""", page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    )


def test_a_kit_can_name_the_place_of_the_key_instead(coffre: Coffre, keys: Keys, kit: Path) -> None:
    said = coffre("keys", "recovery-kit", kit, "--identity-at", "in the safe,\x1b[2J envelope <7>")

    files = files_of(kit)
    assert said.status == 0
    assert "identity.age" not in files
    assert "in the safe,\\x1b[2J envelope <7>" in files["README.md"]
    assert "envelope &lt;7&gt;" in files["page.html"]
    assert "--identity identity.txt" in files["README.md"]
    assert list(keys.account.catalog.audit.events()) == []


def test_the_keys_are_printed_in_the_clear_only_when_that_is_asked_for(
    coffre: Coffre, keys: Keys, kit: Path, included: list[object]
) -> None:
    said = coffre(*included, "--print-identity")

    page = (kit / "identity.html").read_text()
    assert keys.main.identity in page
    assert "<svg" in page
    assert "delete the file" in page
    assert "identity.html" in said.out
    assert "identity.html" not in (kit / "SHA256SUMS").read_text()
    [event] = keys.account.catalog.audit.events()
    assert event.action == "key.exported"
    assert "not encrypted" in (event.detail or "")
    assert "identity.html with the private keys is still there" in coffre("keys", "recovery-kit", kit, "--check").out


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ([], 2, "--include-identity, or --identity-at"),
        (["--include-identity", "--identity-at", "x"], 2, "--include-identity, or --identity-at"),
        (["--include-identity", "--passphrase", "env:SHORT"], 1, "[PASSPHRASE_SHORT]"),
        (["--include-identity", "--passphrase", "env:MISSING"], 1, "[PASSPHRASE_MISSING]"),
        (["--include-identity", "--passphrase", "the passphrase itself"], 1, "[PASSPHRASE_MISSING]"),
        (["--identity-at", "x", "--target", "shopp"], 1, 'No target "shopp" exists.'),
    ],
)
def test_what_cannot_be_a_kit_is_refused_and_leaves_no_folder(
    coffre: Coffre, kit: Path, options: list[str], status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT", "hunter2")

    said = coffre("keys", "recovery-kit", kit, *options)

    assert (said.status, said.out) == (status, "")
    assert words in re.sub(r"[\s│]+", " ", said.err)
    assert not kit.exists()
    assert "the passphrase itself" not in said.err


def test_a_kit_that_would_not_open_a_target_is_refused(
    coffre: Coffre, keys: Keys, kit: Path, included: list[object]
) -> None:
    own = Pair()
    keys.configure(keys.main, keys.offline, files=[own])
    keys.back_up(own, target="files")

    said = coffre(*included)

    assert (said.status, kit.exists()) == (1, False)
    assert "No private key that is known here opens the newest backup of files." in said.err
    assert coffre(*included, "--target", "shop").status == 0
    assert own.recipient not in (kit / "README.md").read_text()


def test_nothing_is_overwritten(coffre: Coffre, kit: Path, included: list[object]) -> None:
    kit.mkdir()
    (kit / "mine").write_text("")

    said = coffre(*included)

    assert said.status == 1
    assert "[OUTPUT_EXISTS]" in said.err
    assert [path.name for path in kit.iterdir()] == ["mine"]


# --- Is it still true? ---


def checked(coffre: Coffre, kit: Path) -> tuple[int, list[str]]:
    said = coffre("keys", "recovery-kit", kit, "--check", "--json")
    return said.status, said.json()["problems"]


def test_a_fresh_kit_is_current_and_later_backups_do_not_change_that(
    coffre: Coffre, keys: Keys, kit: Path, included: list[object]
) -> None:
    coffre(*included)
    keys.back_up(keys.main, keys.offline)

    assert checked(coffre, kit) == (0, [])
    assert "complete and still true" in coffre("keys", "recovery-kit", kit, "--check").out


def test_a_new_key_a_new_target_and_a_moved_bucket_are_found(
    coffre: Coffre, keys: Keys, kit: Path, included: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre(*included)
    new, own = Pair(), Pair()
    keys.configure(new, keys.offline, files=[own])
    keys.back_up(own, target="files")

    status, problems = checked(coffre, kit)

    assert status == 1
    assert f"The kit does not know the key {new.recipient} of shop." in problems
    assert "The kit does not know the target files." in problems
    assert "The kit contains no private key that opens the newest backup of files." in problems

    facts = json.loads((kit / "facts.json").read_text())
    monkeypatch.setattr(kit_facts, "FORMAT", 2)
    facts["vault"]["address"] = "s3://elsewhere"
    (kit / "facts.json").write_text(json.dumps(facts))
    _, problems = checked(coffre, kit)
    assert any("New backups have format 2" in one for one in problems)
    assert any(f"The vault is s3://{BUCKET}, {REGION}" in one and "s3://elsewhere" in one for one in problems)


def test_changed_missing_and_old_files_are_found(
    coffre: Coffre, keys: Keys, kit: Path, included: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    coffre(*included)
    (kit / "README.md").unlink()
    (kit / "restore.py").write_text("print('gone')")
    newer = tmp_path / "restore.py"
    newer.write_text("# newer")
    monkeypatch.setattr("coffre_cli.commands.keys.recovery_kit.SCRIPT", newer)

    assert checked(coffre, kit) == (
        1,
        [
            "README.md is missing.",
            "restore.py was changed after the kit was written.",
            "restore.py is that of another version of Coffre.",
        ],
    )


@pytest.mark.parametrize("content", [None, "", "{}", '{"kit": 2}'])
def test_what_is_no_kit_is_an_error(coffre: Coffre, keys: Keys, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "facts.json").write_text(content)

    said = coffre("keys", "recovery-kit", tmp_path, "--check")

    assert (said.status, said.out) == (1, "")
    assert "[KIT_UNREADABLE]" in said.err


# --- The script ---


def test_the_script_runs_on_the_python_that_the_readme_asks_for_and_imports_the_standard_library_alone() -> None:
    import sys

    tree: Any = ast.parse(SCRIPT.read_text(), feature_version=(3, 9))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


COPIES = (
    {"name": "offsite", "store": {"type": "s3", "bucket": "acme-copy", "prefix": "coffre", "region": "eu-west-3"}},
    {"name": "google", "store": {"type": "gcs", "bucket": "acme", "secret": "coffre/copies/gcs"}},
    {"name": "azure", "store": {"type": "azure", "account": "acme", "container": "copy", "secret": "coffre/copies/az"}},
    {"name": "nas", "store": {"type": "directory", "path": "/mnt/nas/coffre"}},
)


def test_the_kit_knows_the_copies_and_is_out_of_date_with_another_one(coffre: Coffre, keys: Keys, kit: Path) -> None:
    keys.configure(keys.main, copies=COPIES)
    coffre("keys", "recovery-kit", kit, "--identity-at", "the safe")

    files = files_of(kit)
    current = coffre("keys", "recovery-kit", kit, "--check")
    keys.configure(keys.main, copies=[*COPIES, {"name": "disk", "store": {"type": "directory", "path": "/media/disk"}}])
    stale = coffre("keys", "recovery-kit", kit, "--check")

    addresses = [one["address"] for one in json.loads(files["facts.json"])["copies"]]
    assert addresses == ["s3://acme-copy/coffre", "gs://acme", "azure://acme/copy", "directory:/mnt/nas/coffre"]
    for page in ("README.md", "page.html"):
        assert all(address in files[page] for address in addresses)
        assert "coffre recover --kit ." in files[page]
    assert "coffre/copies/gcs" in files["README.md"]
    assert current.status == 0, current.out
    assert stale.status == 1
    assert "The kit does not know the copy disk: directory:/media/disk." in stale.out
