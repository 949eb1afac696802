"""Restoring and deleting by pages: compared first, planned, the name typed, and every step of it by plain forms."""

import shlex
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from tests.catalog_table import spoil
from tests.console_client import Client
from tests.console_restores import DESTINATION, HOSTILE, LOST, compared, ended, started
from tests.console_scene import NOW, ConsoleScene
from tests.unit.console.pages.conftest import PERSON
from tests.unit.console.pages.markup import Form, Markup
from tests.unit.docs.command_line import why_refused

from coffre.model.backup import Failure, Progress, Status
from coffre.model.confirmation import Overwritten
from coffre.model.copies import Copy, CopyStatus
from coffre.model.journal import JournalState
from coffre.model.kinds import SafetyState
from coffre.stores.store import put_small
from coffre_console.access.caller import Caller, Grant


def form_of(client: Client, url: str, step: str) -> Form:
    reply = client.get(url)
    assert reply.status == 200, reply.body
    page = Markup(reply.body)
    assert page.faults == []
    assert "<script>alert" not in reply.body
    return next(form for form in page.forms if form.fields.get("step") == step)


def test_a_restore_is_compared_planned_confirmed_and_only_then_started(scene: ConsoleScene, client: Client) -> None:
    backup = scene.backup(5)
    url = f"/backups/{backup.id}/restore"
    chosen = {
        "what": "replace",
        "tables": "orders\r\nold\u200busers",
        "with_dependencies": "",
        "column": "",
        "start": "",
    }
    form = form_of(client, f"{url}?tables=orders&what=replace", "dry_run")
    assert form.fields["what"] == "whole"  # the last radio; the choice is marked in the page
    compared = client.submit(url, **{**form.fields, **chosen})
    name, how, event = client.functions.invoked[-1]
    assert (compared.status, name, how) == (303, "coffre-restore", "Event")
    assert {"tables": ["orders", "old\u200busers"], "replace": True, "dry_run": True}.items() <= event.items()

    plan_url = compared.headers["location"]
    assert "The dry run has not ended" in Markup(client.get(plan_url).body).text
    restore = started(scene, backup, event["restore_id"])
    scene.catalog.heartbeat_restore(restore.id, scene.now, Progress(phase="compare", done_bytes=1, total_bytes=4))
    assert "25 %" in Markup(client.get(plan_url).body).text
    plan = ended(scene, backup, restore, SafetyState.NEEDED, tables=("orders", "old\u200busers"))
    taken = client.submit(url, **form_of(client, plan_url, "safety").fields)
    assert client.functions.invoked[-1][2]["tier"] == "SAFETY"
    assert "safety_id=" in taken.headers["location"]
    assert "SAFETY backup of what" in Markup(client.get(taken.headers["location"]).body).text

    key = f"v1/restores/{restore.id}/report.json"
    report = scene.vault.read_report(key)
    assert report.safety is not None
    present = report.safety.model_copy(update={"state": SafetyState.PRESENT})
    (scene.root / "vault" / key).unlink()
    put_small(scene.vault.store, key, report.model_copy(update={"safety": present}).model_dump_json().encode())
    confirm = form_of(client, plan_url, "confirm")
    shown = Markup(client.get(plan_url).body)
    assert "orders\\r\\nold\\u200busers" in shown.text  # what is confirmed, with what cannot be seen written out
    assert "Tables as they were" in shown.text
    assert confirm.fields["tables"].splitlines() == ["orders", "old\u200busers"]

    answer = {"name": "shop", "destination": DESTINATION, "overwrites": LOST.model_dump(mode="json"), "approvals": 0}
    client.functions.answers["coffre-restore"] = {"plan": {**answer, "id": "p" * 64}, "token": "t" * 43}
    wrong = client.submit(url, **{**confirm.fields, "name": "shopp"})
    assert (wrong.status, "expected shop" in Markup(wrong.body).text) == (422, True)
    last = client.submit(url, **{**confirm.fields, "name": "shop"})
    page = Markup(last.body)
    assert (last.status, page.faults) == (200, [])
    assert 'data-countdown="10"' in last.body
    assert "Tables as they were" in page.text
    run = next(form for form in page.forms if form.fields.get("step") == "run")
    assert run.fields["token"] == "t" * 43

    stale = client.submit(url, **run.fields)
    assert (stale.status, "CONFIRMATION_INVALID" in stale.body) == (409, True)
    assert [one[2] for one in client.functions.invoked if "confirmation" in one[2]] == []
    token = scene.catalog.confirmations.issue(plan, PERSON.actor, NOW, lifetime=timedelta(minutes=10), approvals=0)[0]
    begun = client.submit(url, **{**run.fields, "token": token})
    event = client.functions.invoked[-1][2]
    assert event["confirmation"] == {"token": token, "name": "shop"}
    assert event["tables"] == ["orders", "old\u200busers"]
    assert begun.headers["location"] == f"/restores/{event['restore_id']}?done=start"
    assert "It was started" in client.get(begun.headers["location"]).body


