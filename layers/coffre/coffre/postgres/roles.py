"""Roles as `pg_dumpall` writes them, without those that a platform owns."""

from __future__ import annotations

import re
from typing import Final

# PostgreSQL's own, and those that Supabase, RDS, Aurora, Neon, Cloud SQL and Azure create and do not let anyone touch.
_PLATFORM: Final = re.compile(
    r"pg_.*|postgres|supabase_.*|authenticator|authenticated|anon|service_role|dashboard_user|pgbouncer|pgsodium_.*"
    r"|rds.*|neon_.*|cloud_admin|cloudsql.*|azure.*|azuresu|doadmin|_doadmin_.*"
)
_NAME: Final = r'("(?:[^"]|"")+"|[^\s;"]+)'
_ROLE_STATEMENT: Final = re.compile(rf"^(?:CREATE|ALTER) ROLE {_NAME}[ ;]")
_COMMENT_STATEMENT: Final = re.compile(rf"^COMMENT ON ROLE {_NAME} ")
_GRANT_STATEMENT: Final = re.compile(rf"^GRANT {_NAME} TO {_NAME}[ ;]")


def filter_roles(script: str) -> str:
    r"""Keep the statements about the owner's own roles; drop comments, `\restrict` lines and platform roles.

    Statements of `pg_dumpall --roles-only` begin at the start of a line; what continues one (a comment's text can hold
    line breaks) goes with it.
    """
    kept: list[str] = []
    keeping = False
    for line in script.splitlines():
        if line.startswith(("\\", "--", "SET ")) or not line:
            keeping = False
        elif (names := _roles_named(line)) is not None:
            keeping = not any(_PLATFORM.fullmatch(name) for name in names)
        if keeping:
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


def _roles_named(line: str) -> tuple[str, ...] | None:
    for pattern in (_ROLE_STATEMENT, _COMMENT_STATEMENT):
        if found := pattern.match(line):
            return (_unquoted(found[1]),)
    if found := _GRANT_STATEMENT.match(line):
        # GRANT pg_read_all_data TO alice is worth keeping: only the member decides.
        return (_unquoted(found[2]),)
    return None


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
