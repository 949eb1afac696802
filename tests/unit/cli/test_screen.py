"""What a person sees: sizes, times, lines that break between words, and how far a run is."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from coffre.model.backup import Backup, Progress, Status, Tier
from coffre.model.errors import BackupStateError, CatalogError, CoffreError
from coffre.model.words import duration, size
from coffre_cli import follow as following
from coffre_cli import screen
from coffre_cli.follow import facts, follow
from coffre_cli.screen import age

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15}


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_250, "1.2 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_500_000, "1.5 MB"),
        (26_000_000_000, "26.0 GB"),
        (999_999_999_999, "1.0 TB"),
        (1_200_000_000_000_000, "1.2 PB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


@given(st.integers(min_value=0, max_value=999 * 10**15))
def test_a_size_is_short_and_right_to_its_last_digit(count: int) -> None:
    text = size(count)

    number, unit = text.split()
    assert len(text) <= 8
    assert abs(float(number) * UNITS[unit] - count) <= 0.051 * UNITS[unit]


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (59_949, "59.9 s"),
        (59_950, "1 min 00 s"),
        (60_000, "1 min 00 s"),
        (245_000, "4 min 05 s"),
        (3_599_600, "1 h 00 min"),
        (7_380_000, "2 h 03 min"),
    ],
)
def test_durations(milliseconds: int | None, text: str) -> None:
    assert duration(milliseconds) == text


@given(st.integers(min_value=0, max_value=10**9))
def test_a_duration_never_shows_sixty(milliseconds: int) -> None:
    assert not re.search(r"\b60(\.0)? (s|min)", duration(milliseconds))


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=-30), "0 s ago"),
        (timedelta(), "0 s ago"),
        (timedelta(seconds=89), "89 s ago"),
        (timedelta(seconds=90), "1 min ago"),
        (timedelta(minutes=89), "89 min ago"),
        (timedelta(minutes=90), "1 h ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(hours=48), "2 d ago"),
        (timedelta(days=400), "400 d ago"),
    ],
)
def test_ages(ago: timedelta, text: str) -> None:
    assert age(NOW - ago, NOW) == text


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=9000)))
def test_an_age_never_says_more_than_has_passed(ago: timedelta) -> None:
    number, unit, _ = age(NOW - ago, NOW).split()
    step = {"s": timedelta(seconds=1), "min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}

    assert timedelta(0) <= ago - int(number) * step[unit] < step[unit]


# --- lines ---


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A person's terminal of eighty columns."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, color_system=None, highlight=False)
    monkeypatch.setattr(screen, "console", console)
    monkeypatch.setattr(screen, "error_console", console)
    return output


def test_words_are_not_broken_on_a_terminal(terminal: io.StringIO) -> None:
    text = "Restored shop into db.example:5432/copy: 49 tables, 766,090 rows in 2.8 s. Row counts equal the backup's."

    screen.say(text)

    lines = terminal.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert " ".join(line.strip() for line in lines) == text
    assert lines[1].startswith("  ")


def test_a_command_stays_in_one_piece(terminal: io.StringIO) -> None:
    command = "coffre restore 01K9X000000000000000000000 --to postgresql://somebody@a.long.host.example:5432/copy"

    screen.say_command(command)

    assert terminal.getvalue() == f"  {command}\n"


def test_an_error_is_what_happened_the_other_sides_words_and_what_to_do(terminal: io.StringIO) -> None:
    screen.show_error(
        CoffreError(
            "The configuration document has 2 wrong values, and this sentence goes on until it has to be broken.",
            code="CONFIGURATION_INVALID",
            detail="targets[0].name: missing\n  targets[1].colour: unknown field",
            hint="Correct these fields.",
        )
    )

    assert terminal.getvalue().splitlines() == [
        "Error: The configuration document has 2 wrong values, and this sentence goes on",
        "  until it has to be broken. [CONFIGURATION_INVALID]",
        "  targets[0].name: missing",
        "    targets[1].colour: unknown field",
        "What to do: Correct these fields.",
    ]


def test_what_looks_like_markup_is_shown_as_it_is(terminal: io.StringIO) -> None:
    screen.say("[bold]not bold[/bold] [/] \\[x]")

    assert terminal.getvalue() == "[bold]not bold[/bold] [/] \\[x]\n"


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=200))
def test_a_word_is_never_cut(word: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=20)

    assert screen._fitted(console, f"a b {word}".rstrip()).split() == f"a b {word}".split()


# --- how far a run is ---


def running(seconds: float = 10.0, **progress: Any) -> Backup:
    return Backup(
        id="01K9X000000000000000000000",
        target="shop",
        tiers=(Tier.MANUAL,),
        status=Status.IN_PROGRESS,
        created_at=NOW,
        heartbeat_at=NOW + timedelta(seconds=seconds),
        progress=Progress(**progress),
    )


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        ({}, "starting"),
        ({"phase": "snapshot"}, "snapshot"),
        (
            {"phase": "tables", "done_bytes": 0, "total_bytes": 70_000_000, "done_tables": 0, "total_tables": 49},
            "0 B of 70.0 MB, 0/49 tables",
        ),
        (
            {
                "phase": "tables",
                "done_bytes": 51_000_000,
                "total_bytes": 70_000_000,
                "done_tables": 12,
                "total_tables": 49,
            },
            "51.0 MB of 70.0 MB, 5.1 MB/s, 4 s left, 12/49 tables",
        ),
        (
            {
                "phase": "tables",
                "done_bytes": 1_000_000,
                "total_bytes": 100_000_000,
                "done_tables": 0,
                "total_tables": 2,
            },
            "1.0 MB of 100.0 MB, 100.0 kB/s, 16 min 30 s left, 0/2 tables",
        ),
        (
            {"phase": "tables", "done_bytes": 80, "total_bytes": 70, "done_tables": 3, "total_tables": 4},
            "tables, 3/4 tables",
        ),
        (
            # The last table was begun by several, and most of its bytes are not read yet.
            {
                "phase": "tables",
                "done_bytes": 2_400_000_000,
                "total_bytes": 70_000_000_000,
                "done_tables": 49,
                "total_tables": 49,
                "workers": 4,
                "snapshot_seconds": 10,
            },
            "2.4 GB of 70.0 GB, 240.0 MB/s, 4 min 42 s left, 49/49 tables, 4 workers",
        ),
        (
            {"phase": "seal", "done_bytes": 60, "total_bytes": 70, "done_tables": 4, "total_tables": 4},
            "seal, 4/4 tables",
        ),
        (
            {"phase": "count", "done_bytes": 70, "total_bytes": 90, "done_tables": 4, "total_tables": 4},
            "count, 4/4 tables",
        ),
    ],
)
def test_how_far_a_run_is_in_a_few_words(progress: dict[str, Any], text: str) -> None:
    assert facts(running(**progress)) == text


def test_a_backup_of_buckets_is_followed_by_its_objects() -> None:
    totals = {"total_bytes": 70_000_000, "total_objects": 20_000}

    done = facts(running(done_bytes=35_000_000, done_objects=12_345, **totals))
    listing = facts(running(phase="listing"))

    assert done == "35.0 MB of 70.0 MB, 3.5 MB/s, 10 s left, 12,345/20,000 objects"
    assert listing == "listing"


def test_nothing_is_said_about_speed_in_the_first_second() -> None:
    progress = {"done_bytes": 10, "total_bytes": 20, "total_tables": 1}

    assert facts(running(seconds=0.5, **progress)) == "10 B of 20 B, 0/1 tables"


def test_the_bar_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(following, "error_console", console)
    record = running(phase="tables", done_bytes=51_000_000, total_bytes=700_000_000, done_tables=12, total_tables=49)
    ended = iter([record, record, record.model_copy(update={"status": Status.COMPLETED})])

    follow(lambda: next(ended), title="Backing up shop", quiet=False, has_ended=lambda: False)

    shown = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+", output.getvalue())]
    [line] = {line[1:] for line in shown if "51.0 MB" in line}
    assert line.startswith(" Backing up shop ")
    assert line.rstrip().endswith("51.0 MB of 700.0 MB, 5.1 MB/s, 2 min 07 s left, 12/49 tables")
    assert len(line) <= 79


def test_a_catalog_that_does_not_answer_for_a_moment_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_POLL_SECONDS", 0.0)
    done = running().model_copy(update={"status": Status.COMPLETED})
    answers: Iterator[Exception | Backup] = iter(
        [CatalogError("busy"), BackupStateError("no record yet"), running(), CatalogError("busy"), done]
    )

    def look() -> Backup:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def has_ended() -> bool:
        raise CatalogError("busy")

    assert follow(look, title="", quiet=True, has_ended=has_ended) == done


def test_a_catalog_that_never_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_SILENT_SECONDS", -1.0)

    def look() -> Backup:
        raise CatalogError("gone")

    with pytest.raises(CatalogError, match="gone"):
        follow(look, title="", quiet=True, has_ended=lambda: False)


def test_a_run_that_ended_without_a_record_is_told() -> None:
    def look() -> Backup:
        raise BackupStateError("none")

    with pytest.raises(BackupStateError, match="none"):
        follow(look, title="", quiet=True, has_ended=lambda: True)


# --- tables ---

words = st.text(st.characters(categories=["L", "N"], max_codepoint=0x24F), min_size=1, max_size=30)
numbers = st.integers(min_value=0, max_value=10**15).map(lambda number: f"{number:,}") | st.just("999.9 GB")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_table_never_loses_a_column_or_a_part_of_a_number(
    monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO, width: int
) -> None:
    monkeypatch.setattr(screen.console, "width", width)
    row = st.tuples(words, st.lists(words, max_size=9).map(" ".join), numbers, numbers, numbers)

    @settings(max_examples=30)
    @given(st.lists(row, min_size=1, max_size=4))
    def check(rows: list[tuple[str, ...]]) -> None:
        terminal.seek(0)
        terminal.truncate()
        screen.print_table(["TABLE", "WHY", "ROWS", "SIZE", "LIMIT"], rows, right=["ROWS", "SIZE", "LIMIT"])
        said = terminal.getvalue()
        assert all(len(line) <= width for line in said.splitlines())
        assert all(heading in said for heading in ("TABLE", "WHY", "ROWS", "SIZE", "LIMIT"))
        assert all(number in said for row in rows for number in row[2:])
        # Folded or not, every letter is there.
        for row in rows:
            assert not Counter("".join(row[:2])) - Counter(said) - Counter(" ")

    check()


def test_what_does_not_fit_side_by_side_comes_row_below_row(
    monkeypatch: pytest.MonkeyPatch, terminal: io.StringIO
) -> None:
    monkeypatch.setattr(screen.console, "width", 40)

    screen.print_table(
        ["ID", "TARGET", "WHY", "SIZE"],
        [["01K9XAAAAAAAAAAAAAAAAAAAB1", "shop", "daily, kept for 7 days: until tomorrow", "9.0 MB"]] * 2,
        right=["SIZE"],
    )

    block = (
        "ID 01K9XAAAAAAAAAAAAAAAAAAAB1\n  TARGET shop\n  WHY daily, kept for 7 days: until\n  tomorrow\n  SIZE 9.0 MB\n"
    )
    assert terminal.getvalue().replace(" \n", "\n") == block * 2
