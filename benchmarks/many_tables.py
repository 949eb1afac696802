"""Three thousand tables of twenty rows in 150 schemas, as of an application with a schema for each tenant."""

from __future__ import annotations

from benchmarks.both_ways import backup_and_restore
from benchmarks.databases import TENANTS
from benchmarks.workbench import arguments_of


def main() -> None:
    """Back up and restore, against PostgreSQL's own programs."""
    arguments = arguments_of(__doc__).parse_args()
    backup_and_restore(TENANTS, arguments.scale, arguments.runs, backup_goal=1.2, restore_goal=1.0)


if __name__ == "__main__":
    main()
