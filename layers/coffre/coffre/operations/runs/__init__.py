"""How a run starts, is watched, works in parallel, and ends: what every job uses."""
