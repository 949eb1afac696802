"""The checks of `coffre doctor`: pure functions from facts to findings, each with a stable code (docs/doctor.md)."""
