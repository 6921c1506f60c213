"""The command line: parse, call, print.

Nothing heavy is imported before a command needs it, so that help and completion answer at once.
"""

from lanternfish.cli.app import app

__all__ = ["app"]
