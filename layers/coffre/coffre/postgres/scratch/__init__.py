"""The scratch server of drills, and the checks that run on it."""
