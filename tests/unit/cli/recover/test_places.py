"""Where a recovery restores to: what is refused before anything is changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from coffre.model.errors import DestinationError, ScratchError, SecretError, SettingsError
from coffre.model.kinds import TargetKind
from coffre.model.recovery import Step, StepKind
from coffre_cli import server_programs
from coffre_cli.commands.recover import restore_places
from coffre_cli.commands.recover.destinations import (
    bucket_place_of,
    check_reference,
    connection_of,
    refuse_used,
)
from coffre_cli.commands.recover.progress_file import ProgressError, ProgressFile

URL = "postgresql://me:to%70secret@db.example:5433/new"


def test_a_database_is_named_by_a_variable_or_a_file_and_by_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "new.txt"
    file.write_text(f"{URL}\n")
    monkeypatch.setenv("NEW", URL)
    monkeypatch.setenv("EMPTY", "")

    for reference in ("env:NEW", str(file)):
        assert str(connection_of("shop", reference)) == "db.example:5433/new"
    assert connection_of("shop", "postgresql://me@db.example/new").password == ""
    for reference, code in {
        URL: "PASSWORD_IN_ARGUMENT",
        "env:EMPTY": "DESTINATION_SHAPE",
        "env:NOSUCH": "DESTINATION_SHAPE",
        str(tmp_path / "nosuch"): "DESTINATION_SHAPE",
        str(tmp_path): "DESTINATION_SHAPE",
    }.items():
        with pytest.raises(SecretError) as refused:
            connection_of("shop", reference)
        assert refused.value.code == code
        assert "secret@" not in str(refused.value)


def test_objects_go_to_buckets_or_a_directory() -> None:
    assert bucket_place_of("files", "s3://new").to == "new"
    assert bucket_place_of("files", "s3://new/below/it").to == "new/below/it"
    assert bucket_place_of("files", "s3://").to is None
    assert bucket_place_of("files", "directory:/srv/files").directory == Path("/srv/files")
    assert bucket_place_of("files", "/srv/files").directory == Path("/srv/files")
    for wrong in ("new-bucket", "gs://new", "ftp://files"):
        with pytest.raises(SecretError, match="no place for the objects of files"):
            check_reference("files", TargetKind.BUCKET, wrong)


def test_a_directory_with_anything_in_it_is_refused(tmp_path: Path) -> None:
    refuse_used(tmp_path / "new")
    refuse_used(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(DestinationError) as refused:
        refuse_used(tmp_path)
    assert refused.value.code == "DESTINATION_NOT_EMPTY"


def test_a_rehearsal_that_would_fill_the_disk_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
    files = Step(name="restore files", kind=StepKind.BUCKET, target="files", size_bytes=1_001)
    database = Step(name="restore shop", kind=StepKind.DATABASE, target="shop", size_bytes=501)

    for steps in ((files,), (database,)):
        with pytest.raises(ScratchError, match="The rehearsal needs about") as refused:
            restore_places.refuse_little_room(tmp_path, steps, is_server_here=True)
        assert refused.value.code == "SCRATCH_FULL"
    restore_places.refuse_little_room(tmp_path, (database,), is_server_here=False)  # it takes no room here


def test_without_server_programs_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_programs, "_homes", lambda: iter([tmp_path]))

    with pytest.raises(SettingsError, match="No server programs of PostgreSQL 18") as missing:
        server_programs.server_home()
    assert missing.value.code == "SERVER_PROGRAMS_MISSING"


def test_a_volume_that_no_rename_can_replace_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    refuse_used(volume)
    monkeypatch.setattr("os.path.ismount", volume.__eq__)

    with pytest.raises(DestinationError, match="is a volume") as refused:
        refuse_used(volume)

    assert refused.value.code == "DIRECTORY_NOT_WRITTEN"
    assert str(volume / "restored") in (refused.value.hint or "")
    refuse_used(volume / "restored")


def test_two_runs_do_not_work_in_one_directory(tmp_path: Path) -> None:
    progress = ProgressFile(tmp_path / "work")
    with progress.held(), pytest.raises(ProgressError) as second, ProgressFile(tmp_path / "work").held():
        pass
    assert second.value.code == "RECOVERY_RUNNING"
    with progress.held():
        pass


def test_a_journal_that_was_changed_is_refused(tmp_path: Path) -> None:
    progress = ProgressFile(tmp_path)
    progress.file.write_text('{"format": 2}')
    with pytest.raises(ProgressError, match="cannot be read"):
        progress.read()
