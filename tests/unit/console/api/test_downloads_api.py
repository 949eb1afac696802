"""Downloads over the API: an export is started, and its file's address lives exactly as long as the answer says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import boto3
import botocore.session
import pytest
from tests.console_client import EXPORTS, Client
from tests.console_scene import NOW, ConsoleScene

from coffre.model.backup import Backup, Failure, Restore, Status
from coffre.model.export import destination_of, key_of
from coffre_console.access.caller import Caller, Grant
from coffre_console.downloads import LONGEST, Downloads, SigningError, content_disposition, works_for
from coffre_console.problems import ProblemError

AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
EXPORT = "01KBVJ0000000000000000000X"
FILE = "shop-20261122T020000Z.dump.age"


def exported(scene: ConsoleScene, backup: Backup, export_id: str = EXPORT, **fields: Any) -> Restore:
    made = Restore(
        id=export_id,
        backup_id=backup.id,
        target=backup.target,
        destination=destination_of(FILE),
        created_at=scene.now,
        **{"status": Status.COMPLETED, **fields},
    )
    scene.catalog.create_restore(made)
    return made


def stored(export_id: str = EXPORT) -> None:
    """Make the bucket with the file of an export."""
    s3 = boto3.client("s3", region_name="eu-west-3")
    s3.create_bucket(Bucket=EXPORTS, CreateBucketConfiguration={"LocationConstraint": "eu-west-3"})
    s3.put_object(Bucket=EXPORTS, Key=key_of(export_id, FILE), Body=b"x" * 10)


def test_an_export_is_started_for_the_recipients_that_are_given(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    place = f"/api/v1/backups/{backup.id}/download"

    unnamed = client.post(place, {})
    odd = client.post(place, {"recipients": [AGE], "prefix": "2026/"})
    unknown = client.post(place, {"recipients": ["age1secret"], "to": "x"})
    started = client.post(place, {"recipients": [AGE], "tables": ["orders"]})
    none_yet = client.get(place)

    assert [one.json["code"] for one in (unnamed, odd)] == ["EXPORT_RECIPIENT_NEEDED", "EXPORT_KIND"]
    assert [one["where"] for one in unknown.json["errors"]] == ["body.recipients.0", "body.to"]
    [(name, how, event)] = client.functions.invoked
    assert (name, how, event["export"]) == ("coffre-restore", "Event", {"recipients": [AGE], "tables": ["orders"]})
    assert started.headers["location"] == f"{place}?export_id={event['restore_id']}"
    assert (none_yet.status, none_yet.json["code"]) == (409, "EXPORT_NEEDED")
    client.gate.current = Caller("person", "ben", "ben", (Grant.of_role("operator"), Grant.of_role("restorer")))
    assert [client.post(place, {"recipients": [AGE]}).status, client.get(place).status] == [403, 403]


def test_the_address_of_a_finished_export_is_given_out_and_recorded(client: Client, scene: ConsoleScene) -> None:
    stored()
    scene.now = datetime.now(UTC).replace(microsecond=0)  # moto's credentials end an hour from the true time
    backup, other = scene.backup(3), scene.backup(4)
    place = f"/api/v1/backups/{backup.id}/download"
    exported(scene, backup)
    running = exported(scene, other, "01KBVJ0000000000000000000Y", status=Status.IN_PROGRESS)

    found = client.get(place)
    by_id = client.get(f"{place}?export_id={EXPORT}")
    of_another = client.get(f"/api/v1/backups/{other.id}/download?export_id={EXPORT}")
    waiting = client.get(f"/api/v1/backups/{other.id}/download")

    assert (found.status, found.json["file"], found.json["size_bytes"]) == (200, FILE, 10)
    assert found.json["how_to_open"].startswith(f"age --decrypt --identity KEY.txt {FILE} | pg_restore")
    query = dict(parse_qsl(urlsplit(found.json["url"]).query))
    assert query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert 3500 < int(query["X-Amz-Expires"]) <= 3600
    ends = datetime.fromisoformat(found.json["expires_at"])
    assert ends == scene.now + timedelta(seconds=int(query["X-Amz-Expires"]))
    assert query["response-content-disposition"] == content_disposition(FILE)
    assert by_id.json["export_id"] == EXPORT
    assert (of_another.status, of_another.json["code"]) == (409, "EXPORT_NEEDED")
    assert (waiting.status, waiting.json["id"]) == (202, running.id)
    events = [event for event in scene.catalog.audit.events(target="shop") if event.action == "backup.downloaded"]
    assert [(event.subject, event.actor) for event in events] == [(backup.id, "anna")] * 2
    # A day later the file is gone; a failed export says why
    boto3.client("s3", region_name="eu-west-3").delete_object(Bucket=EXPORTS, Key=key_of(EXPORT, FILE))
    gone = client.get(place)
    assert (gone.status, gone.json["code"]) == (409, "EXPORT_GONE")
    failure = Failure(code="PATTERN_UNMATCHED", message="No table fits.", hint="List them.")
    exported(scene, backup, "01KBVJ0000000000000000000Z", status=Status.FAILED, failure=failure)
    failed = client.get(f"{place}?export_id=01KBVJ0000000000000000000Z")
    assert (failed.status, failed.json["code"], failed.json["hint"]) == (409, "PATTERN_UNMATCHED", "List them.")


def test_an_address_works_until_its_hour_its_credentials_or_the_file_end() -> None:
    def minutes(credentials: float, written_hours_ago: float) -> float:
        written_at = NOW - timedelta(hours=written_hours_ago)
        end = NOW + timedelta(minutes=credentials)
        return works_for(NOW, credentials_end=end, written_at=written_at) / timedelta(minutes=1)

    assert [minutes(600, 0), minutes(60, 0), minutes(20, 22), minutes(60, 23.5)] == [60, 59, 19, 30]
    for hours in (24, 23.99, 40):
        with pytest.raises(ProblemError) as gone:
            minutes(60, hours)
        assert (gone.value.status, gone.value.code) == (409, "EXPORT_GONE")
    with pytest.raises(SigningError):
        minutes(1.5, 0)


@pytest.mark.parametrize(("lives", "works"), [(20, 19), (60, 59), (600, 60)])
def test_an_address_does_not_promise_more_than_its_credentials_live(
    scene: ConsoleScene, monkeypatch: pytest.MonkeyPatch, lives: int, works: int
) -> None:
    stored()
    now = datetime.now(UTC)  # that of the file in moto
    given: Mapping[str, Any] = {
        "AccessKeyId": "ASIA",
        "SecretAccessKey": "s",
        "SessionToken": "t",
        "Expiration": now + timedelta(minutes=lives),
    }
    monkeypatch.setattr(Downloads, "_credentials", lambda self: given)

    signed = Downloads(botocore.session.get_session(), "role", EXPORTS).sign(key_of(EXPORT, FILE), FILE, now)

    assert signed.expires_at == now + timedelta(minutes=works) <= now + LONGEST
    assert f"X-Amz-Expires={works * 60}" in signed.url


def test_a_file_has_its_name_in_every_script() -> None:
    assert content_disposition(FILE) == f"attachment; filename=\"{FILE}\"; filename*=UTF-8''{FILE}"
    assert (
        content_disposition('é"\r\n.age') == "attachment; filename=\"____.age\"; filename*=UTF-8''%C3%A9%22%0D%0A.age"
    )
