"""Requests in, pages out: what each shows, what its forms do, and that nothing from a database runs in it."""

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from tests.console_client import ADDRESS, Client
from tests.console_restores import HOSTILE
from tests.console_scene import ConsoleScene
from tests.synthetic import Writer
from tests.unit.console.pages.conftest import PERSON
from tests.unit.console.pages.markup import Markup
from tests.unit.docs.command_line import why_refused
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Progress
from coffre.model.errors import CatalogError
from coffre.model.journal import JournalState
from coffre_console import pages
from coffre_console.access.caller import Caller, Grant
from coffre_console.access.permissions import ROUTES
from coffre_console.pages.files import files


def backups_of(scene: ConsoleScene) -> dict[str, Backup]:
    """Leave one backup of each state, each with something hostile in it."""
    good = scene.backup(5, tables={HOSTILE: b"1\n", "orders": b"1\n2\n"})
    scene.catalog.protection.hold(good.id, HOSTILE.replace("\x1b", ""), scene.now)
    failed = scene.failed(3, message=HOSTILE)
    running = scene.begin(0.01, target="billing", heartbeat_at=scene.now)
    done = Progress(phase="tables", done_bytes=3, total_bytes=9, done_tables=1, total_tables=4, current=HOSTILE)
    scene.catalog.heartbeat_backup(running.id, scene.now, done)
    scene.catalog.audit.record(scene.now, Actor(HOSTILE), "backup.held", "shop", good.id, HOSTILE)
    return {"good": good, "failed": failed, "running": running}


def test_every_page_is_whole_in_both_languages_and_shows_hostile_names_harmlessly(
    scene: ConsoleScene, client: Client
) -> None:
    found = backups_of(scene)
    good, running = found["good"].id, found["running"].id
    urls = ["/", "/backups", "/backups?target=billing&status=FAILED", "/backups/new?target=shop&keep=7d", "/running"]
    urls += [f"/backups/{one.id}" for one in found.values()]
    urls += [
        f"/backups/{good}/{act}" for act in ("verify", "drill", "pin", "unpin", "hold", "release", "delete", "restore")
    ]
    urls += [f"/backups/{running}/cancel", f"/backups/{good}/hold?reason=%3C/script%3E%E2%80%AE%01"]
    urls += ["/targets", "/restores", "/alerts", "/audit", "/audit?action=backup", "/report", "/settings", "/keys"]
    urls += [f"/backups/{good}/contents", f"/backups/{good}/contents?q=ORD", f"/diff?first={good}"]
    writer = Writer(scene.catalog, scene.vault, scene.root, ())
    first = writer.backup({HOSTILE: b"1\n", "orders": b"1\n"}, scene.now - timedelta(hours=31))
    second = writer.backup({"orders": b"1\n2\n"}, scene.now - timedelta(hours=30))
    urls += [f"/diff?first={second.id}&second={first.id}"]
    seen = ""
    for language, some in (("en", urls), ("fr", urls[::-4])):
        for url in some:
            reply = client.send("GET", url, headers={"accept-language": language})
            assert reply.status == 200, (url, reply.body)
            page = Markup(reply.body)
            assert page.faults == [], url
            assert page.languages[0] == language
            assert "<script>alert" not in reply.body, url
            assert not re.search("[\u202e\x1b\x01]", reply.body), url
            assert page.commands, url
            for command in page.commands:
                assert why_refused(_arguments(command)) is None, (url, command)
            seen += page.text
    assert "removed" in seen
    assert "retiré" in seen
    assert r"\u202e\x1b[31m" in seen
    assert "🧨 שלום" in seen


def test_the_first_view_says_whether_all_is_safe_and_why_not(scene: ConsoleScene, client: Client) -> None:
    scene.backup(5)
    scene.failed(3)
    page = Markup(client.get("/").body)
    assert "No, something is not safe." in page.text
    assert "the last backup of shop failed" in page.text
    assert "1 of the last 2 runs failed." in page.text
    assert "coffre backup database billing" in page.commands
    scene.backup(2)
    scene.backup(2, target="billing")
    assert "5 h of" not in Markup(client.get("/").body).text


def test_the_list_has_its_filters_and_its_place_in_the_address(scene: ConsoleScene, client: Client) -> None:
    ids = [scene.begin(hours, target="shop").id for hours in range(60, 0, -1)]
    first = Markup(client.get("/backups?target=shop").body)
    older = next(link for link in first.links if "cursor=" in link)
    assert "target=shop" in older
    second = Markup(client.get(older).body)
    shown = [link.rsplit("/", 1)[1] for page in (first, second) for link in page.links if "/backups/0" in link]
    assert shown == ids[::-1]
    assert "No backup fits this filter." in Markup(client.get("/backups?type=bucket").body).text
    wrong = (
        "target=..",
        "type=x",
        "status=x",
        "since=monday",
        "until=9999-12-31",
        "since=0001-01-01",
        "cursor=x",
        "statuss=FAILED",
    )
    for query in wrong:
        reply = client.get(f"/backups?{query}")
        assert (reply.status, query.split("=", maxsplit=1)[0] in Markup(reply.body).text) == (422, True)


