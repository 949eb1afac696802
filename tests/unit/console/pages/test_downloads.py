"""Downloads by pages: exported in the background, signed when asked for, and clear about what is gone or failed."""

import re
from dataclasses import replace
from datetime import UTC, datetime

import boto3
import botocore.session
import pytest
from tests.console_client import EXPORTS, Client
from tests.console_restores import HOSTILE
from tests.console_scene import ConsoleScene
from tests.unit.console.api.test_downloads_api import AGE, EXPORT, FILE, exported, stored
from tests.unit.console.pages.conftest import PERSON
from tests.unit.console.pages.markup import Markup

from coffre.model.backup import Failure, Progress, Status
from coffre.model.export import key_of
from coffre_console.access.caller import Caller, Grant
from coffre_console.downloads import Downloads


@pytest.fixture
def signing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Downloads(botocore.session.get_session(), client.console.settings.download_role, EXPORTS)
    monkeypatch.setattr(type(client.console), "downloads", made)


def test_a_download_is_chosen_exported_followed_and_signed(scene: ConsoleScene, client: Client, signing: None) -> None:
    scene.now = datetime.now(UTC).replace(microsecond=0)  # moto's credentials end an hour from the true time
    backup, other = scene.backup(3), scene.backup(4)
    url = f"/backups/{backup.id}/download"
    assert url in Markup(client.get(f"/backups/{backup.id}").body).links
    empty = Markup(client.get(url).body)
    assert "name one" in empty.text  # the target has no keys
    without, scene.document = scene.document, {**scene.document, "encryption": "age", "recipients": [AGE]}
    assert "only the stack's own private key" in Markup(client.get(url).body).text
    scene.document = without
    fields = {**empty.forms[-1].fields, "recipients": f"{AGE}\r\n", "tables": "orders\r\n", "format": "plain"}
    begun = client.submit(url, **fields)
    name, how, event = client.functions.invoked[-1]
    assert (begun.status, name, how) == (303, "coffre-restore", "Event")
    assert event["export"] == {"recipients": [AGE], "tables": ["orders"], "format": "plain"}
    assert begun.headers["location"] == f"{url}?export_id={event['restore_id']}"
    waits = client.get(begun.headers["location"])
    assert ("data-live" in waits.body, Markup(waits.body).faults) == (True, [])
    shown = Markup(client.get(f"{url}?recipients={AGE}&tables=orders&format=plain").body)
    assert shown.commands == [f"coffre export {backup.id} --table orders --recipient {AGE} --format plain"]

    exported(scene, backup, "01KBVJ0000000000000000000W", status=Status.IN_PROGRESS, heartbeat_at=scene.now)
    scene.catalog.heartbeat_restore("01KBVJ0000000000000000000W", scene.now, Progress(done_bytes=1, total_bytes=4))
    assert "25 %" in Markup(client.get(f"{url}?export_id=01KBVJ0000000000000000000W").body).text
    runs = Markup(client.get("/running").body)
    assert ("Export of shop" in " ".join(runs.text.split()), "Restore of" in runs.text) == (True, False)
    file_page = f"{url}?export_id=01KBVJ0000000000000000000W"
    assert file_page in Markup(client.get("/restores/01KBVJ0000000000000000000W").body).links
    admin = client.gate.current
    client.gate.current = replace(PERSON, grants=(Grant.of_role("viewer"),))
    plain = Markup(client.get("/restores/01KBVJ0000000000000000000W").body)
    assert (file_page in plain.links, FILE in plain.text) == (False, True)
    client.gate.current = admin
    early = client.submit(url, step="sign", export_id="01KBVJ0000000000000000000W")
    assert (early.status, "25 %" in early.body, "X-Amz" in early.body) == (200, True, False)
    failure = Failure(code="DISK_FULL", message=HOSTILE, hint="Export fewer tables.")
    exported(scene, backup, "01KBVJ0000000000000000000V", status=Status.FAILED, failure=failure)
    failed = client.get(f"{url}?export_id=01KBVJ0000000000000000000V")
    assert ("DISK_FULL" in failed.body, "<script>alert" in failed.body) == (True, False)
    assert any("recipients" in form.fields for form in Markup(failed.body).forms)

    stored()
    exported(scene, backup)
    done = Markup(client.get(f"{url}?export_id={EXPORT}").body)
    assert not [link for link in done.links if FILE in link and "Signature" in link]
    form = next(form for form in done.forms if form.fields.get("step") == "sign")
    signed = client.submit(url, **form.fields)
    address = next(link for link in Markup(signed.body).links if "X-Amz-Signature" in link)
    assert 3000 < int(re.findall(r"X-Amz-Expires=(\d+)", address)[0]) < 3600
    assert "The address works until" in Markup(signed.body).text
    assert f"age --decrypt --identity KEY.txt {FILE}" in signed.body
    assert [one.action for one in scene.catalog.audit.events("shop")].count("backup.downloaded") == 1
    assert client.submit(f"/backups/{other.id}/download", **form.fields).status == 409
    boto3.client("s3", region_name="eu-west-3").delete_object(Bucket=EXPORTS, Key=key_of(EXPORT, FILE))
    gone = client.submit(url, **form.fields)
    assert (gone.status, "has been removed" in gone.body, "X-Amz" in gone.body) == (200, True, False)


def test_what_cannot_be_exported_is_refused_in_words(scene: ConsoleScene, client: Client) -> None:
    backup = scene.backup(3)
    url = f"/backups/{backup.id}/download"
    for fields, where in (
        ({"recipients": "age1secret"}, "recipients"),
        ({"recipients": AGE, "prefix": "2026/"}, "EXPORT_KIND"),
        ({}, "EXPORT_RECIPIENT_NEEDED"),
        ({"recipients": AGE, "to": "x"}, "to"),
        ({"recipients": AGE, "format": "x"}, "format"),
    ):
        reply = client.submit(url, **fields)
        assert (reply.status, where in Markup(reply.body).text) == (422, True), fields
    assert client.get(f"{url}?export_id=x").status == 422
    assert client.functions.invoked == []
    client.gate.current = Caller("person", "b", "b", (Grant.of_role("operator"),), form_token="f", session="s")
    assert [client.get(url).status, client.submit(url, recipients=AGE).status] == [403, 403]
    assert url not in Markup(client.get(f"/backups/{backup.id}").body).links
