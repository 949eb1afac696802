"""The settings of a scratch server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Of any server whose data is thrown away (field note 37: /dev/shm is tiny in many containers and missing in Lambda).
SETTINGS: Final[Mapping[str, str]] = {
    "shared_buffers": "64MB",
    "huge_pages": "off",
    "dynamic_shared_memory_type": "mmap",
    "timezone": "GMT",
    "log_timezone": "GMT",
    "jit": "off",
}

THROWAWAY_SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}

OWN_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "max_connections": "40",
    # What is loaded into a new table, or indexed, is not logged at all: this bounds the rest of it.
    "max_wal_size": "256MB",
    # Lambda has 1,024 open files for all processes together.
    "max_files_per_process": "64",
    "maintenance_work_mem": "128MB",
    # That a process was killed is a LOG; an ERROR is not logged, it can quote values.
    "log_min_messages": "log",
    "log_checkpoints": "off",
    "log_min_error_statement": "panic",
}
