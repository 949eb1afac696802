"""The recovery kit's script and a vault that was damaged or forged: one sentence that says what and where."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from coffre_cli.commands.keys.kit import restore

ID = "01M80CQHV1E87Z6EGTND1V2QFV"
MANIFEST = f"v1/backups/files/{ID}/manifest.json"
PACK = f"v1/packs/{ID}/000000-00000000-0000"
BODY = b"what was backed up"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Vault:
    """A copy of a vault with one backup of a bucket, which is not encrypted; each part of it can be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        pack = zstd.compress(BODY)
        self.frame: dict[str, Any] = {"pack": PACK, "offset": 0, "length": len(pack), "size": len(BODY)}
        self.frame["sha256"] = sha256(BODY)
        self.entry: dict[str, Any] = {"name": "photos/a", "kind": "object", "size": len(BODY), "sha256": sha256(BODY)}
        self.entry |= {"frames": [self.frame], "object": {"etag": "1"}}
        self.lists: dict[str, Any] = {"key": f"v1/backups/files/{ID}/entries.jsonl.zst"}
        self.manifest: dict[str, Any] = {"format": 1, "backup_id": ID, "target": "files", "kind": "bucket"}
        self.manifest |= {"encryption": "none", "recipients": [], "created_at": "2026-11-22T01:08:04Z"}
        self.manifest |= {"entries": [self.lists], "content": {"objects": 1}}
        self.write(PACK, pack)

    def write(self, key: str, body: bytes) -> None:
        path = self.root / "vault" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)

    def seal(self) -> None:
        """Write the entry and the manifest as a forger would: their hashes are right."""
        body = zstd.compress(json.dumps(self.entry).encode() + b"\n")
        self.write(f"v1/backups/files/{ID}/entries.jsonl.zst", body)
        self.lists.setdefault("sha256", sha256(body))
        self.write(MANIFEST, json.dumps(self.manifest).encode())


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vault:
    monkeypatch.chdir(tmp_path)
    return Vault(tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Run the script, and return why it stops; empty: it does not."""
    monkeypatch.setattr("sys.argv", ["restore.py", "vault", *arguments])
    before = os.umask(0o077)
    try:
        restore.main()
    except SystemExit as ended:
        return str(ended.code)
    finally:
        os.umask(before)
    return ""


def test_what_is_not_forged_is_restored(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.entry["object"] = {"file": "/etc/passwd", "name": "another"}
    vault.seal()

    assert run(monkeypatch, "files", "--directory", "out") == ""

    assert (vault.root / "out/objects/photos/a").read_bytes() == BODY
    index = json.loads((vault.root / "out/index.jsonl").read_text())
    assert index == {"file": "objects/photos/a", "name": "photos/a"}


HUGE = restore.LARGEST + 1
FORGED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a pack outside": ("frame", {"pack": "v1/../../etc/passwd"}, "outside the vault: 'v1/../../etc/passwd'"),
    "an absolute pack": ("frame", {"pack": "/etc/passwd"}, "outside the vault: '/etc/passwd'"),
    "a pack with NUL": ("frame", {"pack": "v1/a\0b"}, r"v1/a\x00b: it is missing from the copy"),
    "a pack that is missing": ("frame", {"pack": "v1/packs/none"}, "v1/packs/none: it is missing from the copy"),
    "a pack that is a folder": ("frame", {"pack": "v1/packs"}, "v1/packs: it is missing from the copy"),
    "an offset before it": ("frame", {"offset": -1}, f"{PACK}: it is missing from the copy"),
    "an offset behind it": ("frame", {"offset": 10_000}, f"{PACK}: it has no"),
    "a length beyond it": ("frame", {"length": 10_000}, f"{PACK}: it has no 10000 bytes at 0"),
    "a negative length": ("frame", {"length": -1}, f"{PACK}: it has no -1 bytes"),
    "a size beyond all": ("frame", {"size": HUGE}, f"{PACK} at 0: no frame has {HUGE} bytes"),
    "a negative size": ("frame", {"size": -1}, f"{PACK} at 0: no frame has -1 bytes"),
    "a size below": ("frame", {"size": 3}, f"{PACK} at 0: it is longer than it should be"),
    "another hash of a frame": ("frame", {"sha256": "0" * 64}, f"{PACK} at 0: the bytes of an entry are not those"),
    "another hash of an entry": ("entry", {"sha256": "0" * 64}, "'photos/a': the bytes of an entry are not those"),
    "more bytes of an entry": ("entry", {"size": 99}, "'photos/a': the bytes of an entry are not those"),
    "no frames": ("entry", {"frames": None}, f"backup {ID}: it is not what format 1 says (TypeError: "),
    "no kind": ("entry", {"kind": ["object"]}, "this script does not know entries of the kind ['object'] here"),
    "no facts": ("entry", {"object": None}, f"backup {ID}: it is not what format 1 says (TypeError: "),
    "a list outside": ("lists", {"key": "v1/../x"}, "outside the vault: 'v1/../x'"),
    "a list that is missing": ("lists", {"key": "v1/x"}, "v1/x: it is missing from the copy"),
    "another list": ("lists", {"sha256": "0" * 64}, "the entries file is not the one that the manifest recorded"),
    "no lists": ("manifest", {"entries": 5}, f"backup {ID}: it is not what format 1 says (TypeError: "),
    "another target": ("manifest", {"target": "\x1b[2J"}, rf"the manifest is of backup {ID} of \x1b[2J"),
    "another format": ("manifest", {"format": 2}, "this script reads format 1, not 2"),
}


@pytest.mark.parametrize("case", FORGED)
def test_it_says_what_is_wrong_and_where(case: str, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    part, changed, words = FORGED[case]
    getattr(vault, part).update(changed)
    vault.seal()

    why = run(monkeypatch, "files", "--directory", "out")

    assert why.startswith("STOP: ")
    assert words in why
    assert why.isprintable()
    assert not (vault.root / "out/index.jsonl").exists() or not (vault.root / "out/index.jsonl").read_text()


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"\xff", b"[" * 100_000, b'{"format": 1}', b" " * 200_000])
def test_a_manifest_that_is_none_hides_no_other_backup(
    body: bytes, vault: Vault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restore, "LARGEST", 150_000)
    vault.seal()
    other = MANIFEST.replace(ID, "01M80CQHV1E87Z6EGTND1V2QFW")
    vault.write(other, body)

    assert run(monkeypatch) == ""
    listed = capsys.readouterr()
    assert listed.out.startswith(f"files  {ID}  2026-11-22T01:08  bucket  1 objects")
    assert listed.err.startswith(f"files  01M80CQHV1E87Z6EGTND1V2QFW  cannot be restored: STOP: {other}: it ")
    assert run(monkeypatch, "files", "--directory", "out").startswith(f"STOP: {other}: it ")
    assert not (vault.root / "out").exists()
    assert run(monkeypatch, "files", ID, "--directory", "out") == ""


def test_a_stop_says_what_is_to_be_removed(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vault.write(PACK, b"")
    vault.seal()

    why = run(monkeypatch, "files", "--directory", "out")

    assert "Copy it again; if it is the same there, restore another backup" in why
    assert capsys.readouterr().err == "The directory out is incomplete: remove it before you start again.\n"


def test_a_bomb_is_not_unpacked_further_than_promised(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.write(PACK, zstd.compress(bytes(30_000_000)))
    vault.frame["length"] = (vault.root / "vault" / PACK).stat().st_size
    vault.seal()

    assert f"{PACK} at 0: it is longer than it should be" in run(monkeypatch, "files", "--directory", "out")


def test_no_name_of_a_forged_manifest_leaves_its_quotes() -> None:
    database = restore.Database("shop", "UTF8")

    assert restore.name('a"; \\! touch trap', "b") == '"a""; \\! touch trap"."b"'
    with pytest.raises(SystemExit, match="the character NUL"):
        database.bytes_of(f"SELECT {restore.name('a' + chr(0))}")


def test_a_locale_provider_of_a_forged_manifest_is_no_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = list[str]()

    class Server:
        def attempt(self, sql: str, _: str | None = None) -> tuple[int, list[str], bytes]:
            sent.append(sql)
            return len(sent) % 2, [], b""

    content = {"encoding": "UTF8", "locale": "C", "locale_provider": "icu;\n\\! touch trap\n", "provider_locale": "en"}
    restore.make_database(Server(), content, "shop")  # type: ignore[arg-type]

    assert sent[1:] == [
        "CREATE DATABASE \"shop\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';",
    ]


@pytest.mark.parametrize(
    "script", ["\\\\restrict a1\nSET client_min_messages = warning;", "SET client_min_messages = warning;"]
)
def test_it_says_when_a_forged_archive_could_run_programs(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pg_restore").write_text(f"#!/bin/sh\ncat <<EOF\n{script}\nEOF\n")
    (tmp_path / "pg_restore").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    archive = restore.Archive(tmp_path / "schema", restore.Database("shop", "UTF8"), {}, ())

    assert b"".join(archive._script("pre-data", None)).decode() == script.replace("\\\\", "\\") + "\n"

    assert ("--manifest-sha256" in capsys.readouterr().out) is not script.startswith("\\")
