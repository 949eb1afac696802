"""The page and the mail: names are text, nothing is loaded, no secret and no contact where none belongs."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main
from tests.unit.policy.report_scene import SECRET, bad_week, first_week, restore, week

from coffre.alerts.report import report_mail, text_of
from coffre.model.report import PeriodReport
from coffre.model.rotation import Amount, SweepReport
from coffre.model.status import JournalStatus
from coffre.model.vault_use import VaultUse
from coffre.operations.report.page import growth, page_of, points
from coffre.policy.report import report_of
from coffre_cli.app import app

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"
REPORTS = {"good": report_of(week()), "first": report_of(first_week()), "bad": report_of(bad_week())}


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_can_be_read_anywhere_and_loads_nothing(name: str) -> None:
    page = page_of(REPORTS[name])

    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|\bsrc=|url\(|@import|https?://", page)
    assert REPORTS[name].status.headline in page


def test_hostile_names_are_text() -> None:
    facts = week(restores=(restore(destination=HOSTILE),))
    contact = facts.configuration.contacts[0].model_copy(update={"name": HOSTILE})
    configuration = facts.configuration.model_copy(update={"contacts": (contact,)})
    report = report_of(week(restores=facts.restores, configuration=configuration))

    page, mail = page_of(report), report_mail(report, "v1/reports/x.html", with_contacts=True)

    assert page.count("&lt;script&gt;alert(1)") == 2
    assert "<script" not in page
    for text in (page, mail.text, mail.subject):
        assert "\x1b" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("name", REPORTS)
def test_no_secret_is_in_a_report(name: str) -> None:
    report = REPORTS[name]
    mail = report_mail(report, "v1/reports/x.html", with_contacts=True)

    for text in (page_of(report), report.model_dump_json(), mail.text):
        assert SECRET not in text
        assert "heart-beat" not in text
        assert "coffre/database" not in text


def test_contacts_are_in_the_page_and_only_where_asked_for_in_the_mail() -> None:
    report = REPORTS["good"]
    silent = report_mail(report, "v1/reports/x.html", with_contacts=False)
    telling = report_mail(report, "v1/reports/x.html", with_contacts=True)

    assert "Ada Lovelace" in page_of(report)
    assert "Ada" not in silent.text
    assert "- Ada Lovelace, database owner, +41 44 000 00 00" in telling.text


@pytest.mark.parametrize("name", REPORTS)
def test_the_first_line_of_the_mail_is_that_of_the_status(name: str) -> None:
    report = REPORTS[name]
    mail = report_mail(report, "v1/reports/x.html", with_contacts=False)

    assert mail.text.splitlines()[0] == report.status.headline
    assert mail.subject.startswith(f"Week 48: {report.status.headline[:60]}")
    assert mail.fingerprint == "2026-W48"


def test_every_command_can_be_typed() -> None:
    group = typer.main.get_command(app)
    for todo in report_of(week()).todos:
        words = shlex.split(todo.command)
        assert words[0] == "coffre"
        assert words[1] in group.commands  # type: ignore[attr-defined]


def test_what_is_done_needs_no_command() -> None:
    lines = list(text_of(REPORTS["good"], with_contacts=False))

    at = lines.index("[x] Look at runs that failed - none of 7 runs failed")
    assert not lines[at + 1].startswith("    ")
    at = lines.index("[ ] Look who read the vault")
    assert lines[at + 1] == "    coffre audit accesses --since 31d"


@pytest.mark.parametrize(
    ("sizes", "words"), [((), ""), ((5,), ""), ((0, 5), ""), ((100, 103), "+3 %"), ((100, 50), "-50 %")]
)
def test_growth_compares_the_first_and_the_last(sizes: tuple[int, ...], words: str) -> None:
    assert growth(sizes) == words


def test_a_line_of_sizes_stays_in_its_box() -> None:
    assert points(()) == ""
    assert points((7,)) == "0.0,1.0"
    assert points((0, 5, 10)) == "0.0,23.0 60.0,12.0 120.0,1.0"


def test_the_json_can_be_read_again() -> None:
    report = REPORTS["good"]

    assert PeriodReport.model_validate_json(report.model_dump_json()) == report


def test_journals_are_among_the_vault_and_the_copies() -> None:
    report = REPORTS["good"]
    good = JournalStatus(target="shop", until=report.status.at, window_days=7)
    waits = JournalStatus(target="crm", window_days=7, problem="it has not begun yet")
    vault = VaultUse.of(SweepReport(journal=Amount(objects=2, size_bytes=3_000_000)), report.status.at)
    status = report.status.model_copy(update={"journals": (good, waits), "vault": vault})
    report = report.model_copy(update={"status": status})

    page, mail = page_of(report), "\n".join(text_of(report, with_contacts=False))

    assert "0 B and 3.0 MB of journals" in page
    assert f"Journal of shop: moments up to {report.status.at:%Y-%m-%d %H:%M} UTC</li>" in page
    assert '<span class="bad">no moment can be restored</span>; <span class="bad">it has not begun yet' in page
    assert f"- journal of shop: moments up to {report.status.at:%Y-%m-%d %H:%M} UTC\n" in mail
    assert "- journal of crm: no moment can be restored; it has not begun yet\n" in mail