def test_each_choice_of_the_wizard_is_the_commands_event(scene: ConsoleScene, client: Client) -> None:
    backup = scene.backup(5)
    url = f"/backups/{backup.id}/restore"
    assert "at" not in form_of(client, url, "dry_run").fields, "without a journal there is no other moment"
    scene.catalog.journals.keep(JournalState(target="shop"), None)
    fields = form_of(client, url, "dry_run").fields
    assert fields["at"] == ""
    period = {"what": "rows", "tables": "orders", "column": "day", "start": "2026-11-17", "with_dependencies": ""}
    choices: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({"what": "gone", "tables": "orders"}, {"tables": ["orders"], "with_dependencies": True}),
        (period, {"tables": ["orders"], "rows": {"column": "day", "start": "2026-11-17"}, "apply": True}),
        ({**period, "column": "", "start": "", "where": "total < 0"}, {"rows": {"where": "total < 0"}, "apply": True}),
        ({"what": "whole", "source": "offsite"}, {"replace": True, "from": "offsite"}),
        ({"what": "whole", "destination": "coffre/destination/x"}, {"destination": "coffre/destination/x"}),
        ({"what": "gone", "tables": "orders", "at": "2026-11-27 14:29:30"}, {"at": {"time": "2026-11-27T14:29:30Z"}}),
        ({"what": "whole", "at": "2026-11-27 14:29:30+01"}, {"at": {"time": "2026-11-27T14:29:30+01:00"}}),
    ]
    for chosen, expected in choices:
        reply = client.submit(url, **{**fields, "csrf_token": "f", **chosen})
        assert reply.status == 303, reply.body
        assert expected.items() <= client.functions.invoked[-1][2].items()
        [line] = Markup(client.get(f"{url}?{urlencode({'what': 'gone', **chosen})}").body).commands
        assert why_refused(shlex.split(line)[1:]) is None, line
    for wrong, where in (
        ({"what": "gone"}, "tables"),
        ({"what": "x"}, "what"),
        ({"what": "whole", "at": "yesterday"}, "at"),
        ({"what": "whole", "at": "0001-01-01"}, "at"),
        ({"what": "rows", "tables": "orders", "column": "day"}, "rows"),
        ({"what": "gone", "tables": "x" * 2000}, "tables"),
        ({"what": "gone", "step": "x"}, "step"),
        ({**period, "where": "total < 0"}, "rows"),
        ({"what": "whole", "source": "../x"}, "source"),
    ):
        reply = client.submit(url, **{**fields, **wrong})
        assert (reply.status, where in Markup(reply.body).text) == (422, True)
    assert "a day or time (UTC)" in client.submit(url, **{**fields, "what": "whole", "at": "14:29"}).body
    files = scene.bucket_backup(5, {"a.txt": 1})
    of_files = form_of(client, f"/backups/{files.id}/restore", "dry_run").fields
    assert (
        "buckets have no journal"
        in client.submit(f"/backups/{files.id}/restore", **{**of_files, "at": "2026-11-27"}).body
    )
    spoil("JOURNAL", "slot")
    assert "at" in form_of(client, url, "dry_run").fields, "what is stored can be restored without the record"
    client.gate.current = Caller(
        "person", "r", "r", (Grant.of_role("restorer", ["shop"]),), form_token="f", session="s"
    )
    assert "destination" not in form_of(client, url, "dry_run").fields
    assert client.submit(url, **{**fields, "what": "whole"}).status == 403
    assert "where" not in form_of(client, url, "dry_run").fields
    assert client.submit(url, **{**fields, **period, "column": "", "start": "", "where": "true"}).status == 403
    client.gate.current = None
    expired = client.submit(url, **{**fields, "what": "rows", "tables": "orders", "column": "day"})
    login = next(link for link in Markup(expired.body).links if link.startswith("/login"))
    assert "column%3Dday" in login


