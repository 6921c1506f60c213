"""What every analysis must keep to: `lanternfish analysis check NAME` says what it does not."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lanternfish.service.analyses.definition import Analysis
from lanternfish.service.analyses.local import is_exact, run_here
from lanternfish.service.analyses.manifest import check_settings, default_settings, describe
from lanternfish.service.analyses.requests import check, read_settings


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is right, and what to mend."""

    what: str
    right: bool
    detail: str = ""


def conform(analysis: Analysis, *, demo: bool = True) -> Iterator[Finding]:
    """All checks, one by one; `demo`: run the demo twice, which may take minutes."""
    for what, look in _LOOKS.items():
        try:
            detail = look(analysis)
        except Exception as error:
            detail = f"{type(error).__name__}: {error}"
        yield Finding(what, not detail, detail)
    if demo and analysis.demo is not None:
        yield from _demo(analysis)


def _described(analysis: Analysis) -> str:
    bare = [n for n in ("title", "summary", "documentation") if not getattr(analysis, n).strip()]
    return f"Expected text; got none for {', '.join(bare)}." if bare else ""


def _fields(analysis: Analysis) -> str:
    schema = analysis.settings.model_json_schema()
    bare = [
        name for name, each in schema.get("properties", {}).items() if not each.get("description")
    ]
    return (
        f"Expected a description for each setting; got none for {', '.join(bare)}." if bare else ""
    )


def _manifest(analysis: Analysis) -> str:
    plain = describe(analysis).as_plain()
    return "" if json.loads(json.dumps(plain)) == plain else "Expected plain JSON."


def _defaults(analysis: Analysis) -> str:
    """Form, schema and model agree: defaults pass both, and come back as they went in."""
    values = {**default_settings(analysis), **(analysis.demo.settings if analysis.demo else {})}
    manifest = describe(analysis)
    missing = set(manifest.schema.get("required", ())) - set(values)
    if missing:
        return f"Expected a default or a demo's value for {', '.join(sorted(missing))}; got none."
    problems = check_settings(manifest, values)
    settings, more = read_settings(analysis, values)
    if problems or more:
        return " ".join(str(each) for each in [*problems, *more])
    again = settings.model_dump(mode="json")
    back, _ = read_settings(analysis, json.loads(json.dumps(again)))
    return "" if back == settings else "Expected settings to come back from JSON as they were."


def _refuses(analysis: Analysis) -> str:
    """Unknown settings, and inputs that are not there, are told before anything runs."""
    problems, _ = check(analysis, {"no_such_setting": 1}, {"no_such_input": "/nowhere"})
    fields = {each.field for each in problems}
    wanted = {"no_such_setting", "inputs.no_such_input"}
    return "" if wanted <= fields else f"Expected a problem for {wanted - fields}; got none."


def _demo_there(analysis: Analysis) -> str:
    if analysis.demo is None:
        return "Expected a demo; got none: nobody can try the analysis with one click."
    lost = [str(path) for path in analysis.demo.inputs.values() if not Path(path).is_file()]
    if lost:
        return f"Expected the demo's files; there is no {', '.join(lost)}."
    problems, _ = check(analysis, analysis.demo.settings, analysis.demo.inputs)
    return " ".join(str(each) for each in problems)


def _light(analysis: Analysis) -> str:
    """The module itself imports fast: the science belongs inside `run`."""
    code = (
        "import time; t = time.process_time(); "
        "from lanternfish.service.analyses import load; "
        f"load({analysis.name!r}); print(time.process_time() - t)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        return f"Expected an import of its own to work; got {done.stderr.strip()[-200:]}."
    seconds = float(done.stdout.splitlines()[-1])
    if seconds > SLOW:
        return f"Expected an import in {SLOW:.0f} CPU s; it took {seconds:.1f}: import in `run`."
    return ""


SLOW = 10.0  # CPU seconds: a loaded machine is no fault of the analysis

_LOOKS: dict[str, Callable[[Analysis], str]] = {
    "is described": _described,
    "explains each setting": _fields,
    "has a manifest in plain JSON": _manifest,
    "has settings that pass their own schema": _defaults,
    "refuses what it does not know": _refuses,
    "has a demo": _demo_there,
    "is imported fast": _light,
}


def _demo(analysis: Analysis) -> Iterator[Finding]:
    """Run the demo twice: outputs are there, progress was told, and hashes are equal."""
    assert analysis.demo is not None
    found, told = [], []
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="lanternfish-check-") as folder:
            try:
                found.append(
                    run_here(
                        analysis,
                        analysis.demo.settings,
                        analysis.demo.inputs,
                        Path(folder) / "out",
                        tell=told.append,
                    )
                )
            except Exception as error:
                yield Finding("runs its demo", False, f"{type(error).__name__}: {error}")
                return
    yield Finding("runs its demo", True)
    progress = any(each["kind"] == "progress" for each in told)
    yield Finding("tells its progress", progress, "" if progress else "Call job.progress in run.")
    exact = [p for p in found[0].keys() | found[1] if is_exact(p, analysis.outputs)]
    differ = sorted(path for path in exact if found[0].get(path) != found[1].get(path))
    text = f"Different in a second run with the same seed: {', '.join(differ)}." if differ else ""
    yield Finding("gives the same results again", not differ, text)
