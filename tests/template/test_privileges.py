"""Least privilege as rules: who alone may do what, whatever else changes in the template."""

from __future__ import annotations

import json
import re

import pytest
from tests.template.privileges import (
    ADMINISTRATOR,
    ALARMS,
    ANYONE,
    DOWNLOAD_ROLE,
    DOWNLOADS,
    FUNCTIONS,
    LOGGING,
    MACHINES,
    PARTITIONS,
    PEOPLE,
    RULES,
    TOPIC,
    Privileges,
)
from tests.template.rendering import read_template

WRITERS = {"backup-database", "backup-storage"}
OPENERS = {"restore", "drill", "verify"}  # they open backups, so that they have the identity
STARTERS = WRITERS | {
    "restore",
    "rotate",
    "copy",
    "drill",
    "verify",
    "notify",
    "journal",
}  # each starts its own next invocation
# AWS: all inline policies of a role together, and one managed policy, without white space (IAM quotas, 2026).
INLINE_LIMIT, MANAGED_LIMIT = 10_240, 6_144


@pytest.fixture(scope="module", params=["", "team/prod"], ids=["whole bucket", "prefix"])
def privileges(request: pytest.FixtureRequest) -> Privileges:
    return Privileges(VaultPrefix=request.param)


MADE_OF = (
    "a pack",
    "a manifest",
    "an entries file",
    "a shared list of entries",
    "the record of a finished part",
    "the plan of a run",
    "the mark of a tier",
    "the seal of a restore point",
)
ANCHOR, HOLD, COPY = "an anchor of the audit", "the mark of a hold", "a copy of the configuration"
VERIFIED = "the mark of a verification"
SEGMENT, OF_JOURNAL = "the record of a segment of a journal", "a pack of a journal"
KEPT_AS_IT_IS = (*MADE_OF, ANCHOR, HOLD, VERIFIED, COPY, SEGMENT, OF_JOURNAL)


def who(privileges: Privileges, group: str, verb: str = "", what: str = "") -> set[str]:
    """Return all but the administrator who may make at least one of these calls."""
    return {name for call in privileges.about(group, verb, what) for name in privileges.allowed(call)} - {ADMINISTRATOR}


def each(privileges: Privileges, group: str, verb: str = "", what: str = "") -> set[frozenset[str]]:
    """Return the answers to these calls, without the administrator: one, if all have the same."""
    return {privileges.allowed(call) - {ADMINISTRATOR} for call in privileges.about(group, verb, what)}


def test_there_are_callers_and_calls_enough_to_speak_of_a_matrix(privileges: Privileges) -> None:
    calls = [(call.group, call.verb, call.what) for call in privileges.calls]

    assert len(privileges.principals) >= 12
    assert len(calls) >= 60
    assert len(set(calls)) == len(calls)
    assert {*FUNCTIONS, *PEOPLE} < {one.name for one in privileges.principals}


def test_every_role_and_every_policy_for_people_is_a_caller() -> None:
    of_type = {
        name: resource["Type"]
        for name, resource in read_template()["Resources"].items()
        if resource["Type"].startswith("AWS::IAM::")
    }

    roles = {*FUNCTIONS.values(), *MACHINES.values(), DOWNLOAD_ROLE}
    assert {name for name, kind in of_type.items() if kind == "AWS::IAM::Role"} == roles
    assert set(of_type) == {*roles, *(name for names in PEOPLE.values() for name in names)}


def test_every_partition_of_the_catalog_is_looked_at() -> None:
    named = json.dumps(read_template()["Resources"])
    found = {
        part for keys in re.findall(r'"dynamodb:LeadingKeys": \[([^]]*)\]', named) for part in json.loads(f"[{keys}]")
    }

    assert {part.partition("#")[0] for part in found} <= {part.partition("#")[0] for part in PARTITIONS}


# --- the vault ---


def test_only_the_writers_add_what_a_backup_is_made_of(privileges: Privileges) -> None:
    assert {frozenset(who(privileges, "Vault: write", "add", what)) for what in MADE_OF} == {frozenset(WRITERS)}