def test_a_dry_run_that_failed_or_is_another_ones_confirms_nothing(scene: ConsoleScene, client: Client) -> None:
    backup, other = scene.backup(5), scene.backup(4)
    restore = started(scene, backup, "01M80T0000000000000000000A")
    failure = Failure(code="DESTINATION_MISSING", message=HOSTILE, hint="Create it.")
    ended(scene, backup, restore, SafetyState.PRESENT, status=Status.FAILED, failure=failure)
    query = "restore?what=gone&tables=orders&dry_run_id"
    page = Markup(client.get(f"/backups/{backup.id}/{query}={restore.id}").body)
    assert "DESTINATION_MISSING" in page.text
    assert client.get(f"/backups/{other.id}/{query}={restore.id}").status == 409
    assert client.get(f"/backups/{other.id}/{query}=x").status == 422
    assert client.get(f"/backups/{scene.failed(3).id}/restore").status == 409


def test_a_deletion_shows_what_goes_and_is_confirmed(scene: ConsoleScene, client: Client) -> None:
    backup = scene.backup(5)
    url = f"/backups/{backup.id}/delete"
    lost = Overwritten(backup=backup.id, remaining_backups=3)
    plan = {"id": "p" * 64, "name": "shop", "destination": "the vault", "approvals": 0}
    plan["overwrites"] = lost.model_dump(mode="json", exclude_none=True)
    client.functions.answers["coffre-rotate"] = {"plan": plan, "token": "t" * 43}
    asked = client.submit(url, **form_of(client, url, "plan").fields)
    planned = Markup(asked.body)
    assert client.functions.invoked[-1][2]["delete"] == {"backup_id": backup.id, "force": True, "dry_run": True}
    assert "Good backups that remain" in planned.text
    confirm = next(form for form in planned.forms if form.fields.get("step") == "confirm").fields
    assert client.submit(url, **{**confirm, "name": "x"}).status == 422
    last = Markup(client.submit(url, **{**confirm, "name": "shop"}).body)
    assert "About to delete this backup" in last.text
    run = next(form for form in last.forms if form.fields.get("step") == "run").fields
    client.functions.answers["coffre-rotate"] = {"plan": {**plan, "approvals": 1}, "token": "t" * 43}
    waits = client.submit(url, **{**confirm, "name": "shop"})
    assert (waits.status, waits.headers["location"]) == (303, f"/approvals/{'p' * 64}")
    client.functions.answers["coffre-rotate"] = {"backup_id": backup.id, "deleted": True}
    assert client.submit(url, **run).status == 303
    sent = client.functions.invoked[-1][2]
    assert sent["confirmation"] == {"token": "t" * 43, "name": "shop"}
    assert client.submit(url, step="x").status == 422


