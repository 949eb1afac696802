"""Thirty thousand large objects, as of an application that keeps its files in the database."""

from __future__ import annotations

from benchmarks.both_ways import backup_and_restore
from benchmarks.databases import LARGE_OBJECTS
from benchmarks.workbench import arguments_of


def main() -> None:
    """Back up and restore, against PostgreSQL's own programs."""
    arguments = arguments_of(__doc__).parse_args()
    backup_and_restore(LARGE_OBJECTS, arguments.scale, arguments.runs, backup_goal=1.0, restore_goal=1.0)


if __name__ == "__main__":
    main()
