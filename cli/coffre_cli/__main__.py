"""`python -m coffre_cli`: the command `coffre`."""

import sys

if __name__ == "__main__":
    try:
        from coffre_cli.app import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)