def test_forms_start_the_functions_with_the_commands_events(scene: ConsoleScene, client: Client) -> None:
    good, running = scene.backup(5), scene.begin(0.01, target="billing")
    expected = {
        f"/backups/{good.id}/pin": ("coffre-rotate", {"pin": good.id}),
        f"/backups/{good.id}/hold": ("coffre-rotate", {"hold": good.id, "reason": "case 4711"}),
        f"/backups/{good.id}/verify": ("coffre-verify", {"level": "read", "backup_id": good.id}),
        f"/backups/{good.id}/drill": ("coffre-drill", {"backup_id": good.id}),
        f"/backups/{running.id}/cancel": ("coffre-rotate", {"cancel": running.id}),
        "/backups/new": ("coffre-backup-database", {"target": "shop", "tier": "MANUAL", "keep": "7d"}),
    }
    for url, (function, event) in expected.items():
        form = next(one for one in Markup(client.get(url).body).forms if one.action == url)
        filled = {"reason": "case 4711"} if "reason" in form.fields else {}
        filled |= {"target": "shop", "keep": "7d", "full": ""} if url == "/backups/new" else {}
        reply = client.submit(url, **{**form.fields, **filled})
        assert reply.status == 303, reply.body
        name, _, sent = client.functions.invoked[-1]
        assert name == function
        assert event.items() <= sent.items()
    started = client.get(f"/backups/{client.functions.invoked[-1][2]['backup_id']}?done=start")
    assert (started.status, "It was started" in started.body) == (200, True)
    refused = client.submit(f"/backups/{good.id}/hold", reason="")
    assert (refused.status, "reason" in Markup(refused.body).text) == (422, True)
    assert client.submit("/backups/new", target="billing").status == 409


def test_a_session_that_is_over_loses_nothing_that_was_entered(scene: ConsoleScene, client: Client) -> None:
    good = scene.backup(5)
    client.gate.current = None
    reply = client.submit(f"/backups/{good.id}/hold", reason="case 4711", csrf_token="secret", token="secret")
    assert reply.status == 401
    assert "secret" not in reply.body
    back = next(link for link in Markup(reply.body).links if link.startswith("/login"))
    assert back == f"/login?next=%2Fbackups%2F{good.id}%2Fhold%3Freason%3Dcase%2B4711"
    client.gate.current = PERSON
    page = Markup(client.get(f"/backups/{good.id}/hold?reason=case+4711").body)
    assert page.forms[-1].fields["reason"] == "case 4711"


def test_a_journal_has_a_line_where_its_target_is(scene: ConsoleScene, client: Client) -> None:
    scene.backup(5)
    assert "/journal" not in client.get("/").body
    scene.document["targets"][0]["journal"] = {}
    interval = str(ULID.from_datetime(scene.now - timedelta(hours=30)))
    state = JournalState(target="shop", interval=interval, seen_at=scene.now - timedelta(minutes=3))
    kept = scene.catalog.journals.keep(state.model_copy(update={"drained_at": state.seen_at}), None)

    for url in ("/", "/targets"):
        page = Markup(client.get(url).body)
        assert page.faults == []
        assert "any moment up to" in page.text
        assert "/journal?target=shop" in page.links

    # Without a base no moment is promised
    scene.catalog.journals.keep(state.model_copy(update={"base_wanted_at": scene.now}), kept)
    for url in ("/", "/targets"):
        page = Markup(client.get(url).body)
        assert (page.faults, "any moment" in page.text) == ([], False)
        assert "nothing drains it, since the stack's parameter Journal is off" in page.text


def test_who_may_not_do_something_sees_no_button_of_it_and_is_refused(scene: ConsoleScene, client: Client) -> None:
    good, other = scene.backup(5), scene.backup(4, target="billing")
    client.gate.current = Caller("person", "v", "v", (Grant.of_role("viewer", ["shop"]),), form_token="f", session="s")
    page = Markup(client.get(f"/backups/{good.id}").body)
    assert not [link for link in page.links if re.match(f"/backups/{good.id}/(?!contents)", link)]
    assert "/backups/new" not in client.get("/").body
    assert other.id not in client.get("/backups").body
    for method, url, status in (
        ("GET", f"/backups/{other.id}", 404),
        ("POST", f"/backups/{good.id}/pin", 403),
        ("GET", "/backups/new", 403),
    ):
        reply = client.send(method, url)
        assert (reply.status, Markup(reply.body).faults) == (status, [])


