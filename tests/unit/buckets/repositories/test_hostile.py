"""What servers of repositories may not do: lead elsewhere, learn a token, name what is no ref, or never end."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.forge import TOKEN, Forge, forge, pointer

from coffre.buckets.repositories.credentials import Credentials, parse_credentials
from coffre.buckets.repositories.forges import repositories_of
from coffre.buckets.repositories.git_errors import refusal
from coffre.buckets.repositories.git_http import AddressRefusedError, Wire, refuse_address
from coffre.buckets.repositories.lfs import LfsServer
from coffre.buckets.repositories.local_repository import LocalRepository
from coffre.buckets.repositories.remote import Remote
from coffre.model.errors import CoffreError, IntegrityError, RunStoppedError, SecretError, StoreError
from coffre.model.repositories import Organisation, RepositoryAddress


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Forge]:
    with forge(tmp_path / "server") as made:
        yield made


def wire(*, is_here: bool = True) -> Wire:
    return Wire(is_here, threading.Event())


def remote(url: str, **options: Any) -> Remote:
    return Remote(RepositoryAddress.parse(url), Credentials(token=TOKEN, place="a secret"), wire(), **options)


@pytest.mark.parametrize(
    ("address", "here", "function"),
    [
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("fd00:ec2::254", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("127.0.0.1", True, False),
        ("::1", True, False),
        ("10.0.0.7", True, True),
        ("140.82.121.4", True, True),
    ],
)
def test_addresses_of_metadata_and_of_the_function_are_refused(address: str, here: bool, function: bool) -> None:
    for is_here, allowed in ((True, here), (False, function)):
        if allowed:
            refuse_address(address, is_here=is_here)
        else:
            with pytest.raises(AddressRefusedError):
                refuse_address(address, is_here=is_here)


def test_a_name_is_checked_by_what_it_resolves_to(server: Forge) -> None:
    with pytest.raises(AddressRefusedError):
        Remote(
            RepositoryAddress.parse(f"https://localhost:{server.port}/a/b"), Credentials(), wire(is_here=False)
        ).refs()
    assert server.asked == []


def test_redirects_are_not_followed(server: Forge) -> None:
    server.answers.append(lambda _: (301, {"Location": f"{server.url}/other.git/info/refs"}, b""))

    with pytest.raises(StoreError) as refused:
        remote(f"{server.url}/a/b").refs()

    assert refused.value.code == "REPOSITORY_MOVED"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (401, {}, "TOKEN_REFUSED"),
        (403, {}, "ACCESS_DENIED"),
        (403, {"x-ratelimit-remaining": "0"}, "RATE_LIMITED"),
        (429, {"retry-after": "60"}, "RATE_LIMITED"),
        (404, {}, "REPOSITORY_GONE"),
        (503, {}, "SERVER_FAILED"),
        (418, {}, "SERVER_REFUSED"),
    ],
)
def test_each_refusal_has_a_code(status: int, headers: dict[str, str], code: str) -> None:
    error = refusal("It", status, headers, Credentials(token=TOKEN, place="coffre/repository/x"))

    assert error.code == code
    assert TOKEN not in f"{error} {error!r}"


@pytest.mark.parametrize("answer", [b"", b"<html>", b"001e# service=git-upload-pack\n00000", b"\x00" * 100])
def test_an_answer_that_is_none_is_one_clear_error(server: Forge, answer: bytes) -> None:
    kind = {"Content-Type": "application/x-git-upload-pack-advertisement"}
    server.answers.append(lambda _: (200, kind, answer))

    with pytest.raises(CoffreError) as refused:
        remote(f"{server.url}/a/b").refs()

    assert refused.value.code in {"GIT_FAILED", "REPOSITORY_GONE"}


def test_names_that_no_ref_has_are_left_out_and_named() -> None:
    one = b"a" * 40
    chosen = remote("https://github.com/a/b")._chosen(
        {
            b"refs/heads/main": one,
            b"refs/heads/../../config": one,
            b"refs/heads/a\nb": one,
            b"config": one,
            b"refs/heads/-x": one,
            b"refs/pull/1/head": one,
            b"HEAD": one,
        },
        {b"HEAD": b"refs/heads/gone"},
        None,
    )

    assert set(chosen.ids) == {b"refs/heads/main", b"refs/heads/-x"}
    assert chosen.head is None
    assert len(chosen.strange) == 3


def test_what_a_repository_contains_is_never_run(server: Forge, tmp_path: Path) -> None:
    made = server.make("a/b")
    made.commit(
        {
            ".gitmodules": b'[submodule "x"]\n path = x\n url = ext::sh -c "touch pwned"\n',
            ".lfsconfig": b"[lfs]\n url = http://169.254.169.254/\n",
            "x": b"c" * 40,
        },
        modes={"x": "160000"},
    )
    (made.folder / "hooks" / "post-checkout").write_text("#!/bin/sh\ntouch pwned\n")

    with LocalRepository.make(tmp_path / "clone", "a/b") as clone:
        refs = clone.add_pack(remote(made.url).fetch)
        clone.reached(refs.tips)
        clone.set_refs(refs)

    assert not any((tmp_path / "clone" / "hooks").glob("*"))
    config = (tmp_path / "clone" / "config").read_text()
    assert TOKEN not in config
    assert "url" not in config


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # dulwich leaves it to its finalizer
def test_an_incomplete_pack_is_refused_and_removed(server: Forge, tmp_path: Path) -> None:
    made = server.make("a/b")
    with LocalRepository.make(tmp_path / "clone", "a/b") as clone:
        refs = clone.add_pack(remote(made.url).fetch)
        with pytest.raises(IntegrityError) as broken:
            clone.reached([b"f" * 40])
        assert broken.value.code == "REPOSITORY_BROKEN"
        bundle = clone.full_bundle(refs)
    content = bytearray(b"".join(bundle.chunks()))
    content[-30] ^= 1
    with LocalRepository.make(tmp_path / "other", "a/b") as other, pytest.raises(CoffreError):
        other.add_bundle(iter([bytes(content)]))
    for text in (b"", b"no bundle\n", b"# v2 git bundle\n" + b"x" * 10):
        with LocalRepository.make(tmp_path / f"n{len(text)}", "a/b") as other, pytest.raises(IntegrityError):
            other.add_bundle(iter([text]))


def test_the_disk_is_looked_at(server: Forge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = server.make("a/b")
    monkeypatch.setattr("coffre.buckets.repositories.local_repository._RESERVE_BYTES", 1 << 60)

    with LocalRepository.make(tmp_path / "clone", "a/b") as clone, pytest.raises(StoreError) as refused:
        clone.add_pack(remote(made.url).fetch)

    assert refused.value.code == "REPOSITORY_TOO_LARGE"
    assert "--here" in (refused.value.hint or "")


def test_a_stopped_run_asks_for_nothing_more(server: Forge) -> None:
    asking = remote(f"{server.url}/a/b")
    asking.wire.stopping.set()

    with pytest.raises(RunStoppedError):
        asking.refs()
    assert server.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        {"href": "file:///etc/passwd"},
        {"href": "https://a.com/x y"},
        {"href": "https://a.com/x", "header": {"X\r\nY": "1"}},
        {"href": "https://a.com/x", "header": {"X": "1\r\nY: 2"}},
        {},
    ],
)
def test_a_transfer_of_lfs_goes_to_urls_alone(server: Forge, tmp_path: Path, answer: dict[str, Any]) -> None:
    body = json.dumps({"objects": [{"oid": "x", "actions": {"download": answer}}]}).encode()
    server.answers.append(lambda path: (200, {}, body) if "/info/lfs/" in path else None)
    lfs = LfsServer(RepositoryAddress.parse(f"{server.url}/a/b"), Credentials(token=TOKEN), wire())

    with pytest.raises(CoffreError) as refused:
        lfs.download("0" * 64, 1, tmp_path / "file")

    assert refused.value.code == "SERVER_FAILED"


def test_a_token_is_not_sent_to_another_server(server: Forge, tmp_path: Path) -> None:
    content = b"c"
    oid = pointer(content).split(b":")[2][:64].decode()
    with forge(tmp_path / "elsewhere") as elsewhere:
        elsewhere.lfs[oid] = content
        there = {"href": f"{elsewhere.url}/lfs-objects/{oid}", "header": {"X-Signed": "1"}}
        body = json.dumps({"objects": [{"oid": oid, "actions": {"download": there}}]}).encode()
        server.answers.append(lambda path: (200, {}, body) if "/info/lfs/" in path else None)
        lfs = LfsServer(RepositoryAddress.parse(f"{server.url}/a/b"), Credentials(token=TOKEN), wire())

        lfs.download(oid, 1, tmp_path / "file")

        assert [authorization for _, _, authorization in elsewhere.asked] == [None]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "FORGE_ANSWER"),
        (b"no json", "FORGE_ANSWER"),
        (b"[1]", "FORGE_ANSWER"),
    ],
)
def test_a_strange_list_of_repositories_is_refused(server: Forge, body: bytes, code: str) -> None:
    server.answers.append(lambda _: (200, {}, body))
    organisation = Organisation(forge="github", name="acme", url=server.url)

    with pytest.raises(StoreError) as refused:
        list(repositories_of(organisation, Credentials(token=TOKEN), wire(), pytest.fail))

    assert refused.value.code == code


def test_repositories_of_others_in_the_list_are_left_out(server: Forge) -> None:
    server.answers.append(lambda _: (200, {}, b'[{"full_name": "other/x"}, {"full_name": "acme/y"}]'))
    organisation = Organisation(forge="github", name="acme", url=server.url)

    found = list(repositories_of(organisation, Credentials(), wire(), pytest.fail))

    assert [one.path for one in found] == ["acme/y"]


def test_a_repository_with_a_strange_name_costs_no_other(server: Forge) -> None:
    strange = ["acme/../../x", "acme/a?b", "acme/-x", "acme/\u202e"]
    body = json.dumps([{"full_name": name} for name in (*strange, "acme/y")]).encode()
    server.answers.append(lambda _: (200, {}, body))
    organisation = Organisation(forge="github", name="acme", url=server.url)
    missed: list[str] = []

    found = list(repositories_of(organisation, Credentials(), wire(), missed.append))

    assert [one.path for one in found] == ["acme/y"]
    assert len(missed) == len(strange)
    assert all(one.isascii() and "is not in this backup" in one for one in missed)


@pytest.mark.parametrize(
    "text",
    [
        "s3cret", "{}", '{"token": "s3cret", "private_key": "k", "known_hosts": "h"}', '{"token": "s3cret\\n"}',
        '{"private_key": "s3cret"}', '{"tokens": "s3cret"}', "[]",
    ],
)  # fmt: skip
def test_a_wrong_secret_is_refused_without_its_values(text: str) -> None:
    with pytest.raises(SecretError) as refused:
        parse_credentials(text, where="coffre/repository/x")

    assert refused.value.code == "SECRET_SHAPE"
    assert "s3cret" not in str(refused.value)


def test_a_deploy_key_is_used_by_ssh_alone(server: Forge, tmp_path: Path) -> None:
    """A program stands in for ssh: it records how it was called, and runs the command as a server would."""
    made = server.make("a/b")
    record = tmp_path / "record"
    program = tmp_path / "ssh"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, pathlib, subprocess, sys\n"
        "key = pathlib.Path(sys.argv[sys.argv.index('-i') + 1])\n"
        f"pathlib.Path({str(record)!r}).write_text(json.dumps([sys.argv, key.read_text(), oct(key.stat().st_mode)]))\n"
        f'command = sys.argv[-1].replace("\'/", "\'{server.root}/")\n'
        "sys.exit(subprocess.call(['sh', '-c', command]))\n"
    )
    program.chmod(0o700)
    key = Credentials(private_key="k3y", known_hosts="host ssh-ed25519 AAAA", place="a secret")
    asking = Remote(RepositoryAddress.parse("ssh://git@host:2222/a/b"), key, wire(), ssh=str(program))

    refs = asking.refs()

    assert {name.decode(): one.decode() for name, one in refs.ids.items()} == made.refs()
    arguments, content, mode = json.loads(record.read_text())
    assert (content, mode) == ("k3y\n", "0o100600")
    assert "k3y" not in " ".join(arguments)
    assert {"StrictHostKeyChecking=yes", "BatchMode=yes", "IdentitiesOnly=yes"} <= set(arguments)
    assert arguments[-3:-1] == ["--", "git@host"]
    for asked, code in (
        (Remote(asking.address, key, wire(is_here=False), ssh=str(program)), "SSH_NEEDS_HERE"),
        (Remote(asking.address, Credentials(token="t"), wire(), ssh=str(program)), "KEY_MISSING"),
    ):
        with pytest.raises(StoreError) as refused:
            asked.refs()
        assert refused.value.code == code
