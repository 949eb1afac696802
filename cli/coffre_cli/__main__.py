"""`python -m coffre_cli`, and the installed program: the command `coffre`."""

import sys


def run() -> None:
    """Run the command; Ctrl-C ends it without a traceback, also while it is still being imported."""
    try:
        from coffre_cli.app import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
