"""The settings with which each session begins."""

from __future__ import annotations

from typing import Final

# Sent by SET on every connection, never as startup options: poolers refuse those (field notes 10, 12, 15).
_SESSION_SETTINGS: Final = (
    "SET statement_timeout = 0",
    "SET lock_timeout = 0",  # who waits for locks that others hold says for how long
    "SET idle_in_transaction_session_timeout = 0",
    "SET default_transaction_read_only = off",  # a database or role can have it on; backups say READ ONLY themselves
    # Who locks looks afterwards, and has to see what others have committed by then.
    "SET default_transaction_isolation = 'read committed'",
    # The server's own keepalives: when a function dies without a word, its backends are gone after 90 seconds and not
    # after two hours (field note 25).
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 6",
    # A role's own would end a session whose rows wait here for the vault: only the keepalives find us gone.
    "SET tcp_user_timeout = 0",
    "SET row_security = off",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
    "SET xmlbinary = 'base64'",
    "SET xmloption = 'content'",
    "SET TimeZone = 'UTC'",
    "SET lc_monetary = 'C'",
    "SET synchronize_seqscans = off",
    "SET standard_conforming_strings = on",
    "SET array_nulls = on",
    "SET transform_null_equals = off",
    "SET quote_all_identifiers = off",
    "SET search_path = pg_catalog",
)
# Limits that newer majors brought: the number of the first version that knows each.
_NEWER_SETTINGS: Final = (
    (140000, "SET idle_session_timeout = 0"),
    (170000, "SET transaction_timeout = 0"),
)


def session_settings(version_number: int) -> tuple[str, ...]:
    """Return the statements with which every session of a server of this version begins."""
    newer = tuple(statement for since, statement in _NEWER_SETTINGS if version_number >= since)
    return _SESSION_SETTINGS + newer
