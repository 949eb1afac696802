"""The providers of PostgreSQL that a target can name; what is known of each is in `policy/profiles`."""

from __future__ import annotations

from typing import Literal

Provider = Literal["auto", "plain", "supabase", "neon", "rds", "aurora"]