def test_only_the_journal_adds_to_a_journal_and_it_cannot_read_what_it_stored(privileges: Privileges) -> None:
    assert who(privileges, "Vault: write", "add", SEGMENT) == who(privileges, "Vault: write", "add", OF_JOURNAL)
    assert who(privileges, "Vault: write", "add", OF_JOURNAL) == {"journal"}
    assert "journal" in who(privileges, "Vault: read", "read", SEGMENT)
    assert who(privileges, "Vault: read", "read", OF_JOURNAL) - {"copy"} == OPENERS
    assert "journal" not in who(privileges, "Vault: read", "read", "a pack")


def test_no_caller_replaces_what_a_backup_is_made_of_not_even_an_administrator(privileges: Privileges) -> None:
    replacing = privileges.about("Vault: write", "replace")

    assert {call.what for call in replacing} == {*KEPT_AS_IT_IS}
    assert {privileges.allowed(call) for call in replacing} == {frozenset()}


def test_the_roles_alone_replace_nothing_in_a_vault_that_the_stack_took_over() -> None:
    adopted = Privileges(ExistingVaultBucket="old-vault", VaultPrefix="team/prod")

    assert each(adopted, "Vault: write", "replace") == {frozenset()}
    assert who(adopted, "Vault: write", "add", "a pack") == WRITERS


def test_anchors_of_the_audit_are_added_by_two_functions_that_add_no_backups(privileges: Privileges) -> None:
    assert who(privileges, "Vault: write", "add", ANCHOR) == {"rotate", "verify"}
    assert who(privileges, "Vault: delete", "delete", ANCHOR) == set()
    assert who(privileges, "Vault: read", "read", ANCHOR) == {"rotate", "copy", *OPENERS, *PEOPLE}


def test_a_writer_rewrites_only_the_progress_of_a_run(privileges: Privileges) -> None:
    calls = [call for call in privileges.about("Vault: write") if call.verb != "add"]

    rewritten = {call.what for call in calls if privileges.allowed(call) & WRITERS}
    assert rewritten == {"the progress of a run"}
    assert who(privileges, "Vault: write", "", "the progress of a run") == {"backup-storage"}


def test_packs_are_read_by_those_who_open_them_and_by_the_copier_which_cannot(
    privileges: Privileges,
) -> None:
    assert who(privileges, "Vault: read", "read", "a pack") == {*OPENERS, "copy"}
    assert who(privileges, "Secrets", "read", "the identity") == OPENERS


def test_no_caller_has_the_identity_and_writes_what_a_backup_is_made_of(privileges: Privileges) -> None:
    readers = who(privileges, "Secrets", "read", "the identity")

    assert not readers & {name for what in MADE_OF for name in who(privileges, "Vault: write", "add", what)}
    assert not readers & who(privileges, "Vault: write", "upload")


def test_only_rotate_deletes_backups_and_it_writes_and_opens_none(privileges: Privileges) -> None:
    for what in ("a pack", "a manifest", "an entries file", "a shared list of entries"):
        assert who(privileges, "Vault: delete", "delete", what) == {"rotate"}
    written = {call.what for call in privileges.about("Vault: write") if "rotate" in privileges.allowed(call)}
    assert written == {ANCHOR, HOLD, COPY, "a pin"}
    assert "rotate" not in who(privileges, "Vault: read", "read", "a pack")
    assert "rotate" not in who(privileges, "Secrets")


def test_what_a_drill_restores_is_between_it_and_itself(privileges: Privileges) -> None:
    what = "what a drill restores"

    assert who(privileges, "Vault: read", "read", what) == {"drill"}
    assert who(privileges, "Vault: write", "add or replace", what) == {"drill"}
    assert who(privileges, "Vault: delete", "delete", what) == {"drill"}


def test_no_caller_deletes_for_good_or_changes_the_rules_of_the_vault(privileges: Privileges) -> None:
    assert each(privileges, "Vault: delete", "delete for good") == {frozenset()}
    assert each(privileges, "Vault: delete", "delete", "the bucket") == {frozenset()}
    assert each(privileges, "Vault: rules") == {frozenset()}
    assert each(privileges, "Vault: write", "change") == {frozenset()}
    assert who(privileges, "Vault: delete", "delete", ANCHOR) == set()


