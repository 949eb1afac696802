"""`python -m coffre_cli`: the command `coffre`."""

from coffre_cli.app import main

if __name__ == "__main__":
    main()
