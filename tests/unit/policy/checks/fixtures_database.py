"""Facts about a database: a healthy one, and what provokes each code."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.model.backup import Failure
from coffre.policy.checks.activity import Activity, Slot, Transaction
from coffre.policy.checks.address import Address, DatabaseSecret
from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.contents import Contents
from coffre.policy.checks.endpoint import Endpoint, Sharing, SnapshotExport, Standby
from coffre.policy.checks.extensions import Collations, Extensions
from coffre.policy.checks.login import Encryption, Login
from coffre.policy.checks.managed import Managed, Sealed
from coffre.policy.checks.role import Role, Settings, Unreadable
from coffre.policy.checks.server import Server
from coffre.policy.checks.time_limit import Provider, Runs, Volume

_NOW: Final = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
_YEAR: Final = timedelta(days=365)
_GB: Final = 1024**3

_SECRET: Final = DatabaseSecret("coffre/database/shop")
_ADDRESS: Final = Address("db.example.com", 5432, "backup", "the secret shop", ("203.0.113.7",), has_ipv6=False)
_ENCRYPTION: Final = Encryption(
    "verify-full", True, False, _NOW, "/CN=db.example.com", _NOW - _YEAR, _NOW + timedelta(days=200)
)
_ENDPOINT: Final = Endpoint(wanted=7, free=90, tried=7, opened=7, seeing=7)
_SERVER: Final = Server("17.6", 170006, 18, None, 0.01, 0.05, (("shop", 150_000_000),))
_ROLE: Final = Role("backup", 170006)
_EXTENSIONS: Final = Extensions((("plpgsql", "1.0"), ("vector", "0.8.1")))
_VOLUME: Final = Volume(20 * _GB)
_RUNS: Final = Runs(((20 * _GB, 300.0), (19 * _GB, 280.0)))
_PROVIDER: Final = Provider("plain", "db.example.com")

HEALTHY: Final[Facts] = facts_of(
    _SECRET,
    _ADDRESS,
    Login(),
    _ENCRYPTION,
    Sharing(same_process=False),
    _ENDPOINT,
    Standby(is_standby=False),
    SnapshotExport(),
    _SERVER,
    _ROLE,
    Unreadable(),
    Settings(),
    Contents(tables=12),
    _EXTENSIONS,
    Collations("shop"),
    Activity(),
    _VOLUME,
    _RUNS,
    _PROVIDER,
    Managed(),
    Sealed(),
)


def _refused(code: str) -> tuple[tuple[Login], tuple[Login]]:
    """A login that fails with the code, and one that succeeds."""
    return (Login(Failure(code=code, message="It failed.", hint="Do this.")),), (Login(),)


FIXTURES: Final = (
    Fixture(
        "DATABASE_SECRET",
        provokes=(
            replace(
                _SECRET,
                problem=Failure(code="SECRET_SHAPE", message="It describes no database. missing or not text: host"),
            ),
        ),
        spares=(_SECRET,),
    ),
    Fixture("AUTH_IAM_SHORT", provokes=(replace(_SECRET, has_iam_token=True),), spares=(_SECRET,)),
    Fixture(
        "ADDRESS_IPV6_ONLY",
        provokes=(replace(_ADDRESS, host="db.abc.supabase.co", addresses=("2001:db8::7",)),),
        spares=(replace(_ADDRESS, addresses=("2001:db8::7", "203.0.113.7")),),
    ),
    Fixture(
        "ADDRESS_IPV6_ONLY",
        provokes=(replace(_ADDRESS, addresses=("2001:db8::7", "2001:db8::8")),),
        spares=(replace(_ADDRESS, addresses=("2001:db8::7",), has_ipv6=True),),
    ),
    Fixture("HOST_UNKNOWN", *_refused("HOST_UNKNOWN")),
    Fixture("SERVER_UNREACHABLE", *_refused("CONNECTION_TIMEOUT")),
    Fixture("SERVER_UNREACHABLE", *_refused("CONNECTION_REFUSED")),
    Fixture("SERVER_UNREACHABLE", *_refused("HOST_UNREACHABLE")),
    Fixture("TLS_FAILED", *_refused("TLS_HOST_MISMATCH")),
    Fixture("LOGIN_REFUSED", *_refused("AUTHENTICATION_FAILED")),
    Fixture("LOGIN_REFUSED", *_refused("CONNECTION_NOT_ALLOWED")),
    Fixture("CONNECTION_FAILED", *_refused("DATABASE_MISSING")),
    Fixture(
        "TLS_NOT_VERIFIED",
        provokes=(Encryption("require", True, False, _NOW),),
        spares=(Encryption("prefer", False, True, _NOW),),
    ),
    Fixture("TLS_NOT_VERIFIED", provokes=(Encryption("prefer", False, False, _NOW),), spares=(_ENCRYPTION,)),
    Fixture(
        "TLS_CA_EXPIRES",
        provokes=(replace(_ENCRYPTION, begins=_NOW - 9 * _YEAR, ends=_NOW + timedelta(days=89)),),
        # A certificate of 90 days that is renewed by itself, in the middle of its life.
        spares=(replace(_ENCRYPTION, begins=_NOW - timedelta(days=45), ends=_NOW + timedelta(days=45)),),
    ),
    Fixture("POOLER_TRANSACTION", provokes=(Sharing(same_process=True),), spares=(Sharing(same_process=False),)),
    Fixture(
        "POOLER_TRANSACTION",
        provokes=(replace(_ADDRESS, host="ep-cool-1-pooler.eu-central-1.aws.neon.tech"),),
        spares=(replace(_ADDRESS, host="ep-cool-1.eu-central-1.aws.neon.tech"),),
    ),
    Fixture(
        "POOLER_TRANSACTION",
        provokes=(replace(_ADDRESS, host="aws-0-eu.pooler.supabase.com", port=6543),),
        spares=(replace(_ADDRESS, host="aws-0-eu.pooler.supabase.com"),),
    ),
    Fixture(
        "POOLER_WIDTH",
        provokes=(replace(_ENDPOINT, opened=4, seeing=4, refusal="max clients reached"),),
        spares=(_ENDPOINT,),
    ),
    Fixture(
        "POOLER_WIDTH",
        provokes=(replace(_ENDPOINT, free=5, tried=2, opened=2, seeing=2),),
        spares=(replace(_ENDPOINT, free=14),),
    ),
    Fixture("ENDPOINT_NOT_ONE_INSTANCE", provokes=(replace(_ENDPOINT, seeing=5),), spares=(_ENDPOINT,)),
    Fixture("ENDPOINT_STANDBY", provokes=(Standby(True, "30s"),), spares=(Standby(False, "30s"),)),
    Fixture(
        "SNAPSHOT_EXPORT_REFUSED",
        provokes=(SnapshotExport("cannot export a snapshot from a subtransaction"),),
        spares=(SnapshotExport(),),
    ),
    Fixture(
        "SERVER_UNSUPPORTED",
        provokes=(replace(_SERVER, version="19.1", version_number=190001),),
        spares=(replace(_SERVER, version="18.6", version_number=180006),),
    ),
    Fixture(
        "SERVER_UNSUPPORTED",
        provokes=(replace(_SERVER, version="11.22", version_number=110022),),
        spares=(replace(_SERVER, version="12.22", version_number=120022),),
    ),
    Fixture(
        "CLIENT_OLDER",
        provokes=(replace(_SERVER, newer_minor="The server is PostgreSQL 17.99, newer than the client programs."),),
        spares=(_SERVER,),
    ),
    Fixture(
        "CLOCK_SKEW",
        provokes=(replace(_SERVER, skew_seconds=-7.0),),
        spares=(replace(_SERVER, skew_seconds=6.0, uncertain_seconds=2.0),),
    ),
    Fixture(
        "XID_WRAPAROUND",
        provokes=(replace(_SERVER, xid_ages=(("shop", 1_400_000_000), ("postgres", 10))),),
        spares=(replace(_SERVER, xid_ages=(("shop", 999_999_999),)),),
    ),
    Fixture(
        "ROLE_CANNOT_READ", provokes=(Unreadable(tables=("public.orders", "hr.salaries")),), spares=(Unreadable(),)
    ),
    Fixture(
        "ROLE_CANNOT_READ",
        provokes=(Unreadable(tables=("public.orders",)), replace(_ROLE, version_number=130023)),
        spares=(Unreadable(),),
    ),
    Fixture("ROLE_NO_BYPASSRLS", provokes=(Unreadable(hidden_rows=("public.orders",)),), spares=(Unreadable(),)),
    Fixture(
        "SEQUENCES_UNREADABLE", provokes=(Unreadable(sequences=("public.orders_id_seq",)),), spares=(Unreadable(),)
    ),
    Fixture(
        "LARGE_OBJECTS_UNREADABLE",
        provokes=(Unreadable(large_objects=(16500,), large_object_count=3000),),
        spares=(Unreadable(),),
    ),
    Fixture("ROLE_TOO_STRONG", provokes=(replace(_ROLE, strengths=("SUPERUSER",)),), spares=(_ROLE,)),
    Fixture(
        "ROLE_SETTINGS",
        provokes=(Settings(wrong=(("statement_timeout", "0", "8s"),)),),
        spares=(Settings(),),
    ),
    Fixture(
        "ROLE_SETTINGS",
        provokes=(Settings(configured=(("the role backup", "statement_timeout=8s"),)),),
        spares=(Settings(),),
    ),
    Fixture("TABLES_WITHOUT_KEY", provokes=(Contents(3, without_key=("public.log",)),), spares=(Contents(3),)),
    Fixture("UNLOGGED", provokes=(Contents(3, unlogged=("public.cache",)),), spares=(Contents(3),)),
    Fixture("FOREIGN_TABLES", provokes=(Contents(3, foreign=("public.remote",)),), spares=(Contents(3),)),
    Fixture(
        "MATVIEW_UNQUALIFIED",
        provokes=(Contents(3, matviews=(("public.totals", "public.total(integer)"),)),),
        spares=(Contents(3),),
    ),
    Fixture(
        "LEFT_BY_RESTORES",
        provokes=(Contents(3, left_schemas=("restored_01k9x000000000000000000000",)),),
        spares=(Contents(3),),
    ),
    Fixture("EVENT_TRIGGERS", provokes=(Contents(3, event_triggers=("on_ddl",)),), spares=(Contents(3),)),
    Fixture(
        "EXTENSION_NOT_IN_DRILL",
        provokes=(Extensions((("postgis", "3.5.0"), ("hstore", "1.8"))),),
        spares=(Extensions((("hstore", "1.8"),)),),
    ),
    Fixture(
        "EXTENSION_CONFIG_TABLES",
        provokes=(replace(_EXTENSIONS, unstored_members=(("cron", "cron.job_run_details"),)),),
        spares=(_EXTENSIONS,),
    ),
    Fixture(
        "TIMESCALE",
        provokes=(Extensions((("timescaledb", "2.17.2"),)),),
        spares=(_EXTENSIONS,),
        also=frozenset({"EXTENSION_NOT_IN_DRILL"}),
    ),
    Fixture(
        "COLLATION_VERSION_MISMATCH",
        provokes=(Collations("shop", changed=(("default", "2.31", "2.36"),)),),
        spares=(Collations("shop"),),
    ),
    Fixture(
        "COLLATION_NOT_IN_DRILL",
        provokes=(Collations("shop", not_in_drill=("public.german_phonebook",)),),
        spares=(Collations("shop"),),
    ),
    Fixture(
        "LONG_TRANSACTION",
        provokes=(Activity((Transaction(7, "app", 4000.0, 12),)),),
        spares=(Activity((Transaction(7, "app", 3500.0, 12),)),),
    ),
    Fixture(
        "LONG_TRANSACTION",
        provokes=(Activity((Transaction(7, "app", None, 6_000_000),)),),
        spares=(Activity((Transaction(7, "app", None, 4_000_000),)),),
    ),
    Fixture("QUEUED_DDL_BEHIND_US", provokes=(Activity(queued=(("public.orders", 9),)),), spares=(Activity(),)),
    Fixture(
        "BLOATED_SLOT",
        provokes=(Activity(slots=(Slot("old", False, 2 * _GB),)),),
        spares=(Activity(slots=(Slot("new", True, 2 * _GB, "extended"),)),),
    ),
    Fixture(
        "BLOATED_SLOT",
        provokes=(Activity(slots=(Slot("old", False, 0, "lost"),)),),
        spares=(Activity(slots=(Slot("new", False, 2000, "reserved"),)),),
    ),
    Fixture(
        "SIZE_WINDOW",
        provokes=(replace(_VOLUME, bytes=60 * _GB),),
        spares=(replace(_VOLUME, bytes=30 * _GB),),
    ),
    Fixture(
        "DISK_THROUGHPUT_BOUND",
        provokes=(replace(_VOLUME, bytes=2 * _GB), Runs(((2 * _GB, 400.0),))),
        spares=(replace(_VOLUME, bytes=_GB // 2), Runs(((_GB // 2, 100.0),))),
    ),
    Fixture(
        "COMPUTE_SUSPENDS",
        provokes=(Provider("neon", "ep-cool-1.eu-central-1.aws.neon.tech"),),
        spares=(Provider("supabase", "db.abc.supabase.co"),),
    ),
    Fixture("MANAGED_SCHEMA_LEFT_OUT", provokes=(Managed(left_out=("storage",)),), spares=(Managed(),)),
    Fixture(
        "USER_OBJECTS_ON_MANAGED_TABLES",
        provokes=(Managed(attached=(("trigger on_signup", "auth.users", False),)),),
        spares=(Managed(),),
    ),
    Fixture(
        "USER_OBJECTS_ON_MANAGED_TABLES",
        provokes=(Managed(left_out=("auth",), attached=(("policy own_files", "storage.objects", True),)),),
        spares=(Managed(),),
        also=frozenset({"MANAGED_SCHEMA_LEFT_OUT"}),
    ),
    Fixture("VAULT_SECRETS_UNREADABLE_ELSEWHERE", provokes=(Sealed(("vault.secrets",)),), spares=(Sealed(),)),
)