def test_locks_are_set_by_those_who_store_and_rotate_and_ended_by_no_caller(privileges: Privileges) -> None:
    group = "Vault: locks"

    assert who(privileges, group, "set or lengthen", "the lock of a pack") == WRITERS | {"rotate"}
    assert who(privileges, group, "set or lengthen", "the lock of an anchor of the audit") == {"rotate", "verify"}
    assert who(privileges, group, "set or end", "a legal hold") == {"rotate"}
    assert who(privileges, group, "set") == set()
    longer = privileges.about(group, "set", "a lock longer than `ObjectLockMaxDays`")
    assert [privileges.allowed(call) for call in longer] == [frozenset()]
    assert [privileges.allowed(call) for call in privileges.about(group, "shorten or end")] == [frozenset()]


def test_reports_are_written_by_those_whose_they_are(privileges: Privileges) -> None:
    writers = {
        what: who(privileges, "Vault: write", "add or replace", what)
        for what in ("a finding of damage", "the report of a drill", "the report of a restore", "a pin")
    }

    assert writers == {
        "a finding of damage": {"drill", "verify"},
        "the report of a drill": {"drill"},
        "the report of a restore": {"restore", "restorer"},
        "a pin": {"rotate"},
    }


def test_objects_in_the_bucket_that_are_not_of_the_vault_are_touched_by_no_caller(privileges: Privileges) -> None:
    for group in ("Vault: read", "Vault: write", "Vault: delete"):
        assert who(privileges, group, "", "any other object") == set()


def test_nothing_is_read_without_tls(privileges: Privileges) -> None:
    [call] = privileges.about("Vault: read", "read", "a pack without TLS")

    assert privileges.allowed(call) == frozenset()


# --- the catalog ---


def of_partition(privileges: Privileges, verb: str, partition: str) -> set[str]:
    return who(privileges, f"Catalog: {verb} items of a partition", "", f"`{partition}`")


def test_audit_events_are_put_by_functions_and_read_by_people_and_changed_by_no_caller(privileges: Privileges) -> None:
    functions = {*FUNCTIONS} - {"notify"}
    assert of_partition(privileges, "put", "AUDIT#main") == functions | {"operator"}
    assert of_partition(privileges, "update", "AUDITHEAD") == functions | {"operator"}
    assert of_partition(privileges, "list", "AUDIT#main") == {"rotate", "verify", "console", *PEOPLE}
    for verb in ("update", "delete"):
        assert of_partition(privileges, verb, "AUDIT#main") == set()


def test_confirmations_are_made_and_used_by_the_functions_that_ask_for_them(privileges: Privileges) -> None:
    """No person and no other function can make one for itself. Who may approve sees which plans wait."""
    readers = {"operator", "restorer", "console"}  # the console sees that a token is not valid, and takes none
    for verb in ("put", "update", "delete"):
        assert of_partition(privileges, verb, "CONFIRM") == {"restore", "rotate"}
    assert of_partition(privileges, "read", "CONFIRM") == {"restore", "rotate"} | readers
    # A plan that waits for a second person is found by the function that would make it twice.
    assert of_partition(privileges, "list", "CONFIRM") == {"restore", "rotate"} | readers


def test_the_configuration_is_read_by_all_and_written_by_the_function_that_asks_for_a_confirmation(
    privileges: Privileges,
) -> None:
    """Recipients are in it: a forged version would be as bad as a deletion. No caller changes or removes one."""
    assert of_partition(privileges, "list", "CONFIG") == {*FUNCTIONS, *PEOPLE} - {"notify"}
    assert of_partition(privileges, "put", "CONFIG") == {"rotate"}
    for verb in ("update", "delete"):
        assert of_partition(privileges, verb, "CONFIG") == set()


def test_copies_of_the_configuration_are_added_by_one_function_and_kept(privileges: Privileges) -> None:
    assert who(privileges, "Vault: write", "add", COPY) == {"rotate"}
    assert who(privileges, "Vault: write", "replace", COPY) == set()
    assert who(privileges, "Vault: delete", "delete", COPY) == set()
    assert {*PEOPLE} <= who(privileges, "Vault: read", "read", COPY)