def test_objects_are_browsed_compared_and_restored(scene: ConsoleScene, client: Client) -> None:
    old = scene.bucket_backup(30, {"2026/a.txt": 1, "gone.txt": 2})
    backup = scene.bucket_backup(5, {f"2026/{HOSTILE}": 1_500_000, "2026/a.txt": 1, "top.txt": 3})
    base = f"/backups/{backup.id}"
    client.get("/backups?target=files&type=bucket")
    deep = f"{base}/contents?{urlencode({'bucket': 'docs', 'prefix': f'2026/{HOSTILE}'.rpartition('/')[0] + '/'})}"
    pages = {}
    for path in (base, f"{base}/contents", deep, f"{base}/restore"):
        reply = client.get(path)
        pages[path] = Markup(reply.body)
        assert (reply.status, pages[path].faults, "<script>alert" in reply.body) == (200, [], False), reply.body
    assert "top.txt" in pages[f"{base}/contents"].text
    assert f"{base}/contents?bucket=docs&prefix=2026%2F" in pages[f"{base}/contents"].links
    assert "1.5 MB" in pages[deep].text
    diff = Markup(client.get(f"/diff?first={backup.id}&second={old.id}").body)
    assert diff.text.count("added") == 2
    assert "removed" in diff.text
    fields = form_of(client, f"{base}/restore?prefix=2026/", "dry_run").fields
    assert fields["prefix"] == "2026/"
    reply = client.submit(f"{base}/restore", **{**fields, "mode": "overwrite", "keys": ""})
    storage = {"prefix": "2026/", "mode": "overwrite", "dry_run": True}
    assert client.functions.invoked[-1][2]["storage"] == storage
    plan = Markup(client.get(reply.headers["location"]).body)
    assert plan.commands == [f"coffre restore objects {backup.id} --prefix 2026/ --mode overwrite --dry-run"]
    wrong = client.submit(f"{base}/restore", **{**fields, "mode": "mirror", "prefix": "", "keys": "a"})
    assert (wrong.status, "mirror" in Markup(wrong.body).text) == (422, True)


def test_a_dry_run_of_another_choice_starts_nothing(scene: ConsoleScene, client: Client) -> None:
    """Given an address in which somebody has put the dry run of one table next to the choice of everything."""
    backup = scene.backup(5)
    url = f"/backups/{backup.id}/restore"
    fields = form_of(client, url, "dry_run").fields
    plan_url = client.submit(url, **{**fields, "what": "gone", "tables": "orders"}).headers["location"]
    restore = started(scene, backup, client.functions.invoked[-1][2]["restore_id"])
    ended(scene, backup, restore, SafetyState.NOT_NEEDED)
    assert form_of(client, plan_url, "run").fields["tables"] == "orders"

    proof = plan_url.rpartition("proof=")[2]
    for chosen in (f"&proof={proof}", "&proof=é", ""):
        other = f"{url}?what=whole&destination=coffre/destination/x&dry_run_id={restore.id}{chosen}"
        page = Markup(client.get(other).body)
        assert [form.fields["step"] for form in page.forms if "step" in form.fields] == ["dry_run"]
        assert "of another choice" in page.text


def test_the_result_says_how_tables_differ_and_what_was_kept(scene: ConsoleScene, client: Client) -> None:
    compared(scene, scene.backup(5), "01M80T0000000000000000000B")
    page = client.get("/restores/01M80T0000000000000000000B")
    found = Markup(page.body)
    assert (page.status, found.faults) == (200, [])
    assert "1,234" in found.text
    assert "DROP SCHEMA" in found.text
    assert "<script>alert" not in page.body


def test_what_only_a_copy_has_is_restored_from_there(scene: ConsoleScene, client: Client) -> None:
    scene.document["copies"] = [{"name": "offsite", "store": {"type": "s3", "bucket": "acme-copy"}}]
    backup = scene.backup(5)
    url = f"/backups/{backup.id}/restore"
    scene.catalog.copies.keep(
        Copy(
            destination="offsite",
            backup_id=backup.id,
            target=backup.target,
            status=CopyStatus.COMPLETED,
            started_at=NOW,
            completed_at=NOW,
            manifest_sha256=backup.manifest_sha256,
        )
    )
    scene.catalog.keeping.delete(backup, "expired", scene.now)
    assert f"{url}" in Markup(client.get(f"/backups/{backup.id}").body).links
    fields = form_of(client, url, "dry_run").fields
    assert '<option value="vault"' not in client.get(url).body
    assert client.submit(url, **{**fields, "what": "gone", "tables": "orders", "source": ""}).status == 409
    assert client.submit(url, **{**fields, "what": "gone", "tables": "orders", "source": "offsite"}).status == 303
    assert client.functions.invoked[-1][2]["from"] == "offsite"
