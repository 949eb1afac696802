"""The messages that Coffre sends to people, and how they are published."""