def test_operators_see_whether_a_secret_exists_and_not_what_it_says(privileges: Privileges) -> None:
    seen = "see whether it exists:"
    for what in ("a database's address", "access keys of a store", "the identity"):
        assert who(privileges, "Secrets", seen, what) == {"operator"}
    assert not {*PEOPLE} & who(privileges, "Secrets", "read")


def test_a_person_writes_audit_events_and_no_record(privileges: Privileges) -> None:
    """A backup is marked as deleted, pinned or held by functions, which ask, record and refuse."""
    written = {
        (verb, name)
        for verb in ("put", "update", "delete")
        for name in PARTITIONS
        if {*PEOPLE} & of_partition(privileges, verb, name)
    }

    assert written == {("put", "AUDIT#main"), ("update", "AUDITHEAD")}


def test_records_are_never_deleted_and_locks_only_by_those_who_take_them(privileges: Privileges) -> None:
    deleters = {name: of_partition(privileges, "delete", name) for name in PARTITIONS}

    takers = {"LOCK": WRITERS | {"rotate", "copy"}, "CONFIRM": {"restore", "rotate"}, "SESSION": {"console"}}
    takers["JOURNAL"] = {"journal"}  # of one that was switched off: what it stored is in the vault
    assert deleters == {name: takers.get(name, set()) for name in PARTITIONS}
    assert of_partition(privileges, "put", "LOCK") == deleters["LOCK"]


@pytest.mark.parametrize(
    ("verb", "partition", "callers"),
    [
        ("put", "BACKUP", WRITERS),
        ("update", "BACKUP", WRITERS | {"rotate", "drill", "verify"}),
        ("put", "RESTORE", {"restore"}),
        ("update", "RESTORE", {"restore", "verify", "rotate"}),
        ("put", "SLOT", WRITERS),
        ("update", "SLOT", set()),
        ("put", "ALERT", {*FUNCTIONS} - {"notify"}),
        ("put", "KEY", WRITERS),
        ("update", "KEY", set()),
        ("put", "AUDITHEAD", set()),
        ("put", "DRILL", {"drill"}),
        ("update", "DRILL", set()),
        ("put", "VAULT", {"rotate"}),
        ("update", "VAULT", set()),
        ("read", "USAGE", {"verify", "console", *PEOPLE}),
        ("put", "USAGE", set()),
        ("update", "USAGE", {*FUNCTIONS} - {"notify", "console"}),
        *((verb, name, {"console"}) for verb in ("put", "update") for name in ("SESSION", "ATTEMPT", "START")),
        ("put", "APIKEY", {"console", "rotate"}),
        ("update", "APIKEY", {"console", "rotate"}),
        ("read", "SESSION", {"console"}),
        ("list", "APIKEY", {"console", "operator"}),
        ("put", "COPY", {"copy", "rotate", "drill", "verify"}),
        ("update", "COPY", set()),
        ("put", "DAMAGE", {"verify"}),
        ("read", "DAMAGE", {"verify", "console", *PEOPLE}),
    ],
)
def test_records_are_written_only_by_those_whose_work_it_is(
    privileges: Privileges, verb: str, partition: str, callers: set[str]
) -> None:
    assert of_partition(privileges, verb, partition) == callers


def test_a_call_about_several_partitions_needs_them_all(privileges: Privileges) -> None:
    group = "Catalog: put items of a partition"

    assert who(privileges, group, "", "`LOCK` and `AUDIT#main` together") == set()


def test_nothing_is_done_to_the_table_as_a_whole(privileges: Privileges) -> None:
    """Nor by a call without a key, such as Scan: `Null` makes the condition on keys fail there."""
    assert each(privileges, "Catalog: the whole table") == {frozenset()}


# --- secrets, functions, messages ---


