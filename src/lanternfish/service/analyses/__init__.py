"""Analyses: what they are, where they come from, what they may expect.

An analysis is a Python package with an entry point of the group `lanternfish.analyses`:

    [project.entry-points."lanternfish.analyses"]
    histogram = "my_package:analysis"

    analysis = Analysis(name="histogram", version="1", title="...", settings=Settings, run=run, ...)

For a server: `catalogue()` gives a `Manifest` (plain JSON) of each, `check_settings` compares
values with a manifest's schema, `check_request` asks the analysis itself. Both run strangers' code
in a child process, never in the server. For a developer: `Analysis`, `Input`, `Output`, `Demo`,
`Problem`, and the `Job` that `run` is given. For the command line: `run_here` and `conform`.
"""

from lanternfish.service.analyses.catalogue import (
    catalogue,
    check_request,
    find_manifest,
    suggest_settings,
)
from lanternfish.service.analyses.definition import (
    GROUP,
    Analysis,
    Demo,
    Environment,
    Input,
    Output,
    Problem,
    Suggestion,
)
from lanternfish.service.analyses.job import Job
from lanternfish.service.analyses.manifest import Manifest, check_settings
from lanternfish.service.analyses.registry import UnknownAnalysisError, load, names

__all__ = [
    "GROUP",
    "Analysis",
    "Demo",
    "Environment",
    "Input",
    "Job",
    "Manifest",
    "Output",
    "Problem",
    "Suggestion",
    "UnknownAnalysisError",
    "catalogue",
    "check_request",
    "check_settings",
    "find_manifest",
    "load",
    "names",
    "suggest_settings",
]
