"""HTTP: JSON API, pages, event stream, uploads, sessions. Never imports the science.

`create_app(configuration)` is the application; `serve` runs it.
"""

from lanternfish.service.server.app import create_app
from lanternfish.service.server.configuration import (
    Configuration,
    default_folder,
    read_configuration,
)

__all__ = ["Configuration", "create_app", "default_folder", "read_configuration"]
