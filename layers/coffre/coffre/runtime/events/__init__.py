"""The events that start functions, by function."""
