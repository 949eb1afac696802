"""The real template on the local AWS with its own permissions: schedules, the command, failures, least privilege."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import psycopg2
import pyrage
import pytest
import urllib3
from botocore.exceptions import ClientError
from tests.access_logs import MALLORY, line
from tests.e2e.browser import Browser
from tests.e2e.conftest import Checkout, Said, ended, until
from tests.e2e.console_walk import chromium, person, restore_table
from tests.integration.exports import program, psql
from tests.web import Received, Web, web_server

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status, Tier
from coffre.model.copies import Copy, CopyStatus
from coffre.runtime.state_machine import RANGES_TRANSITIONS, TRANSITIONS
from coffre.vault.codec import new_identity, parse_identities, public_key
from coffre_cli.caller import Caller
from coffre_cli.exit_status import Exit
from coffre_local.alert_queue import subscribe_queue
from coffre_local.aws import activated, session
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint
from coffre_local.sample.files import SampleFile, load_files, sample_files
from coffre_local.schedule_rules import fire_rule, rules_of
from coffre_local.stack import SAMPLE, StackOptions, down, environment_of, put_database_secret, up
from coffre_local.state import LocalState

pytestmark = pytest.mark.e2e

BROKEN = "broken"
OFFSITE, ELSEWHERE, FAR = "offsite", "copies-elsewhere", "eu-central-1"
IDENTITY = "coffre/identity/main"
ALERT_URLS = "coffre/alerts/urls"
TOGETHER, DIVIDED = "together", "divided"
UPLOADS, FILES, SETTINGS = "uploads", "files-of-users", "settings"
WRONG_PASSWORD = "not-the-password"
RULES = {"DailyBackupRule": Tier.DAILY, "WeeklyBackupRule": Tier.WEEKLY, "MonthlyBackupRule": Tier.MONTHLY}
# 1 November 2026 is a Sunday: all three rules fire.
SLOT = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)
PROMISED_BACKUP = {
    *("id", "target", "status", "tiers", "plaintext_bytes", "stored_bytes", "duration_ms", "tables", "rows"),
}
PROMISED_RESTORE = {"id", "status", "tables", "rows", "duration_ms", "exceptions"}


@dataclass
class Stack:
    """The stack that is up: its AWS as the account's root sees it, its catalog, its sample server."""

    state: LocalState
    environment: Mapping[str, str]
    server: PostgresServer
    catalog: Catalog
    web: Web
    _clients: dict[str, Any] = field(default_factory=dict)
    _alerts: str = ""

    def client(self, service: str) -> Any:
        if service not in self._clients:
            own: Any = session(self.environment)
            self._clients[service] = own.client(service, endpoint_url=self.environment["AWS_ENDPOINT_URL"])
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def output(self, name: str) -> str:
        return self.state.outputs[name]

    def resource(self, logical_id: str) -> str:
        answer = self.client("cloudformation").describe_stack_resource(
            StackName=self.state.stack, LogicalResourceId=logical_id
        )
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    # --- what goes in ---

    def fire(self, rule: str, slot: datetime) -> None:
        fire_rule(self.environment, rules_of(self.environment, self.state.stack)[rule], slot)

    def invoke(self, function: str, event: object) -> tuple[Any, str | None]:
        """Call a function and wait; return its answer and Lambda's word on a failure."""
        answer = self.client("lambda").invoke(FunctionName=self.output(function), Payload=json.dumps(event).encode())
        with closing(answer["Payload"]) as payload:
            return json.load(payload), answer.get("FunctionError")

    def invoke_later(self, function: str, event: object) -> None:
        self.client("lambda").invoke(
            FunctionName=self.output(function), InvocationType="Event", Payload=json.dumps(event).encode()
        )

    # --- what comes out ---

    def backups(self, target: str, slot: datetime) -> list[Backup]:
        return [backup for backup in self.catalog.backups(target=target) if backup.slot == slot.isoformat()]

    def completed(self, target: str, slot: datetime, tiers: set[Tier]) -> Backup:
        def look() -> Backup | None:
            found = [one for one in self.backups(target, slot) if one.status is Status.COMPLETED]
            return next((one for one in found if tiers <= set(one.tiers)), None)

        return until(look, f"a completed backup of {target} with {tiers}")

    def objects(self, prefix: str) -> list[str]:
        listed = self.client("s3").list_objects_v2(Bucket=self.output("VaultBucket"), Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def listen_to_alerts(self) -> None:
        """Subscribe a queue to the topic."""
        self._alerts = subscribe_queue(self.environment, self.output("AlertTopic"), "alerts")

    def alert(self, subject: str) -> dict[str, Any]:
        """Take alerts from the queue until one has this subject."""
        return self._message(self._alerts, lambda message: message["Subject"] == subject, subject)

    def failed_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Take failed events from the queue until one was started by this event."""
        return self._message(
            self.resource("FailedEvents"),
            lambda message: message["requestPayload"] == event,
            f"the failed event {event}",
        )

    def _message(self, queue: str, is_wanted: Any, what: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            for message in (
                self.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
            ):
                self.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                body: dict[str, Any] = json.loads(message["Body"])
                if is_wanted(body):
                    return body
            return None

        return until(look, what)

    # --- as a function ---

    def as_role(self, logical_id: str, service: str) -> Any:
        """Return a client with the credentials of one function's role."""
        role = self.client("iam").get_role(RoleName=self.resource(logical_id))["Role"]["Arn"]
        given = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        own: Any = boto3.Session(
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
            region_name=self.environment["AWS_REGION"],
        )
        return own.client(service, endpoint_url=self.environment["AWS_ENDPOINT_URL"])


def is_started_by(message: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    """Tell whether a failed event is this one; what is not said in it must not be there."""
    payload = message["requestPayload"]
    return {name: payload.get(name) for name in ("target", "tier", "scheduled_time", "backup_id")} == {
        name: event.get(name) for name in ("target", "tier", "scheduled_time", "backup_id")
    }


def prepare(web: Web, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Make a key pair, a document with a good target and a broken one, and chats that are told of what fails."""
    identity = new_identity()
    chat = {"severities": ["critical"], "targets": [BROKEN]}
    urls = [
        {"url": f"{web.url}/services/T/B/x", "format": "slack", **chat},
        {"url": f"{web.url.replace('http:', 'json:')}/hook", **chat},
    ]
    with closing(session(environment).client("secretsmanager", endpoint_url=environment["AWS_ENDPOINT_URL"])) as client:
        client.create_secret(Name=IDENTITY, SecretString=identity)
        client.create_secret(Name=ALERT_URLS, SecretString=json.dumps(urls))
    elsewhere: Any = session(environment)
    with closing(elsewhere.client("s3", region_name=FAR, endpoint_url=environment["AWS_ENDPOINT_URL"])) as s3:
        s3.create_bucket(Bucket=ELSEWHERE, CreateBucketConfiguration={"LocationConstraint": FAR})
    patient = {"limits": {"lock_timeout_seconds": 120}}  # a second command runs while the first one waits for a lock
    targets: list[dict[str, Any]] = [
        {"name": name, "secret": f"coffre/database/{name}", **patient} for name in (BROKEN, SAMPLE)
    ]
    targets.append({"name": UPLOADS, "kind": "bucket", "buckets": [{"name": FILES}], "limits": {"streams": 4}})
    targets.append({"name": SETTINGS, "kind": "settings", "secrets": ["app/*"], "parameters": ["/app/**"]})
    store = {"type": "s3", "bucket": ELSEWHERE, "prefix": "vault", "region": FAR}
    copies = [{"name": OFFSITE, "store": store, "targets": [SAMPLE]}]
    document = {"encryption": "age", "recipients": [public_key(identity)], "targets": targets, "copies": copies}
    where = f"{environment['AWS_REGION']}:*"
    return {
        "SettingsSecrets": f"arn:aws:secretsmanager:{where}:secret:app/*",
        "SettingsParameters": f"arn:aws:ssm:{where}:parameter/app/*",
        "ConfigurationDocument": json.dumps(document),
        "AlertUrlsSecret": ALERT_URLS,
        "SourceBuckets": FILES,
        "CopyBuckets": ELSEWHERE,
        "RestoreBuckets": FILES,
        "AccessLogs": "on",
    }


@pytest.fixture(scope="module")
def chats() -> Iterator[Web]:
    """A web server that plays Slack and a webhook."""
    with web_server() as web:
        yield web


@pytest.fixture(scope="module")
def stack(checkout: Checkout, chats: Web) -> Iterator[Stack]:
    options = StackOptions(
        databases={BROKEN: "postgresql://nobody@127.0.0.1/none"},
        sample=True,
        sample_scale=0.02,
        console=True,
        prepare=partial(prepare, chats),
    )
    state = up(options, checkout=checkout.root)
    try:
        assert state.postgres is not None
        environment, server = environment_of(state), state.postgres.server()
        put_database_secret(environment, BROKEN, server.dsn(SAMPLE, user="postgres", password=WRONG_PASSWORD))
        with activated(environment):
            made = Stack(state, environment, server, Catalog(state.outputs["CatalogTable"]), chats)
            made.listen_to_alerts()
            yield made
            made.close()
    finally:
        down(checkout=checkout.root)


@pytest.fixture(scope="module")
def backup(stack: Stack) -> Backup:
    """A backup of the sample that is there for every test which needs one."""
    answer, failure = stack.invoke("BackupDatabaseFunction", {"target": SAMPLE})
    assert failure is None, answer
    return stack.catalog.get_backup(answer["id"])


@pytest.fixture
def new_database(stack: Stack) -> Iterator[str]:
    """The address of a database that does not exist yet, and is dropped afterwards."""
    name = "casa_restored"
    yield stack.server.dsn(name)
    stack.server.drop_database(name)


# --- schedules ---


def test_a_broken_target_is_told_and_does_not_hurt_the_other(stack: Stack) -> None:
    # Before any other test: a run of the broken target that is still going on would make this one be skipped.
    slot = SLOT + timedelta(days=1)

    stack.fire("DailyBackupRule", slot)

    assert stack.completed(SAMPLE, slot, {Tier.DAILY}).tiers == (Tier.DAILY,)
    alert = stack.alert(f"Backup of {BROKEN} FAILED: AUTHENTICATION_FAILED")
    assert alert["MessageAttributes"]["target"]["Value"] == BROKEN
    assert alert["MessageAttributes"]["severity"]["Value"] == "critical"
    assert "What to do: " in alert["Message"]
    assert "Last good backup: NONE" in alert["Message"]
    assert WRONG_PASSWORD not in json.dumps(alert)
    failed = stack.failed_event({"target": BROKEN, "tier": "DAILY", "scheduled_time": "2026-11-02T02:00:00Z"})
    assert failed["requestContext"]["condition"] == "RetriesExhausted"
    assert failed["responsePayload"]["errorType"] == "ConnectError"
    assert {one.status for one in stack.backups(BROKEN, slot)} == {Status.FAILED}
    assert stack.backups(SAMPLE, slot)[0].failure is None


def test_three_rules_of_one_slot_make_one_backup_with_three_tiers(stack: Stack) -> None:
    for rule in RULES:
        stack.fire(rule, SLOT)

    backup = stack.completed(SAMPLE, SLOT, set(RULES.values()))

    assert [one.id for one in stack.backups(SAMPLE, SLOT)] == [backup.id]
    assert (backup.tables, backup.source_version is not None) == (49, True)
    assert stack.objects(f"v1/packs/{backup.id}/")
    assert f"v1/backups/{SAMPLE}/{backup.id}/manifest.json" in stack.objects(f"v1/backups/{SAMPLE}/")


def test_an_alert_goes_on_to_every_chat(stack: Stack, checkout: Checkout) -> None:
    subject = f"Backup of {BROKEN} FAILED: AUTHENTICATION_FAILED"
    stack.invoke("BackupDatabaseFunction", {"target": BROKEN})

    def told(path: str) -> Received:
        def look() -> Received | None:
            return next((one for one in stack.web.received if one.path == path and subject in one.body.decode()), None)

        return until(look, f"a message to {path}")

    blocks, webhook = told("/services/T/B/x").json()["blocks"], told("/hook").json()
    assert subject in blocks[0]["text"]["text"]
    assert f"```coffre backup database {BROKEN}```" in [block.get("text", {}).get("text") for block in blocks]
    assert webhook["title"] == subject
    assert WRONG_PASSWORD not in "".join(one.body.decode() for one in stack.web.received)

    tried = checkout.coffre("alerts", "test", "--json")
    assert [one["sent"] for one in tried.json()] == [True, True], tried.err
    [incident] = checkout.coffre("alerts", "list", BROKEN, "--json").json()
    assert (incident["kind"], incident["fingerprint"]) == ("BACKUP_FAILED", "AUTHENTICATION_FAILED")


# --- the command ---


def test_coffre_backup_gives_scripts_what_was_promised(stack: Stack, checkout: Checkout) -> None:
    said = checkout.coffre("backup", "database", SAMPLE, "--json")

    assert said.status == 0, said.err
    shown = said.json()
    assert set(shown) >= PROMISED_BACKUP
    assert (shown["target"], shown["status"], shown["tiers"]) == (SAMPLE, "COMPLETED", ["MANUAL"])
    assert stack.catalog.get_backup(shown["id"]).rows == shown["rows"] > 0
    assert shown["plaintext_bytes"] > 0


def test_keys_open_the_newest_backup_and_are_rotated_without_losing_one(
    stack: Stack, checkout: Checkout, backup: Backup
) -> None:
    checked = checkout.coffre("keys", "check", "--json")
    assert checked.status == 0, checked.err
    assert [one["opens"] for one in checked.json()["checks"] if one["backup_id"] == backup.id] == [True]

    first, second = (checkout.coffre("keys", "rotate", "--json").json() for _ in range(2))

    before, after = parse_identities(stack.client("secretsmanager").get_secret_value(SecretId=IDENTITY)["SecretString"])
    assert [public_key(before)] == first["replaced"]
    assert public_key(after) == first["recipient"] == second["recipient"]
    assert checkout.coffre("keys", "check").status == 0


def test_coffre_restore_brings_back_every_row(
    stack: Stack, checkout: Checkout, backup: Backup, new_database: str
) -> None:
    said = checkout.coffre("restore", "database", backup.id, "--to", new_database, "--json")

    assert said.status == 0, said.err
    shown = said.json()
    assert set(shown) >= PROMISED_RESTORE
    assert (shown["status"], shown["tables"], shown["rows"]) == ("COMPLETED", backup.tables, backup.rows)
    assert shown["destination"] == f"127.0.0.1:{stack.server.port}/casa_restored"
    assert fingerprint(new_database) == fingerprint(stack.server.dsn(SAMPLE))
    secrets = stack.client("secretsmanager").list_secrets()["SecretList"]
    assert not [secret["Name"] for secret in secrets if "destination" in secret["Name"]]
    report = checkout.coffre("show", shown["id"], "--json").json()["report"]
    assert sum(table["rows"] for table in report["tables"]) == shown["rows"]


def test_a_table_and_rows_are_brought_back_into_the_targets_own_database(
    stack: Stack, checkout: Checkout, backup: Backup
) -> None:
    source = stack.server.dsn(SAMPLE)
    before = fingerprint(source)
    with closing(psycopg2.connect(source)) as session, session.cursor() as cursor:
        cursor.execute("DROP TABLE billing.payments CASCADE")
        cursor.execute("DELETE FROM casa.reviews WHERE written_at >= '2025-06-01'")
        session.commit()

    table = checkout.coffre("restore", "tables", backup.id, "payments", "--with-dependencies")
    period = ("--where-column", "written_at", "--from", "2025-06-01")
    looked = checkout.coffre("restore", "rows", backup.id, "reviews", *period, "--json")
    rows = checkout.coffre("restore", "rows", backup.id, "reviews", *period, "--apply", "--yes", "--json")

    assert (table.status, table.err) == (0, ""), table.out
    assert "casa: 1 table, " in table.out
    assert (looked.status, rows.status) == (0, 0), looked.err + rows.err
    ((found,), (done,)) = (said.json()["report"]["comparisons"] for said in (looked, rows))
    assert found["missing"] == done["inserted"] > 0
    kept = [left["remove"] for said in (looked, rows) for left in said.json()["report"]["kept"]]
    with closing(psycopg2.connect(source)) as session, session.cursor() as cursor:
        for statement in kept:
            cursor.execute(statement)
        session.commit()
    assert fingerprint(source) == before


def test_a_person_signs_in_at_the_console_and_restores_the_database_in_use(stack: Stack, checkout: Checkout) -> None:
    """By HTTP alone: a test user of the local identity provider, a backup, the plan, its token, and the rows."""
    console = checkout.coffre("console", "--no-browser").out.strip()
    api, source, browser = f"{console}/api/v1", stack.server.dsn(SAMPLE), Browser()

    def ended_at(location: str, what: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            answer = browser.get(f"{console}{location}")
            # 404: the function has not begun.
            run = answer.json[what] if answer.status == 200 else {"status": "PENDING"}
            return answer.json if run["status"] in ("COMPLETED", "FAILED") else None

        return until(look, f"the end of {location}")

    assert browser.get(f"{api}/status").status == 401
    without = browser.sign_in(console, "noah")
    assert (without.status, b"NO_ROLE" in without.body) == (403, True)
    browser.sign_in(console, "vera")
    refused = browser.send("POST", f"{api}/backups", body={"target": SAMPLE})
    assert (refused.status, browser.get(f"{api}/status").status) == (403, 200)
    browser.sign_in(console, "ada")

    started = browser.send("POST", f"{api}/backups", body={"target": SAMPLE})
    assert started.status == 202, started.body
    backup = ended_at(started.json["location"], "backup")["backup"]
    assert (backup["status"], backup["id"]) == ("COMPLETED", started.json["id"])
    theirs = new_identity()
    exporting = browser.send(
        "POST", f"{api}/backups/{backup['id']}/download", body={"recipients": [public_key(theirs)]}
    )
    assert exporting.status == 202, exporting.body
    ended_at(f"/api/v1/restores/{exporting.json['id']}", "restore")
    exported = browser.get(f"{console}{exporting.json['location']}").json
    file = urllib3.request("GET", exported["url"])
    assert (file.status, len(file.data)) == (200, exported["size_bytes"])
    assert pyrage.decrypt(file.data, [pyrage.x25519.Identity.from_str(theirs)]).startswith(b"PGDMP")

    before = fingerprint(source)
    with closing(psycopg2.connect(source)) as session, session.cursor() as cursor:
        cursor.execute("DROP TABLE billing.payments CASCADE")
        session.commit()

    place, asked = f"{api}/backups/{backup['id']}/restore", {"replace": True}

    safety = browser.send("POST", place, body={**asked, "dry_run": True, "safety_backup": True}).json
    assert ended_at(safety["location"], "backup")["backup"]["status"] == "COMPLETED"
    dry = browser.send("POST", place, body={**asked, "dry_run": True}).json
    assert ended_at(dry["location"], "restore")["restore"]["status"] == "COMPLETED"
    plan = browser.send("POST", place, body={**asked, "dry_run": True, "dry_run_id": dry["id"]}).json
    confirmation = {"token": plan["token"], "name": plan["plan"]["name"]}
    unconfirmed = browser.send("POST", place, body=asked)
    misnamed = browser.send("POST", place, body={**asked, "confirmation": {**confirmation, "name": "other"}})
    assert (unconfirmed.status, unconfirmed.json["code"]) == (409, "CONFIRMATION_NEEDED")
    assert (misnamed.status, misnamed.json["code"]) == (409, "CONFIRMATION_MISMATCH")
    restoring = browser.send("POST", place, body={**asked, "confirmation": confirmation})
    assert restoring.status == 202, restoring.body
    restored = ended_at(restoring.json["location"], "restore")

    assert restored["restore"]["status"] == "COMPLETED", restored["restore"]["failure"]
    assert fingerprint(source) == before
    again = browser.send("POST", place, body={**asked, "confirmation": confirmation})
    assert (again.status, again.json["code"]) == (409, "CONFIRMATION_INVALID")
    [kept] = restored["report"]["kept"]
    with closing(psycopg2.connect(stack.server.dsn("postgres"))) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(kept["remove"])
    signed_out = browser.send("POST", f"{console}/logout")
    assert signed_out.url.startswith(console)
    assert browser.get(f"{api}/status").status == 401
    browser.close()


def test_people_use_the_console_in_a_browser_and_the_restorer_brings_a_table_back(
    stack: Stack, checkout: Checkout, backup: Backup
) -> None:
    """The identity provider is another site, and nothing here has TLS: a browser takes the cookies all the same."""
    console, source = checkout.coffre("console", "--no-browser").out.strip(), stack.server.dsn(SAMPLE)
    before = fingerprint(source)
    with chromium() as browser:
        with person(browser, console, "Noah") as page:
            assert "NO_ROLE" in page.inner_text("main")
        with person(browser, console, "Vera") as page:
            [cookie] = page.context.cookies(console)
            assert (cookie["name"], cookie["secure"], cookie["httpOnly"]) == ("__Host-session", True, True)
            page.goto(f"{console}/backups/{backup.id}")
            assert page.get_by_role("link", name="Restore", exact=True).count() == 0
            refused = page.goto(f"{console}/backups/{backup.id}/restore")
            assert refused is not None
            assert refused.status == 403
        with closing(psycopg2.connect(source)) as session, session.cursor() as cursor:
            cursor.execute("DROP TABLE billing.payments CASCADE")
            session.commit()
        with person(browser, console, "Rita") as page:
            said = restore_table(page, console, backup.id, "billing.payments")
            assert "Create the table billing.payments" in said
            page.get_by_role("button", name="Sign out").click()
            page.get_by_text("You are signed out").wait_for()
            page.goto(console)
            assert page.get_by_role("link", name="Sign in").count() == 1
    assert fingerprint(source) == before


@pytest.mark.parametrize("format_", ["custom", "plain"])
def test_coffre_export_makes_a_file_that_needs_no_coffre(
    stack: Stack,
    checkout: Checkout,
    backup: Backup,
    new_database: str,
    postgresql_home: Path,
    tmp_path: Path,
    format_: str,
) -> None:
    file = tmp_path / "casa"

    said = checkout.coffre("export", backup.id, "--format", format_, "--output", str(file))

    assert (said.status, said.out) == (0, ""), said.err
    stack.server.create_database("casa_restored")
    if format_ == "plain":
        psql(postgresql_home, new_database, file)
    else:
        program(postgresql_home, "pg_restore", "-e", "-d", new_database, file)
    assert fingerprint(new_database) == fingerprint(stack.server.dsn(SAMPLE))


def test_a_backup_is_copied_elsewhere_and_a_copy_on_a_disk_needs_no_stack(
    stack: Stack, checkout: Checkout, backup: Backup, tmp_path: Path
) -> None:
    """By its event into a bucket of another region; by the command onto a disk."""

    # Given a backup that was completed, its event has started the copier
    def look() -> Copy | None:
        copy = stack.catalog.copies.find(OFFSITE, backup.id)
        return copy if copy is not None and copy.status is CopyStatus.COMPLETED else None

    copy = until(look, "the copy of the backup")
    assert copy.manifest_sha256 == backup.manifest_sha256
    there = stack.client("s3").get_object(Bucket=ELSEWHERE, Key=f"vault/{backup.manifest_key}")["Body"].read()
    assert hashlib.sha256(there).hexdigest() == backup.manifest_sha256
    shown = checkout.coffre("show", backup.id, "--json").json()
    assert [one["destination"] for one in shown["copies"]] == [OFFSITE]
    for pack in shown["manifest"]["packs"]:
        listed = stack.client("s3").head_object(Bucket=ELSEWHERE, Key=f"vault/{pack['key']}")
        assert listed["ContentLength"] == pack["length"]

    # When it is copied onto a disk
    disk = tmp_path / "disk"
    disk.mkdir()
    said = checkout.coffre("copy", backup.id, "--to", f"directory:{disk}", "--json")
    assert said.status == 0, said.err
    assert said.json()[0]["packs"] == len(shown["manifest"]["packs"])

    # Then the disk alone has it, and the copier could not read what it copied
    assert [one["id"] for one in checkout.coffre("--vault", str(disk), "list", "--json").json()] == [backup.id]
    with closing(stack.as_role("CopyRole", "secretsmanager")) as secrets:
        for name in (IDENTITY, f"coffre/database/{SAMPLE}"):
            assert refused(secrets, "get_secret_value", SecretId=name)
    with closing(stack.as_role("CopyRole", "s3")) as s3:
        vault = {"Bucket": stack.output("VaultBucket"), "Key": backup.manifest_key}
        assert refused(s3, "put_object", **vault, Body=b"other")
        for place in (vault, {"Bucket": ELSEWHERE, "Key": f"vault/{backup.manifest_key}"}):
            assert refused(s3, "delete_object", **place)


@pytest.fixture(scope="module")
def files(stack: Stack) -> Mapping[str, SampleFile]:
    """The files of the users' bucket, each under its key."""
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=FILES, CreateBucketConfiguration={"LocationConstraint": stack.environment["AWS_REGION"]})
    load_files(s3, FILES, scale=0.1)
    return {file.key: file for file in sample_files(0.1)}


def test_files_of_a_bucket_are_backed_up_lost_and_brought_back(
    stack: Stack, checkout: Checkout, tmp_path: Path, files: Mapping[str, SampleFile]
) -> None:
    s3 = stack.client("s3")
    identity = ("--identity", str(tmp_path / "key.txt"))
    (tmp_path / "key.txt").write_text(
        stack.client("secretsmanager").get_secret_value(SecretId=IDENTITY)["SecretString"]
    )

    # Given a bucket that the function can back up, as doctor finds with its role
    [looked] = checkout.coffre("doctor", UPLOADS, "--json").json()
    states = {result["code"]: result["state"] for result in looked["results"]}
    assert states["BUCKET_UNREADABLE"] == states["BUCKET_EMPTY"] == states["BUCKET_TAGS_UNREADABLE"] == "ok"
    assert states["BUCKET_VERSIONING_OFF"] == states["VAULT_SAME_ACCOUNT_AS_SOURCE"] == "finding"

    # Given a backup of the bucket
    taken = checkout.coffre("backup", "buckets", UPLOADS, "--json").json()
    assert taken["status"] == "COMPLETED", taken
    # That a drill, with its own rights, restores and proves
    drilled = checkout.coffre("verify", "--level", "drill", taken["id"], "--json")
    assert (drilled.status, {one["verdict"] for one in drilled.json()[0]["objects"]}) == (0, {"equal"}), drilled.out
    assert "Contents" not in s3.list_objects_v2(Bucket=stack.output("VaultBucket"), Prefix="scratch/")
    # When files are deleted, overwritten, and added
    photos = [key for key in files if key.startswith("photos/")]
    for key in photos[:3]:
        s3.delete_object(Bucket=FILES, Key=key)
    s3.put_object(Bucket=FILES, Key=photos[3], Body=b"overwritten")
    s3.put_object(Bucket=FILES, Key="photos/extra", Body=b"extra")
    checkout.coffre("backup", "buckets", UPLOADS)
    told = checkout.coffre("diff", taken["id"], "latest", "--target", UPLOADS)
    restored = checkout.coffre("restore", "objects", taken["id"], "--prefix", "photos/", "--json")
    mirrored = checkout.coffre("restore", "objects", taken["id"], "--mode", "mirror", "--yes")

    # Then what is lost is told, and comes back with what is known of it
    assert (told.status, told.err) == (1, "1 added, 1 changed, 3 removed\n")
    assert (restored.status, restored.json()["objects"]) == (0, 3), restored.err
    assert mirrored.status == 0, mirrored.out + mirrored.err
    assert "1 overwritten" in mirrored.out
    assert "1 deleted" in mirrored.out
    for key, file in files.items():
        found = s3.get_object(Bucket=FILES, Key=key)
        with closing(found["Body"]) as body:
            assert body.read() == file.body, key
        assert (found["ContentType"], found["Metadata"]) == (file.content_type, file.metadata), key
    listed = s3.list_objects_v2(Bucket=FILES)["Contents"]
    assert {item["Key"] for item in listed} == set(files)
    # And out of the backup without the stack
    shown = checkout.coffre("ls", taken["id"], "photos/", "--recursive", "--json").json()
    assert [item["key"] for item in shown] == sorted(photos)
    exported = checkout.coffre("export", taken["id"], "--to", str(tmp_path / "out"), *identity)
    assert exported.status == 0, exported.err
    assert (tmp_path / "out" / photos[3]).read_bytes() == files[photos[3]].body


def test_settings_are_backed_up_lost_and_restored_and_no_function_saw_the_file(
    stack: Stack, checkout: Checkout, tmp_path: Path
) -> None:
    # Given a secret, a parameter and a file
    secrets, ssm = stack.client("secretsmanager"), stack.client("ssm")
    secrets.create_secret(Name="app/db", SecretString="c4n4ry-secret")
    ssm.put_parameter(Name="/app/token", Value="c4n4ry-token", Type="SecureString")
    (tmp_path / ".env").write_bytes(b"A=c4n4ry-file\r\n")

    taken = checkout.coffre("backup", "settings", "--file", str(tmp_path / ".env"), "--name", "web/.env", "--json")

    # Then they are in a backup, with the configuration and the stack's own parameters
    assert (taken.status, taken.json()["objects"], taken.json()["exceptions"]) == (0, 5, []), taken.out + taken.err
    listed = checkout.coffre("ls", taken.json()["id"], "--recursive", "--json").json()
    assert {f"{one['bucket']}/{one['key']}" for one in listed} == {
        *("coffre/configuration.json", "coffre/parameters.json", "files/web/.env"),
        *("parameters//app/token", "secrets/app/db"),
    }
    drilled = checkout.coffre("verify", "--level", "drill", taken.json()["id"], "--json")
    assert (drilled.status, drilled.json()[0]["outcome"]) == (0, "passed"), drilled.err
    # When they are lost
    secrets.delete_secret(SecretId="app/db", ForceDeleteWithoutRecovery=True)
    ssm.put_parameter(Name="/app/token", Value="wrong", Type="SecureString", Overwrite=True)
    planned = checkout.coffre("restore", "settings", "latest", "--dry-run", "--json")
    written = checkout.coffre("restore", "settings", "latest", "--yes")
    file = checkout.coffre("restore", "settings", "latest", "--name", "web/.env", "-o", str(tmp_path / "restored"))
    # Then they are restored, and no value was shown
    steps = {one["name"]: one["step"] for one in planned.json()}
    assert (steps["secrets/app/db"], steps["parameters//app/token"]) == ("create", "change")
    assert written.status == 0, written.out + written.err
    assert secrets.get_secret_value(SecretId="app/db")["SecretString"] == "c4n4ry-secret"
    assert ssm.get_parameter(Name="/app/token", WithDecryption=True)["Parameter"]["Value"] == "c4n4ry-token"
    assert (file.status, (tmp_path / "restored").read_bytes()) == (0, b"A=c4n4ry-file\r\n")
    shown = "".join(one.out + one.err for one in (taken, drilled, planned, written, file))
    assert "c4n4ry" not in shown


def test_coffre_list_has_the_backups_newest_first(stack: Stack, checkout: Checkout, backup: Backup) -> None:
    said = checkout.coffre("list", SAMPLE, "--json")

    assert said.status == 0, said.err
    listed = said.json()
    assert all(set(one) >= PROMISED_BACKUP for one in listed)
    assert backup.id in [one["id"] for one in listed]
    assert [one["id"] for one in listed] == sorted((one["id"] for one in listed), reverse=True)


def test_doctor_looks_with_the_roles_of_the_functions_and_the_operators_credentials(
    stack: Stack, checkout: Checkout, backup: Backup
) -> None:
    said = checkout.coffre("doctor", "--json")

    states = {one["target"]: {result["code"]: result["state"] for result in one["results"]} for one in said.json()}
    assert said.status == Exit.FAILED, "the password of one target is wrong"
    assert states.keys() == {None, BROKEN, SAMPLE, UPLOADS, SETTINGS}
    here, broken, database = states[None], states[BROKEN], states[SAMPLE]
    ok = dict.fromkeys(("VAULT_UNREACHABLE", "VAULT_REGION", "SERVICE_UNREACHABLE"), "ok")
    assert database.items() >= {**ok, "VAULT_UNWRITABLE": "ok", "NO_BACKUP": "ok", "LOGIN_REFUSED": "ok"}.items()
    assert states[UPLOADS].items() >= ok.items()
    assert broken["LOGIN_REFUSED"] == "finding"
    fine = ("SCHEDULE_DISABLED", "VAULT_LIFECYCLE_EATS_PACKS", "VAULT_PUBLIC", "VAULT_VERSIONING_OFF", "TEMPLATE_OLDER")
    assert here.items() >= dict.fromkeys((*fine, "KEY_IDENTITY_MISSING", "SUBNET_WITHOUT_ROUTE"), "ok").items()
    assert "could_not_look" not in here.values()


def test_coffre_says_why_a_backup_failed(stack: Stack, checkout: Checkout) -> None:
    said = checkout.coffre("backup", "database", BROKEN, "--json")

    assert (said.status, said.json()["status"]) == (1, "FAILED")
    assert "[AUTHENTICATION_FAILED]\nWhat to do: " in said.err
    assert "Traceback" not in said.err
    assert WRONG_PASSWORD not in said.out + said.err


def test_a_second_run_of_a_target_is_skipped(stack: Stack, checkout: Checkout) -> None:
    with closing(psycopg2.connect(stack.server.dsn(SAMPLE))) as session, session.cursor() as cursor:
        # The backup waits for this lock, longer than two commands take.
        cursor.execute("LOCK TABLE casa.users IN ACCESS EXCLUSIVE MODE")
        first = checkout.start("backup", "database", SAMPLE, "--json")
        running = until(
            lambda: next(stack.catalog.backups(target=SAMPLE, status=Status.IN_PROGRESS), None), "the first run"
        )

        second = checkout.coffre("backup", "database", SAMPLE, "--json")

        session.rollback()
    done = ended(first)
    assert (second.status, second.json()) == (3, None)
    assert f"Skipped: backup {running.id} of {SAMPLE} is already running, since" in second.err
    assert (done.status, done.json()["id"]) == (0, running.id), done.err


def test_a_restore_into_the_source_is_refused_and_says_how_to_go_on(
    stack: Stack, checkout: Checkout, backup: Backup
) -> None:
    before = fingerprint(stack.server.dsn(SAMPLE))

    said = checkout.coffre("restore", "database", "latest", "--target", SAMPLE, "--to", stack.server.dsn(SAMPLE))

    assert said.status == 1
    assert "[DESTINATION_NOT_EMPTY]" in said.err
    assert f"--to postgresql://postgres@127.0.0.1:{stack.server.port}/casa_restored\n" in said.out
    assert fingerprint(stack.server.dsn(SAMPLE)) == before


def test_a_shell_is_led_to_the_stack_whatever_aws_it_had(stack: Stack, checkout: Checkout) -> None:
    program = "import boto3; print(*(one['Name'] for one in boto3.client('s3').list_buckets()['Buckets']))"
    environment_commands = checkout.coffre("local", "env").out
    result = subprocess.run(
        ["/bin/sh", "-c", f'{environment_commands}\n"{sys.executable}" -c "{program}"; echo "$COFFRE_STACK"'],
        env={"PATH": os.environ["PATH"], "AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "theirs"},
        capture_output=True,
        text=True,
        check=True,
    )

    *buckets, name = result.stdout.split()
    assert stack.output("VaultBucket") in buckets
    assert name == stack.state.stack


def test_everything_that_the_local_aws_keeps_is_below_the_stacks_own_directory(stack: Stack) -> None:
    assert stack.state.aws is not None
    process = stack.state.aws.mark.process()
    assert process is not None

    places = {name: process.environ()[name] for name in ("HOME", "STATE_DIR", "TMPDIR")}

    assert [name for name, place in places.items() if not Path(place).is_relative_to(stack.state.directory)] == []
    assert (Path(places["STATE_DIR"]) / "cognito-rsa-key.pem").is_file()


# --- rotation ---


def daily_backup(stack: Stack, **event: object) -> Backup:
    answer, failure = stack.invoke("BackupDatabaseFunction", {"target": SAMPLE, "tier": "DAILY", **event})
    assert failure is None, answer
    return stack.catalog.get_backup(answer["id"])


def rotated(checkout: Checkout) -> Said | None:
    """Rotate, unless a rotation is going on."""
    said = checkout.coffre("rotate", "--json")
    return None if said.status == Exit.SKIPPED else said


def test_what_is_too_old_goes_by_itself_after_the_next_backup(
    stack: Stack, checkout: Checkout, new_database: str
) -> None:
    # Given a daily backup of last year, and two that are verified
    old, *others = daily_backup(stack, full=True), daily_backup(stack), daily_backup(stack)
    last_year = (old.created_at - timedelta(days=400)).isoformat(timespec="microseconds")
    stack.client("dynamodb").update_item(
        TableName=stack.output("CatalogTable"),
        Key={"pk": {"S": "BACKUP"}, "sk": {"S": old.id}},
        UpdateExpression="SET created_at = :time",
        ExpressionAttributeValues={":time": {"S": last_year}},
    )
    for other in others:
        stack.catalog.keeping.mark_verified(other.id, datetime.now(UTC))
    planned = checkout.coffre("rotate", "--dry-run", "--json")
    assert planned.status == 0, planned.err
    goes = [one["backup_id"] for one in planned.json()["decisions"] if one["action"] == "delete"]
    # The rotation that an earlier backup started may have come late, and done it already.
    assert goes == [old.id] or stack.catalog.get_backup(old.id).status is Status.DELETED

    # When the next backup is complete
    newest = daily_backup(stack)

    # Then its event starts the rotation
    until(lambda: stack.catalog.get_backup(old.id).status is Status.DELETED or None, "the old backup to be deleted")
    until(lambda: not stack.objects(f"v1/backups/{SAMPLE}/{old.id}/") or None, "its records to be removed")
    # And what is left restores, though it points at packs that the old one wrote
    said = until(lambda: rotated(checkout), "the end of the rotation that the event started")
    assert (said.status, said.json()["sweep"]["problems"]) == (0, []), said.err
    assert stack.objects(f"v1/packs/{old.id}/")
    assert checkout.coffre("restore", "database", newest.id, "--to", new_database, "--json").status == 0
    assert fingerprint(new_database) == fingerprint(stack.server.dsn(SAMPLE))


def test_a_person_pins_and_deletes(stack: Stack, checkout: Checkout) -> None:
    backup = daily_backup(stack)
    assert checkout.coffre("pin", backup.id, "--json").json()["pinned_at"]
    refused_delete = checkout.coffre("delete", backup.id, "--yes")
    assert (refused_delete.status, "[BACKUP_PINNED]" in refused_delete.err) == (1, True)
    assert checkout.coffre("unpin", backup.id).status == 0

    deleted = checkout.coffre("delete", backup.id, "--yes", "--json")

    assert (deleted.status, deleted.json()["status"]) == (0, "DELETED"), deleted.err
    until(lambda: not stack.objects(f"v1/backups/{SAMPLE}/{backup.id}/") or None, "its records to be removed")
    events = [one for one in stack.catalog.audit.events(target=SAMPLE) if one.subject == backup.id]
    actions = [event.action for event in events if event.action != "backup.copied"]  # at any time
    confirmed = ["backup.deleted", "deletion.confirmed", "deletion.planned"]
    assert actions == [*confirmed, "backup.unpinned", "backup.pinned"]


def test_a_lost_pack_is_found_told_and_mended(stack: Stack, checkout: Checkout) -> None:
    """Each level has the rights that it needs; the local AWS enforces them."""
    # Given a backup that was read back whole
    backup = daily_backup(stack, full=True)
    read = checkout.coffre("verify", backup.id, "--json")
    assert (read.status, [one["outcome"] for one in read.json()[0]["examined"]]) == (0, ["verified"]), read.err
    # When one of its packs is lost
    bucket, key = stack.output("VaultBucket"), stack.objects(f"v1/packs/{backup.id}/")[0]
    with closing(stack.client("s3").get_object(Bucket=bucket, Key=key)["Body"]) as body:
        pack = body.read()
    stack.client("s3").delete_object(Bucket=bucket, Key=key)

    found = checkout.coffre("verify", "--level", "inventory", "--json")

    # Then the inventory says so, by mail too, and the backup does not count any more
    (report,) = found.json()
    assert (found.status, [one["backup_id"] for one in report["damaged"]]) == (1, [backup.id]), found.err
    assert key in stack.alert(f"A backup of {SAMPLE} is DAMAGED")["Message"]
    assert stack.catalog.get_backup(backup.id).verified_at is None
    # And when it is brought back, reading all of it mends the record
    stack.client("s3").put_object(Bucket=bucket, Key=key, Body=pack)
    answer, failure = stack.invoke("VerifyFunction", {"level": "read", "backup_id": backup.id})
    assert (failure, answer["status"]) == (None, 200)
    assert stack.catalog.get_backup(backup.id).damaged_at is None
    # The check of the clock sees this target, and the one that has no backup yet: it was configured just now
    checked, failure = stack.invoke("VerifyFunction", {"level": "fresh"})
    status = {(one["target"], one["check"]): one["status"] for one in checked["checks"]}
    assert (failure, checked["status"]) == (None, 200)
    assert status[SAMPLE, "backup"] == "ok"
    assert status[BROKEN, "backup"] != "failed"


def test_a_function_knows_who_runs_the_command(stack: Stack) -> None:
    # Given an event as Alice's command sends it, and the same with another name in it. (Of the account's own key, the
    # local AWS believes every signature.)
    stack.client("iam").create_user(UserName="alice")
    key = stack.client("iam").create_access_key(UserName="alice")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    with activated({**stack.environment, **keys}):
        caller = Caller.of_this_process()
        signed = caller.sign("backup_database", stack.output("BackupDatabaseFunction"), {"target": SAMPLE})
    forged = {**signed, "actor": "arn:aws:iam::000000000000:user/someone-else"}

    for event, verified in ((signed, True), (forged, False)):
        # When the function gets it
        answer, failure = stack.invoke("BackupDatabaseFunction", event)
        assert failure is None, answer

        # Then the audit says who it was, and whether STS confirmed it
        events = [one for one in stack.catalog.audit.events(target=SAMPLE) if one.subject == answer["id"]]
        [taken] = [one for one in events if one.action != "backup.copied"]  # at any time
        assert (taken.action, taken.actor, taken.verified) == ("backup.taken", event["actor"], verified)
    assert signed["actor"] == caller.arn == f"arn:aws:iam::{stack.output('AlertTopic').split(':')[4]}:user/alice"


def test_an_access_by_someone_else_is_told(stack: Stack, checkout: Checkout) -> None:
    # Given a log of the vault's bucket, as S3 would deliver it
    now = datetime.now(UTC)
    account = stack.output("AlertTopic").split(":")[4]
    folder = f"vault/{account}/{stack.environment['AWS_REGION']}/{stack.output('VaultBucket')}/{now:%Y/%m/%d}"
    own = f"arn:aws:sts::{account}:assumed-role/{stack.output('OwnRoles').split(',')[0]}/coffre-backup-database"
    body = f"{line(own, at=now)}\n{line(MALLORY, 'BATCH.DELETE.OBJECT', at=now)}\n"
    stack.client("s3").put_object(
        Bucket=stack.output("AccessLogBucket"), Key=f"{folder}/{now:%Y-%m-%d}-00-00-00-A", Body=body.encode()
    )

    # When the hourly check runs with the permissions that the template gives it
    _, failure = stack.invoke("VerifyFunction", {"level": "fresh"})

    # Then it is told, and the review shows it
    assert failure is None
    alert = stack.alert("Not Coffre: Admin/mallory deleted objects of the vault")
    assert alert["MessageAttributes"]["kind"]["Value"] == "VAULT_ACCESSED"
    report = checkout.coffre("audit", "accesses", "--since", "1d", "--json").json()
    assert (MALLORY, "delete") in {(one["principal"], one["action"]) for one in report["groups"]}
    assert report["own"] >= 1


def test_the_weekly_drill_restores_the_newest_backup_and_reports(
    stack: Stack, checkout: Checkout, tmp_path: Path
) -> None:
    """From the rule to the page: the server's layer, the function that starts itself, the rights that it needs."""
    backup = daily_backup(stack)
    assert backup.verified_at is None

    stack.fire("WeeklyDrillRule", SLOT)

    verified = until(
        lambda: next((one for one in [stack.catalog.get_backup(backup.id)] if one.verified_at), None), "a drill"
    )
    page = tmp_path / "drill.html"
    said = checkout.coffre("report", backup.id, "--json", "--html", str(page))
    report = said.json()
    assert (said.status, report["outcome"], report["problems"]) == (0, "passed", []), said.err
    assert {table["verdict"] for table in report["tables"]} == {"equal"}
    assert (len(report["tables"]), report["rows"]) == (backup.tables, backup.rows)
    assert verified.verified_at is not None
    assert report["structure"]["amcheck"]
    assert "Restored and proven" in page.read_text()
    # And by hand
    again = checkout.coffre("verify", "--level", "drill", backup.id, "--json")
    assert (again.status, again.json()[0]["outcome"]) == (0, "passed"), again.err


# --- failures ---


def test_an_unknown_event_field_is_refused_by_its_name(stack: Stack) -> None:
    for function in ("BackupDatabaseFunction", "RestoreFunction", "RotateFunction"):
        answer, failure = stack.invoke(function, {"targte": SAMPLE})

        assert (failure, answer["errorType"]) == ("Unhandled", "EventError")
        assert "targte: unknown field" in answer["errorMessage"]
        assert "Known fields: " in answer["errorMessage"]


def test_a_failure_is_a_function_error_of_its_own_type(stack: Stack) -> None:
    answer, failure = stack.invoke("BackupDatabaseFunction", {"target": BROKEN})

    assert (failure, answer["errorType"]) == ("Unhandled", "ConnectError")
    assert "[AUTHENTICATION_FAILED]" in answer["errorMessage"]
    assert WRONG_PASSWORD not in json.dumps(answer)


def test_an_unknown_target_and_backup_are_function_errors(stack: Stack) -> None:
    answer, failure = stack.invoke("BackupDatabaseFunction", {"target": "nope"})
    assert (failure, answer["errorType"]) == ("Unhandled", "TargetUnknownError")

    event = {"backup_id": "01K9X000000000000000000000", "destination": "coffre/destination/none"}
    answer, failure = stack.invoke("RestoreFunction", event)
    assert (failure, answer["errorType"]) == ("Unhandled", "BackupStateError")


def test_an_event_that_failed_for_good_is_kept(stack: Stack) -> None:
    event = {"target": BROKEN, "tier": "WEEKLY"}

    stack.invoke_later("BackupDatabaseFunction", event)

    failed = stack.failed_event(event)
    assert failed["requestContext"]["condition"] == "RetriesExhausted"
    assert failed["responsePayload"]["errorType"] == "ConnectError"
    attempts = [one for one in stack.catalog.backups(target=BROKEN) if one.tiers == (Tier.WEEKLY,) and not one.slot]
    assert [one.status for one in attempts] == [Status.FAILED] * 2, "once, and once more"


def test_a_failed_restore_is_not_repeated(stack: Stack, backup: Backup) -> None:
    event = {"backup_id": backup.id, "destination": "coffre/database/broken"}

    stack.invoke_later("RestoreFunction", event)

    failed = stack.failed_event(event)
    assert failed["responsePayload"]["errorType"] == "ConnectError"
    runs = [one for one in stack.catalog.restores(target=SAMPLE) if one.destination == event["destination"]]
    assert [one.status for one in runs] == [Status.FAILED]
    assert WRONG_PASSWORD not in json.dumps(failed)


# --- least privilege, as the functions themselves have it ---


def refused(client: Any, operation: str, **arguments: Any) -> bool:
    """Tell whether a call is refused for lack of rights."""
    try:
        getattr(client, operation)(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        assert code in {"AccessDenied", "AccessDeniedException"}, code
        return True
    return False


@pytest.fixture
def pack(stack: Stack, backup: Backup) -> dict[str, str]:
    """Where a pack is."""
    packs = stack.objects("v1/packs/")
    return {"Bucket": stack.output("VaultBucket"), "Key": packs[0]}


@pytest.fixture
def manifest(stack: Stack, backup: Backup) -> dict[str, str]:
    """Where a manifest is."""
    assert backup.manifest_key is not None
    return {"Bucket": stack.output("VaultBucket"), "Key": backup.manifest_key}


def test_the_backup_role_cannot_read_packs_nor_delete_anything(
    stack: Stack, pack: dict[str, str], manifest: dict[str, str]
) -> None:
    with closing(stack.as_role("BackupDatabaseRole", "s3")) as s3:
        assert not refused(s3, "get_object", **manifest)
        assert refused(s3, "get_object", **pack)
        for place in (pack, manifest):
            assert refused(s3, "delete_object", **place)
        assert refused(s3, "delete_bucket", Bucket=pack["Bucket"])
        assert refused(
            s3, "put_bucket_versioning", Bucket=pack["Bucket"], VersioningConfiguration={"Status": "Suspended"}
        )
        rules = {"Rules": [{"ID": "all", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]}
        assert refused(s3, "put_bucket_lifecycle_configuration", Bucket=pack["Bucket"], LifecycleConfiguration=rules)


def test_the_backup_role_reads_databases_secrets_and_never_the_identity(stack: Stack) -> None:
    with closing(stack.as_role("BackupDatabaseRole", "secretsmanager")) as secrets:
        assert not refused(secrets, "get_secret_value", SecretId=f"coffre/database/{SAMPLE}")
        assert refused(secrets, "get_secret_value", SecretId=IDENTITY)
        assert refused(secrets, "put_secret_value", SecretId=f"coffre/database/{SAMPLE}", SecretString="x")


def test_the_rotate_role_deletes_and_can_neither_read_packs_nor_write(
    stack: Stack, pack: dict[str, str], manifest: dict[str, str]
) -> None:
    bucket = pack["Bucket"]
    stack.client("s3").put_object(Bucket=bucket, Key="v1/packs/spare", Body=b"spare")
    with closing(stack.as_role("RotateRole", "s3")) as s3:
        assert not refused(s3, "get_object", **manifest)
        assert refused(s3, "get_object", **pack)
        assert not refused(s3, "delete_object", Bucket=bucket, Key="v1/packs/spare")
        assert refused(s3, "delete_object", Bucket=bucket, Key="photos/cat.jpg")
        assert refused(s3, "delete_object", Bucket=bucket, Key="v1/restores/01K9X000000000000000000000.json")
        for place in (pack, manifest):
            assert refused(s3, "put_object", **place, Body=b"other")
        assert refused(s3, "delete_bucket", Bucket=bucket)
    with closing(stack.as_role("RotateRole", "secretsmanager")) as secrets:
        for name in (IDENTITY, f"coffre/database/{SAMPLE}"):
            assert refused(secrets, "get_secret_value", SecretId=name)


def test_the_verify_role_reads_packs_and_writes_reports_alone(
    stack: Stack, pack: dict[str, str], manifest: dict[str, str]
) -> None:
    report = {**manifest, "Key": manifest["Key"].replace("manifest.json", "reports/damage-1.json")}
    with closing(stack.as_role("VerifyRole", "s3")) as s3:
        assert not refused(s3, "put_object", **report, Body=b"{}")
        for place in (pack, manifest):
            assert not refused(s3, "get_object", **place)
            assert refused(s3, "put_object", **place, Body=b"other")
            assert refused(s3, "delete_object", **place)
    with closing(stack.as_role("VerifyRole", "secretsmanager")) as secrets:
        assert not refused(secrets, "get_secret_value", SecretId=IDENTITY)
        assert refused(secrets, "get_secret_value", SecretId=f"coffre/database/{SAMPLE}")


def test_the_drill_role_reads_backups_and_no_database_and_writes_reports_alone(
    stack: Stack, pack: dict[str, str], manifest: dict[str, str]
) -> None:
    report = {**manifest, "Key": manifest["Key"].replace("manifest.json", "reports/drill-1.json")}
    with closing(stack.as_role("DrillRole", "s3")) as s3:
        assert not refused(s3, "put_object", **report, Body=b"{}")
        for place in (pack, manifest):
            assert not refused(s3, "get_object", **place)
            assert refused(s3, "put_object", **place, Body=b"other")
            assert refused(s3, "delete_object", **place)
    with closing(stack.as_role("DrillRole", "secretsmanager")) as secrets:
        assert not refused(secrets, "get_secret_value", SecretId=IDENTITY)
        assert refused(secrets, "get_secret_value", SecretId=f"coffre/database/{SAMPLE}")
    with closing(stack.as_role("DrillRole", "lambda")) as functions:
        assert refused(functions, "invoke", FunctionName=stack.output("BackupDatabaseFunction"), Payload=b"{}")


def test_the_restore_role_reads_packs_and_cannot_write_or_delete_any(
    stack: Stack, pack: dict[str, str], manifest: dict[str, str]
) -> None:
    with closing(stack.as_role("RestoreRole", "s3")) as s3:
        for place in (pack, manifest):
            assert not refused(s3, "get_object", **place)
            assert refused(s3, "put_object", **place, Body=b"other")
            assert refused(s3, "delete_object", **place)
        assert refused(s3, "put_object", Bucket=pack["Bucket"], Key="v1/packs/new/0", Body=b"new")


def test_the_restore_role_reads_the_identity_and_starts_nothing(stack: Stack) -> None:
    with closing(stack.as_role("RestoreRole", "secretsmanager")) as secrets:
        assert not refused(secrets, "get_secret_value", SecretId=IDENTITY)
    with closing(stack.as_role("RestoreRole", "lambda")) as functions:
        assert refused(functions, "invoke", FunctionName=stack.output("BackupDatabaseFunction"), Payload=b"{}")


def test_the_audit_is_anchored_by_the_functions_and_a_change_of_it_is_found(stack: Stack, checkout: Checkout) -> None:
    """Functions record with their own roles; a person checks all of it."""
    backup = daily_backup(stack)
    assert checkout.coffre("pin", backup.id).status == 0
    assert checkout.coffre("verify", "--json").status == 0  # anchors the chains
    assert checkout.coffre("unpin", backup.id).status == 0

    intact = checkout.coffre("audit", "--verify-chain", "--json")

    assert intact.status == 0, intact.err
    report = intact.json()
    assert report["anchors"] >= 1
    assert report["unanchored"] >= 1
    events = checkout.coffre("audit", "--target", SAMPLE, "--limit", "20", "--json").json()
    # Copies and rotations that earlier backups have started may add theirs at any time.
    [unpinned] = [one for one in events if (one["action"], one["subject"]) == ("backup.unpinned", backup.id)]
    key = {"pk": {"S": f"AUDIT#{SAMPLE}"}, "sk": {"S": f"{unpinned['sequence']:020d}"}}
    database, table = stack.client("dynamodb"), stack.output("CatalogTable")
    item = database.get_item(TableName=table, Key=key)["Item"]
    database.put_item(TableName=table, Item={**item, "actor": {"S": "another"}})
    try:
        broken = checkout.coffre("audit", "--verify-chain")
        assert broken.status == 1
        assert f"{SAMPLE} {unpinned['sequence']}: " in broken.err
        assert "[EVENT_CHANGED]" in broken.err
    finally:
        database.put_item(TableName=table, Item=item)


def test_a_server_with_a_schedule_of_its_own_is_started_when_it_is_due(
    stack: Stack, checkout: Checkout, tmp_path: Path
) -> None:
    """A new version of the configuration, the rule that asks what is due, and the database that is found."""
    document = checkout.coffre("config", "show", "--json").json()["document"]
    schedule = {"expression": "cron(30 4 * * ? *)", "time_zone": "Europe/Zurich"}
    server = {"name": "all", "secret": f"coffre/database/{SAMPLE}", "databases": {"include": [SAMPLE]}}
    document["targets"].append({**server, "schedule": schedule})
    (tmp_path / "new.json").write_text(json.dumps(document))
    changed = checkout.coffre("config", "set", str(tmp_path / "new.json"), "--yes")
    assert changed.status == 0, changed.err

    slot = datetime(2031, 1, 15, 3, 30, tzinfo=UTC)  # half past four in Zurich

    stack.fire("DueRule", slot)

    found = stack.completed(f"all-{SAMPLE}", slot, {Tier.DAILY})
    assert stack.alert("1 database found on all: backed up from now on")
    assert found.tables == daily_backup(stack).tables
    assert stack.backups(SAMPLE, slot) == []
    assert checkout.coffre("config", "restore", "template", "--yes").status == 0


def test_a_journal_gets_its_base_and_says_which_moments_can_be_restored(
    stack: Stack, checkout: Checkout, tmp_path: Path
) -> None:
    """Switched on, begun, a base that the function itself asks for, changes, and switched off."""
    document = checkout.coffre("config", "show", "--json").json()["document"]
    target = next(one for one in document["targets"] if one["name"] == SAMPLE)
    target["journal"] = {}
    (tmp_path / "new.json").write_text(json.dumps(document))
    changed = checkout.coffre("config", "set", str(tmp_path / "new.json"), "--yes")
    assert changed.status == 0, changed.err

    begun = checkout.coffre("journal", "drain", SAMPLE, "--json")
    assert begun.status == 0, begun.err
    assert len(begun.json()["begun"]) == 1

    def restorable() -> dict[str, Any] | None:
        drained = checkout.coffre("journal", "drain", SAMPLE, "--json")
        assert drained.status == 0, drained.err
        [interval] = checkout.coffre("journal", "list", SAMPLE, "--json").json()["intervals"]
        found: dict[str, Any] = interval
        return found if interval["restorable_from"] is not None else None

    found = until(restorable, "a base of the journal")
    with closing(psycopg2.connect(stack.server.dsn(SAMPLE))) as session, session, session.cursor() as cursor:
        cursor.execute("UPDATE casa.users SET id = id")
    assert checkout.coffre("journal", "drain", SAMPLE, "--json").json()["transactions"] == 1
    assert found["restorable_from"] <= found["restorable_to"]
    assert checkout.coffre("config", "restore", "template", "--yes").status == 0
    assert checkout.coffre("journal", "off", SAMPLE, "--json").json() == {"target": SAMPLE, "dropped": True}
    with closing(psycopg2.connect(stack.server.dsn(SAMPLE))) as session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_replication_slots")
        assert cursor.fetchall() == [(0,)]


@pytest.fixture(scope="module")
def divided_work(stack: Stack, checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Targets whose backups several functions take together."""
    document = checkout.coffre("config", "show", "--json").json()["document"]
    limits = {"spread": "always", "streams": 8}
    document["targets"].append({"name": TOGETHER, "secret": f"coffre/database/{SAMPLE}", "limits": limits})
    limits = {"spread": "always", "streams": 2, "functions": 2}
    document["targets"].append({"name": DIVIDED, "kind": "bucket", "buckets": [{"name": FILES}], "limits": limits})
    file = tmp_path_factory.mktemp("configuration") / "new.json"
    file.write_text(json.dumps(document))
    changed = checkout.coffre("config", "set", str(file), "--yes")
    assert changed.status == 0, changed.err
    yield
    assert checkout.coffre("config", "restore", "template", "--yes").status == 0


@contextmanager
def small_steps(stack: Stack, function: str, **small: str) -> Iterator[None]:
    """Let the steps of a spread backup be small, so that little is relayed and divided too."""
    functions, name = stack.client("lambda"), stack.output(function)
    before = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    functions.update_function_configuration(FunctionName=name, Environment={"Variables": {**before, **small}})
    try:
        yield
    finally:
        functions.update_function_configuration(FunctionName=name, Environment={"Variables": before})


@pytest.mark.usefixtures("divided_work")
def test_several_functions_take_a_backup_together_and_restore_it_together(
    stack: Stack, checkout: Checkout, new_database: str
) -> None:
    """By the deployed state machines, with their own roles: holders that hand the snapshot on, groups, the seal; shares
    of the rows, and the restore that continues."""
    small = {"COFFRE_SPREAD_HOLD_SECONDS": "1", "COFFRE_SPREAD_GROUP_BYTES": "400000"}
    with small_steps(stack, "BackupDatabaseFunction", **small):
        said = checkout.coffre("backup", "database", TOGETHER, "--json")

    assert said.status == 0, said.err
    made = said.json()
    assert (made["status"], made["spread"]) == ("COMPLETED", "limits.spread is always.")
    machine = stack.client("stepfunctions")
    [execution] = machine.list_executions(stateMachineArn=stack.resource("SpreadMachine"))["executions"]
    done = partial(machine.describe_execution, executionArn=execution["executionArn"])
    assert until(lambda: done()["status"] if done()["status"] != "RUNNING" else None, "the end") == "SUCCEEDED"
    groups = stack.catalog.spread.groups(made["id"])
    assert len(groups) > 1
    epochs = stack.catalog.spread.epochs(made["id"])
    # The planner waits for another holder; how many more there are depends on how long the groups take.
    assert {"plan"} < {epoch.holder for epoch in epochs} <= {"plan", "a", "b"}
    assert epochs[0].number > 1
    used = stack.catalog.usages.find(made["id"])
    assert used is not None
    assert used.invocations >= len(groups) + 2
    assert used.transitions >= TRANSITIONS["work"] * len(groups) + TRANSITIONS["seal"]

    restored = checkout.coffre("restore", "database", made["id"], "--to", new_database, "--json")

    assert restored.status == 0, restored.err
    assert fingerprint(new_database) == fingerprint(stack.server.dsn(SAMPLE))
    [execution] = machine.list_executions(stateMachineArn=stack.resource("SpreadRestoreMachine"))["executions"]
    done = partial(machine.describe_execution, executionArn=execution["executionArn"])
    assert until(lambda: done()["status"] if done()["status"] != "RUNNING" else None, "the end") == "SUCCEEDED"
    shared = json.loads(done()["input"])
    loaded = stack.catalog.spread.groups(shared["sharing"])
    assert [one.failure for one in loaded] == [None] * len(shared["shares"])
    report = restored.json()["report"]
    assert 0 < sum(one.done_bytes for one in loaded) <= sum(one["size_bytes"] for one in report["tables"])
    assert any("Hand the rows out to 2 functions with 4 connections each" in step for step in report["steps"])


@pytest.mark.usefixtures("divided_work")
def test_several_functions_take_a_backup_of_a_bucket_in_ranges_of_names(
    stack: Stack, checkout: Checkout, tmp_path: Path, files: Mapping[str, SampleFile]
) -> None:
    """By the deployed state machine, with its own role: rounds of ranges, and the seal when every name is stored."""
    with small_steps(stack, "BackupStorageFunction", COFFRE_SPREAD_RANGE_OBJECTS="12"):
        said = checkout.coffre("backup", "buckets", DIVIDED, "--json")

    assert said.status == 0, said.err
    made = said.json()
    assert (made["status"], made["spread"]) == ("COMPLETED", "limits.spread is always.")
    assert made["objects"] == len(files)
    machine = stack.client("stepfunctions")
    [execution] = machine.list_executions(stateMachineArn=stack.resource("RangesMachine"))["executions"]
    done = partial(machine.describe_execution, executionArn=execution["executionArn"])
    assert until(lambda: done()["status"] if done()["status"] != "RUNNING" else None, "the end") == "SUCCEEDED"
    ranges = stack.catalog.spread.groups(made["id"])
    assert len(ranges) >= 3
    assert [one.failure for one in ranges] == [None] * len(ranges)
    used = stack.catalog.usages.find(made["id"])
    assert used is not None
    assert used.invocations >= len(ranges) + 2
    assert used.transitions >= RANGES_TRANSITIONS["work"] * len(ranges) + RANGES_TRANSITIONS["seal"]
    # Every object is in it once, with its own bytes
    key = tmp_path / "key.txt"
    key.write_text(stack.client("secretsmanager").get_secret_value(SecretId=IDENTITY)["SecretString"])
    exported = checkout.coffre("export", made["id"], "--to", str(tmp_path / "out"), "--identity", str(key))
    assert exported.status == 0, exported.err
    written = {name: tmp_path / "out" / name for name in files}
    assert all(path.is_dir() for name, path in written.items() if name.endswith("/"))
    assert all(path.read_bytes() == files[name].body for name, path in written.items() if not name.endswith("/"))
