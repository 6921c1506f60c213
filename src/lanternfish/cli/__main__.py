"""``python -m lanternfish.cli``: the same as ``lanternfish``."""

from lanternfish.cli.app import app

app(prog_name="lanternfish")
