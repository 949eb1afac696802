"""``python3.13 -m recipe build DIRECTORY``, ``lock``, ``update`` and ``minors``: what the Makefiles call."""

import argparse
import sys
from pathlib import Path

from .contents import PLANS
from .downloads import renew
from .layer import build
from .model import RECIPE_DIRECTORY, RecipeError, Settings, layer_name, read_lock, say, write_lock
from .updates import update, warnings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="recipe", description="Build a PostgreSQL layer or re-pin it.")
    parser.add_argument("--lock-file", type=Path, default=RECIPE_DIRECTORY / "inputs.lock")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build").add_argument("directory", type=Path)
    commands.add_parser("lock")
    commands.add_parser("update")
    commands.add_parser("minors").add_argument("files", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    try:
        comment, pins = read_lock(options.lock_file)
        settings = Settings.from_env()
        if options.command == "build":
            build(pins, options.directory, settings, PLANS[layer_name()])
        elif options.command == "minors":
            for line in warnings([options.lock_file, *options.files], settings):
                sys.stdout.write(f"WARNING: {line}\n")
        elif options.command == "update":
            write_lock(options.lock_file, comment, update(pins, settings, PLANS[layer_name()]))
            say(f"{options.lock_file.name} holds what passed the gate: review the difference, then run the tests.")
        else:
            write_lock(options.lock_file, comment, renew(pins, settings))
            say(f"{options.lock_file.name} holds today's versions and hashes: review the difference, then build.")
    except RecipeError as error:
        sys.stderr.write(f"{layer_name()} layer: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
