"""A store on this disk, and keys."""

from pathlib import Path

import pytest

from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder, FrameEncoder, new_identity, public_key


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    folder = tmp_path / "vault"
    folder.mkdir()
    return DirectoryStore(folder)


@pytest.fixture(scope="session")
def identity() -> str:
    return new_identity()


@pytest.fixture(scope="session")
def encoder(identity: str) -> FrameEncoder:
    return FrameEncoder([public_key(identity)])


@pytest.fixture(scope="session")
def decoder(identity: str) -> FrameDecoder:
    return FrameDecoder([identity])