def test_the_consoles_own_files_are_kept_for_ever_and_are_small(client: Client) -> None:
    for file in files().values():
        reply = client.get(f"/assets/{file.name}")
        assert (reply.status, "immutable" in reply.headers["cache-control"]) == (200, True)
        assert reply.headers["content-type"] == file.kind
    assert client.get("/assets/console.css").status == 404
    assert len(files()["console.js"].body.encode()) <= 8 * 1024
    source = [one for one in Path(pages.__file__).parent.rglob("*") if one.is_file() and one.suffix != ".pyc"]
    assert sum(one.stat().st_size for one in source) <= 150 * 1024
    assert len(source) <= 60


def test_signing_out_ends_on_a_page_and_errors_are_pages(client: Client) -> None:
    out = client.submit("/logout", csrf_token=PERSON.form_token)
    assert (out.status, out.headers.get("location")) == (200, None)
    assert "You are signed out" in Markup(out.body).text
    assert Markup(client.get("/nothing").body).faults == []
    assert client.get("/backups/123").status == 404
    chosen = client.get("/language?to=fr&next=//evil.example")
    assert (chosen.headers["location"], chosen.cookies[0].split(";")[0]) == ("/", "__Host-language=fr")


def test_every_route_of_the_table_is_registered_and_no_other(client: Client) -> None:
    assert [client.get(path).status for path in ("/api/nothing", "/nothing")] == [404, 404]  # Now all of them are.
    assert client.app.routes.registered | {"GET /login", "GET /callback", "POST /logout"} == set(ROUTES)


def _arguments(command: str) -> list[str]:
    words = shlex.split(command)
    assert words[0] == "coffre"
    return words[1:]


def test_keys_are_shown_once_and_records_are_refused_in_words(scene: ConsoleScene, client: Client) -> None:
    fields = {"label": "cron", "scope": "backup:run", "target": "shop", "days": "30"}
    made = client.submit("/keys", **fields)
    key = next(iter(scene.catalog.api_keys.all()))
    secret = next(command for command in Markup(made.body).commands if command.startswith("coffre_"))
    assert (key.label, key.scopes) == ("cron", ("backup:run:shop",))
    assert secret not in client.get("/keys").body
    rotated = client.submit(f"/keys/{key.id}/rotate")
    assert secret not in rotated.body
    assert f"coffre_{key.id}" in rotated.body
    assert client.submit(f"/keys/{key.id}/revoke").status == 303
    assert next(iter(scene.catalog.api_keys.all())).revoked_at is not None
    for method, url, status in (
        ("POST", "/keys", 422),
        ("POST", "/keys/x/revoke", 404),
        ("GET", f"/keys/{key.id}/rotate", 303),
        ("GET", "/report?period=x", 422),
        ("GET", "/audit?since=x", 422),
        ("GET", "/diff?first=x", 422),
        ("GET", "/restores?cursor=x", 422),
        ("POST", "/alerts/test", 200),
    ):
        assert client.send(method, url).status == status, url
    assert ("coffre-notify", {"test": True}) in [(name, event) for name, _, event in client.functions.invoked]
    client.gate.current = Caller("person", "v", "v", (Grant.of_role("admin", ["shop"]),), form_token="f", session="s")
    assert [client.get(url).status for url in ("/report", "/settings", "/audit", "/keys")] == [403] * 4
    links = Markup(client.get("/").body).links
    assert not {"/report", "/settings", "/audit", "/keys"} & set(links)


def test_below_a_stage_every_address_has_its_prefix(scene: ConsoleScene, client: Client) -> None:
    good = scene.backup(5)
    object.__setattr__(client.console.settings, "console_address", f"{ADDRESS}/prod")
    for path in ("/", "/backups", f"/backups/{good.id}", f"/backups/{good.id}/restore", "/keys", "/nothing"):
        page = Markup(client.get(f"/prod{path}").body)
        led = [*page.links, *(form.action for form in page.forms), *page.files]
        assert [one for one in led if not one.startswith(("/prod/", "#"))] == []
    moved = client.submit(f"/prod/backups/{good.id}/pin", csrf_token="f")
    assert moved.headers["location"] == f"/prod/backups/{good.id}?done=pin"


def test_what_does_not_answer_and_what_has_changed_meanwhile_is_said(
    scene: ConsoleScene, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = scene.backup(5)
    client.functions.answers["coffre-rotate"] = {"errorType": "BackupStateError", "errorMessage": "It is deleted."}
    refused = client.submit(f"/backups/{good.id}/pin")
    assert (refused.status >= 409, Markup(refused.body).faults) == (True, [])
    gone = scene.failed(3)
    assert "not in a state" in Markup(client.get(f"/backups/{gone.id}/pin").body).text
    assert client.submit(f"/backups/{gone.id}/drill").status == 409

    def fail(*args: object, **keys: object) -> None:
        raise CatalogError("The catalog does not answer.", hint="Try again.")

    monkeypatch.setattr(Catalog, "page_of_backups", fail)
    reply = client.get("/backups?target=shop")
    page = Markup(reply.body)
    assert (reply.status, reply.headers["retry-after"], page.faults) == (503, "30", [])
    assert "Something does not answer" in page.text
    assert "/backups?target=shop" in page.links
