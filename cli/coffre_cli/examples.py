"""The examples at the end of every command's help."""


def examples(*commands: str) -> str:
    """Return an epilog with one command a line; `\\b` keeps the help from joining the lines."""
    return "\n".join(["\b", "Examples:", *(f"  {command}" for command in commands)])
