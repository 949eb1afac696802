"""``python3.13 -m recipe build DIRECTORY`` and ``python3.13 -m recipe lock``: what the Makefiles call."""

import argparse
import sys
from pathlib import Path

from .contents import PLANS
from .downloads import renew
from .layer import build
from .model import RECIPE_DIRECTORY, RecipeError, Settings, layer_name, read_lock, say, write_lock


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="recipe", description="Build a PostgreSQL layer or re-pin it.")
    parser.add_argument("--lock-file", type=Path, default=RECIPE_DIRECTORY / "inputs.lock")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("directory", type=Path)
    commands.add_parser("lock")
    options = parser.parse_args(arguments)
    try:
        comment, pins = read_lock(options.lock_file)
        settings = Settings.from_env()
        if options.command == "build":
            build(pins, options.directory, settings, PLANS[layer_name()])
        else:
            write_lock(options.lock_file, comment, renew(pins, settings))
            say(f"{options.lock_file.name} holds today's versions and hashes: review the difference, then build.")
    except RecipeError as error:
        sys.stderr.write(f"{layer_name()} layer: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
