"""Addresses of vaults: what a person writes is one place, or one clear error."""

from pathlib import Path

import pytest

from coffre.model.addresses import VaultAddress, VaultUnusableError, parse_address


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s3://bucket", VaultAddress("s3", "bucket")),
        ("s3://bucket/", VaultAddress("s3", "bucket")),
        ("s3://bucket/a folder/b/", VaultAddress("s3", "bucket", "a folder/b")),
        ("gs://bucket", VaultAddress("gcs", "bucket")),
        ("gs://bucket/coffre/", VaultAddress("gcs", "bucket", "coffre")),
        ("azure://account1/container", VaultAddress("azure", "container", account="account1")),
        ("azure://account1/container/a/b/", VaultAddress("azure", "container", "a/b", "account1")),
        ("directory:/media/disk", VaultAddress("directory", "/media/disk")),
        ("directory:s3", VaultAddress("directory", str(Path.cwd() / "s3"))),
        ("vault", VaultAddress("directory", str(Path.cwd() / "vault"))),
        ("./vault/", VaultAddress("directory", str(Path.cwd() / "vault"))),
        ("a:b", VaultAddress("directory", str(Path.cwd() / "a:b"))),
        ("/", VaultAddress("directory", "/")),
    ],
)
def test_an_address_names_one_place(text: str, wanted: VaultAddress) -> None:
    assert parse_address(text) == wanted


def test_a_home_directory_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_address("directory:~/vault") == parse_address("~/vault") == VaultAddress("directory", "/home/me/vault")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "directory:",
        "directory:s3://bucket",
        "s3://",
        "s3:///prefix",
        "gs://",
        "ftp://bucket",
        "S3://bucket",
        "azure://account1",
        "azure://account1/",
        "azure://Account/container",
        "azure://a.b/container",
        "azure:///container",
        "/vault\0",
    ],
)
def test_what_is_no_address_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(VaultUnusableError) as refused:
        parse_address(text)
    assert "azure://ACCOUNT/CONTAINER/PREFIX" in (refused.value.hint or "")