def test_addresses_of_databases_are_read_by_those_who_connect(privileges: Privileges) -> None:
    assert who(privileges, "Secrets", "read", "a database's address") == {"backup-database", "journal", "restore"}
    assert who(privileges, "Secrets", "read", "a destination's address") == {"restore"}
    assert who(privileges, "Secrets", "read", "access keys of a store") == {"backup-storage", "restore"}
    assert who(privileges, "Secrets", "read", "addresses of chats") == {"notify"}


def test_no_person_reads_a_secret_or_a_pack(privileges: Privileges) -> None:
    assert not {*PEOPLE} & who(privileges, "Secrets", "read")
    assert not {*PEOPLE} & who(privileges, "Vault: read", "read", "a pack")


def test_exported_files_are_written_by_restore_and_read_by_no_function(privileges: Privileges) -> None:
    """The console gives out addresses that another role's credentials sign."""
    assert who(privileges, "Exported files", "write") == {"restore"}
    assert who(privileges, "Exported files", "read") == {DOWNLOADS}
    assert each(privileges, "Exported files") == {frozenset({"restore"}), frozenset({DOWNLOADS}), frozenset()}
    own = {(call.group, call.verb) for call in privileges.calls if DOWNLOADS in privileges.allowed(call)}
    assert own == {("Exported files", "read")}


def test_the_console_asks_others_and_reaches_no_pack_no_key_and_no_database(privileges: Privileges) -> None:
    reached = {(call.group, call.verb, call.what) for call in privileges.calls if "console" in privileges.allowed(call)}
    groups = {group for group, _, _ in reached}

    assert ("Vault: read", "read", "a pack") not in reached
    assert {one for one in reached if one[0] in ("Secrets", "Vault: write", "Vault: delete")} == set()
    assert not {"Buckets of users", "Logs of accesses to the vault", "Vault: rules"} & groups
    written = {
        (verb, name)
        for verb in ("put", "update", "delete")
        for name in PARTITIONS
        if "console" in of_partition(privileges, verb, name)
    }
    own = {(verb, name) for verb in ("put", "update") for name in ("SESSION", "APIKEY", "ATTEMPT", "START")}
    assert written == own | {
        ("delete", "SESSION"),
        ("put", "AUDIT#main"),
        ("update", "AUDITHEAD"),
        ("put", "ALERT"),
    }


def test_secrets_of_coffre_and_of_others_are_changed_by_no_caller(privileges: Privileges) -> None:
    assert who(privileges, "Secrets", "change") == set()
    for what in ("the identity", "a database's address"):
        assert who(privileges, "Secrets", "make", what) | who(privileges, "Secrets", "delete", what) == set()
    for what in ("another identity", "a secret of another application"):
        assert who(privileges, "Secrets", "read", what) == set()
    assert who(privileges, "Configuration", "change") == set()


def test_people_see_schedules_and_stop_none(privileges: Privileges) -> None:
    assert who(privileges, "Alerts, events and logs", "see", "a schedule") == {"console", *PEOPLE}
    assert not {*PEOPLE} & who(privileges, "Alerts, events and logs", "stop", "a schedule")


def test_only_restorers_start_restores(privileges: Privileges) -> None:
    # The rule says of a state machine that it has stopped; the state machine continues what a restorer has begun.
    continuing = {RULES, "state machine of restores"}
    assert who(privileges, "Functions", "start", "`restore`") == {"restore", "restorer", "console", *continuing}
    begun_by = who(privileges, "Functions", "start", "the state machine of restores")
    assert begun_by == {"restore", "state machine of restores"}
    assert who(privileges, "Functions", "start", "`restore` from another rule of the account") == {
        "restore",
        "restorer",
        "console",
        "state machine of restores",
    }


def test_a_function_starts_no_other_but_verify_and_the_database_of_a_restore_point(
    privileges: Privileges,
) -> None:
    for name in FUNCTIONS:
        started_by = who(privileges, "Functions", "start", f"`{name}`") & {*FUNCTIONS}
        asks_doctor = {"verify"} if name.startswith("backup-") else set()
        starts_backups = {"backup-database"} if name == "backup-storage" else set()  # of a restore point
        asks_doctor |= {"verify"} if name == "journal" else set()  # and looks after slots
        starts_backups |= {"journal"} if name == "backup-database" else set()  # its bases
        asked_by_people = {"console"} if name not in ("copy", "console", "journal") else set()
        assert started_by == ({name} & STARTERS) | asks_doctor | starts_backups | asked_by_people


