"""`coffre demo`: the whole story, and nothing left of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.conftest import Checkout, copied

pytestmark = pytest.mark.e2e


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A place for temporary files that PostgreSQL's own user can reach too."""
    directory = Path(tempfile.mkdtemp(prefix="coffre-demo-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def fresh(tmp_path: Path, temporary: Path) -> Iterator[Checkout]:
    with copied(tmp_path, {"TMPDIR": str(temporary)}) as made:
        yield made


def processes_below(*places: Path) -> list[str]:
    """Return the command lines of processes that run from a place, in it, or name it."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command, directory = " ".join(process.info["cmdline"] or []), process.info["cwd"] or ""
        if any(str(place) in command or directory.startswith(str(place)) for place in places):
            found.append(command)
    return found


def test_the_demo_tells_the_whole_story_and_leaves_nothing(fresh: Checkout, temporary: Path) -> None:
    said = fresh.coffre("demo", "--short")

    assert said.status == 0, said.out + said.err
    for chapter in (
        "1. Deploy",
        "2. Back up",
        "3. Lose data",
        "4. Restore",
        "5. Compare",
        "6. Restore no more than was lost",
        "7. Restore the minute before",
        "8. Prove it",
        "9. Find damage",
        "10. Notice what is unusual",
        "11. Keep what is needed",
        "12. The region is gone",
    ):
        assert f"\n{chapter}\n" in said.out
    assert "One backup answers all three: " in said.out
    assert {"COMPLETED", "daily", "weekly", "monthly"} <= set(said.out.split())
    assert "  - Dropped billing.payments" in said.out
    assert "not one differs." in said.out
    assert "\\n" not in said.out  # a line break of our own that was escaped as if a name had it
    assert "Equal again in casa: billing.payments and casa.reviews, every row." in said.out
    assert "Equal again: all 18 files, with their types and metadata." in said.out
    assert "Equal again: casa.reviews, every row, those of this morning too." in said.out
    assert "Drill of casa: Restored and proven." in said.out
    assert "of casa is DAMAGED:" in said.out
    assert "Subject: The backup of casa-files has shrunk a lot" in said.out
    assert "0 of 9 backups would be deleted." in said.out
    assert "Dropped the database casa." in said.out
    assert "Everything is restored." in said.out
    assert "Equal to what was backed up: " in said.out
    assert "password" not in (said.out + said.err).lower()

    assert processes_below(temporary, fresh.root) == []
    assert not (fresh.root / ".coffre" / "local.json").exists()
    assert sorted(temporary.iterdir()) == []
