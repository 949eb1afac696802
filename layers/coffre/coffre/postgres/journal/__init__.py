"""The journal: what a database's own change stream says, and how it is applied to a restored base."""