def test_services_start_what_the_template_says_and_reach_nothing_else(privileges: Privileges) -> None:
    def reached(name: str) -> set[str]:
        return {call.what for call in privileges.calls if name in privileges.allowed(call)}

    scheduled = {f"`{name}`" for name in FUNCTIONS} - {"`notify`", "`console`"}
    assert reached(RULES) == scheduled
    assert reached(TOPIC) == {"`notify`", "a failed event"}
    assert reached(ALARMS) == {"an alert"}
    assert reached(LOGGING) == {"logs of the vault"}
    assert reached(ANYONE) == set()


def test_no_caller_changes_code_roles_or_the_stack(privileges: Privileges) -> None:
    assert each(privileges, "Functions", "change") == {frozenset()}
    changes = [call for call in privileges.about("Functions") if not call.verb]
    assert {privileges.allowed(call) - {ADMINISTRATOR} for call in changes} == {frozenset()}


def test_logs_are_written_by_their_own_function_and_alerts_are_stopped_by_no_caller(privileges: Privileges) -> None:
    group = "Alerts, events and logs"

    for name in ("backup-database", "restore"):
        assert who(privileges, group, "write", f"the log of `{name}`") == {name}
    for verb in ("read", "delete", "subscribe", "take", "empty", "stop"):
        assert each(privileges, group, verb) == {frozenset()}
    assert who(privileges, group, "publish", "an alert") == {*FUNCTIONS, ALARMS} - {"notify"}


def test_buckets_of_users_are_read_by_one_and_written_by_another_function(privileges: Privileges) -> None:
    group = "Buckets of users"
    callers: dict[str, set[str]] = {}
    for call in privileges.about(group):
        for name in privileges.allowed(call) - {ADMINISTRATOR}:
            callers.setdefault(name, set()).add(f"{call.verb} {call.what}")

    assert callers == {
        "backup-storage": {"read an object of a bucket of `SourceBuckets`", "list a bucket of `SourceBuckets`"},
        "restore": {
            *(f"{verb} an object of a bucket of `RestoreBuckets`" for verb in ("read", "write", "delete")),
            "list a bucket of `RestoreBuckets`",
        },
    }


def test_the_policy_of_the_bucket_stops_an_administrator_too(privileges: Privileges) -> None:
    refused = {(call.verb, call.what) for call in privileges.calls if ADMINISTRATOR not in privileges.allowed(call)}

    without_tls = {("read", "a pack without TLS"), ("read", "logs without TLS")}
    locks = {("set", "a lock longer than `ObjectLockMaxDays`"), ("shorten or end", "a lock")}
    assert refused == {*(("replace", what) for what in KEPT_AS_IT_IS), *without_tls, *locks}


def test_logs_of_accesses_are_read_by_verify_alone_and_changed_by_no_caller(privileges: Privileges) -> None:
    group = "Logs of accesses to the vault"

    assert who(privileges, group, "read") | who(privileges, group, "list") == {"verify"}
    assert who(privileges, group, "write") == {LOGGING}
    assert who(privileges, group, "delete") == set()
    assert not {name for call in privileges.about(group) if not call.verb for name in privileges.allowed(call)} - {
        ADMINISTRATOR
    }


def test_policies_are_as_small_as_aws_wants_them(privileges: Privileges) -> None:
    def size(policy: object) -> int:
        return len(re.sub(r"\s", "", json.dumps(policy)))

    resources = privileges.template.of_type
    for name, role in resources("AWS::IAM::Role").items():
        assert sum(size(one["PolicyDocument"]) for one in role["Policies"]) < INLINE_LIMIT, name
    for name, policy in resources("AWS::IAM::ManagedPolicy").items():
        assert size(policy["PolicyDocument"]) < MANAGED_LIMIT, name


def test_only_what_verifies_and_drills_marks_backups_as_verified(privileges: Privileges) -> None:
    assert who(privileges, "Vault: write", "add", VERIFIED) == {"drill", "verify"}
