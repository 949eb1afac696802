"""The providers of PostgreSQL that a target can name; what is known of each is in `policy/profiles/NAME.toml`.

They are in the order in which they are recognized: a server of Aurora shows the signs of RDS too.
"""

from __future__ import annotations

from typing import Literal

Provider = Literal["auto", "supabase", "neon", "aurora", "rds", "plain"]
