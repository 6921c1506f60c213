"""What an analysis is, how it is asked, and that ours and the toys keep to it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from lanternfish.cli import app
from lanternfish.service.analyses import (
    Analysis,
    Input,
    Output,
    UnknownAnalysisError,
    catalogue,
    check_request,
    check_settings,
    load,
    names,
    registry,
)
from lanternfish.service.analyses.conformance import conform
from lanternfish.service.analyses.headers import contradiction
from lanternfish.service.analyses.local import RequestError, kind_of, run_here
from lanternfish.service.analyses.manifest import describe

OURS = (
    "calcium",
    "calcium_import",
    "epi",
    "explore",
    "identities",
    "npe",
    "pose",
    "pose_frames",
    "pose_import",
    "sweep",
    "tracking",
)


def test_analyses_are_found_by_their_entry_points():
    assert {"count", "misbehave", "broken", *OURS} <= set(names())
    with pytest.raises(UnknownAnalysisError, match='do you mean "count"'):
        load("cuont")


def test_a_checkout_has_the_analyses_that_an_installation_has(monkeypatch):
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [])
    found = {name: entry.value for name, entry in registry.entries().items()}
    assert found == project["entry-points"]["lanternfish.analyses"]


def test_a_manifest_is_what_a_form_needs_and_a_broken_analysis_hides_no_other():
    known = catalogue(refresh=True)
    assert "a library that is not there" in known["broken"].error
    count = known["count"]
    assert json.loads(json.dumps(count.as_plain())) == count.as_plain()
    assert count.defaults == {"to": 3, "pause": 0.0}
    assert count.schema["properties"]["pause"]["unit"] == "s"
    assert count.demo["inputs"]["lines"]["size"] == 14
    assert count.sources[0]["path"] == "toys/count.py"
    assert "def run(job" in count.sources[0]["text"]
    assert count.cpu_seconds == pytest.approx(5.3)
    for name in OURS:
        assert known[name].error == ""
        assert known[name].package["name"] == "lanternfish"


def test_the_code_of_an_analysis_covers_what_it_shares(tmp_path, monkeypatch):
    shared = tmp_path / "labshared"
    (shared / "deep").mkdir(parents=True)
    for name in ("__init__.py", "deep/__init__.py", "deep/er.py"):
        (shared / name).write_text("raise RuntimeError('not to be imported')\n" * (name[0] == "d"))
    (tmp_path / "labmodule.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    both = dataclasses.replace(load("count"), code=("labshared", "labmodule"))
    before = describe(both)
    assert [each["path"] for each in before.sources] == [
        *(each["path"] for each in describe(load("count")).sources),
        "labshared/__init__.py",
        "labshared/deep/__init__.py",
        "labshared/deep/er.py",
        "labmodule.py",
    ]
    assert before.code != describe(load("count")).code
    (shared / "deep" / "er.py").write_text("y = 2\n")
    changed = describe(both).code
    assert changed != before.code
    (tmp_path / "labmodule.py").write_text("x = 2\n")
    assert describe(both).code not in (changed, before.code)
    for wrong in ("labshared.nothing", "no.such", "sys"):
        with pytest.raises(ModuleNotFoundError, match=f'in Python; got "{wrong}"'):
            describe(dataclasses.replace(both, code=(wrong,)))


@pytest.mark.parametrize("name", ["identities", "pose", "pose_frames", "pose_import", "tracking"])
def test_the_code_of_what_analyses_video_covers_behaviour(name):
    paths = {each["path"] for each in describe(load(name)).sources}
    assert {f"lanternfish/analyses/behaviour/{n}.py" for n in ("poses", "nwb", "encoder")} <= paths


@pytest.mark.parametrize("name", ["epi", "explore", "npe", "sweep"])
def test_the_code_of_studies_covers_what_they_share(name):
    paths = {each["path"] for each in describe(load(name)).sources}
    assert {"analyses/studies.py", "analyses/exploring.py", f"analyses/{name}.py"} <= paths


def test_the_list_of_analyses_imports_no_science():
    code = (
        "import sys; from lanternfish.service.analyses import catalogue; "
        "assert catalogue(refresh=True); assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_are_compared_with_the_schema_at_once():
    count = catalogue()["count"]
    assert check_settings(count, {"to": 5}) == []
    problems = check_settings(count, {"to": 0, "pause": "x", "upto": 1})
    assert [each.field for each in problems] == ["pause", "settings", "to"]
    assert all(each.expected.endswith(".") for each in problems)


def test_the_analysis_is_asked_in_a_process_of_its_own(tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    problems, bound = check_request("count", {"to": 9}, {"lines": tmp_path / "empty.txt"})
    assert [str(each) for each in problems] == [
        "inputs.lines: Expected a file with lines; it has none."
    ]
    assert bound is None
    problems, bound = check_request("count", {"to": 10}, {})
    assert problems == []
    assert bound == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("name", "head", "wrong"),
    [
        ("a.nwb", b"\x89HDF\r\n\x1a\n", ""),
        ("a.nwb", b"PK\x03\x04", "got a file of another kind (.npz)"),
        ("a.h5", b"", "an empty file"),
        ("a.csv", b"a,b\n1,2\n", ""),
        ("a.csv", b"a\x00b", "to be text; got something else"),
        ("a.csv", b"\x89PNG\r\n\x1a\n", "of another kind (.png)"),
        ("a.unknown", b"\x00\x01", ""),
    ],
)
def test_headers_that_contradict_a_name_are_told(tmp_path, name, head, wrong):
    (tmp_path / name).write_bytes(head)
    found = contradiction(tmp_path / name)
    assert wrong in found
    assert bool(found) == bool(wrong)


def test_the_same_run_without_a_platform_goes_on_where_it_was(tmp_path):
    count, told = load("count"), []
    demo = count.demo
    found = run_here(count, {"to": 4}, demo.inputs, tmp_path, seed=5, tell=told.append)
    assert set(found) == {"count.csv"}
    assert (tmp_path / "count.csv").read_text().endswith("4,3,15\n")
    assert [e["data"]["value"] for e in told if e["kind"] == "metric"] == [1, 2, 3, 4]
    assert run_here(count, {"to": 4}, demo.inputs, tmp_path, seed=5) == found  # from .checkpoint
    with pytest.raises(ValueError, match="give another folder"):
        run_here(count, {"to": 5}, demo.inputs, tmp_path, seed=5)
    with pytest.raises(RequestError, match="to: Input should be greater"):
        run_here(count, {"to": 0}, {}, tmp_path / "other")
    with pytest.raises(FileNotFoundError, match=r"needed.txt .* made none"):
        run_here(load("misbehave"), {"how": "no_output"}, {}, tmp_path / "none")


def test_kinds_are_those_declared_or_by_ending():
    outputs = [("figures/*.dat", "picture"), ("run/*", "run")]
    assert kind_of("figures/a.dat", outputs) == "picture"
    assert kind_of("run/deep/er.csv", outputs) == "run"
    assert kind_of("table.csv", outputs) == "table"
    assert kind_of("x.mp4", outputs) == "video"
    assert kind_of("x.bin", outputs) == "file"


def test_a_toy_conforms_with_its_demo():
    findings = list(conform(load("count")))
    assert [each.detail for each in findings if not each.right] == []
    assert {each.what for each in findings} >= {"runs its demo", "gives the same results again"}


@pytest.mark.parametrize("name", OURS)
def test_ours_conform(name):
    findings = list(conform(load(name), demo=False))
    assert [(each.what, each.detail) for each in findings if not each.right] == []


def test_conformance_finds_what_is_wrong(tmp_path):
    class Bare(BaseModel):
        n: int
        m: int = Field(5, le=3)

    bad = Analysis("count", "1", "", lambda job: None, Bare)
    wrong = {each.what: each.detail for each in conform(bad) if not each.right}
    assert "none for title" in wrong["is described"]
    assert "none for n, m" in wrong["explains each setting"]
    assert "a demo's value for n" in wrong["has settings that pass their own schema"]
    assert "has a demo" in wrong


def test_wrong_definitions_are_refused():
    for fields, reason in (
        ({"name": "Not a name"}, "small letters"),
        ({"inputs": (Input("a", "A"), Input("a", "B"))}, "different names"),
    ):
        given = {"name": "x", "version": "1", "title": "X", "run": print, "settings": BaseModel}
        with pytest.raises(ValueError, match=reason):
            Analysis(**{**given, **fields})
    with pytest.raises(ValueError, match="Expected a kind"):
        Output("a", "A", "painting")


def test_the_command_line_lists_shows_checks_and_runs(tmp_path):
    runner = CliRunner()
    listed = runner.invoke(app, ["analysis", "list"]).output
    assert "Neural posterior estimation" in listed
    assert "cannot be used: ImportError" in listed
    shown = runner.invoke(app, ["analysis", "show", "count"]).output
    assert "to = 3    Count to this number." in shown
    code = runner.invoke(app, ["analysis", "show", "count", "--code"]).output
    assert "def run(job: Job)" in code
    manifest = json.loads(runner.invoke(app, ["analysis", "show", "count", "--json"]).output)
    assert manifest["code"] == describe(load("count")).code
    good = runner.invoke(app, ["analysis", "check", "count", "--no-demo"])
    assert good.exit_code == 0
    assert "WRONG" not in good.output
    (tmp_path / "s.toml").write_text("to = 6\n")
    (tmp_path / "in.txt").write_text("a\nb\n")
    command = ["analysis", "run", "count", "--settings", str(tmp_path / "s.toml")]
    command += ["--input", f"lines={tmp_path / 'in.txt'}", "--out", str(tmp_path / "out")]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert Path(tmp_path / "out" / "count.csv").read_text().endswith("6,2,21\n")
    wrong = runner.invoke(app, ["analysis", "run", "count", "--input", "nonsense"])
    assert wrong.exit_code == 2
    assert "NAME=PATH" in wrong.output
    assert runner.invoke(app, ["analysis", "run", "nothing"]).exit_code == 2


def test_results_may_go_to_a_folder_that_is_named_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = []

    def draw(job):
        (job.output / "count.csv").write_text("1")
        (job.output / "drawn.png").write_bytes(b"png")
        job.picture(job.output / "drawn.png")
        job.picture("drawn.png")

    drawing = dataclasses.replace(load("count"), run=draw)
    made = run_here(drawing, {"to": 1}, {}, Path("out"), tell=told.append)
    assert set(made) == {"count.csv", "drawn.png"}
    assert [each["data"]["path"] for each in told] == ["drawn.png"] * 2


def test_mistakes_of_a_study_are_told_by_setting(tmp_path):
    npe, epi = load("npe"), load("epi")
    from lanternfish.service.analyses.requests import check

    problems, _ = check(npe, {"model": "linear_2d", "values": {"growth": 1.0}}, {})
    assert any("growth" in str(each) for each in problems)
    problems, _ = check(npe, {"model": "of my file"}, {})
    assert [each.field for each in problems] == ["inputs.model"]
    (tmp_path / "m.py").write_text("model = 3\n")
    problems, _ = check(npe, {"model": "of my file"}, {"model": tmp_path / "m.py"})
    assert "inputs.model" in {each.field for each in problems}
    problems, _ = check(epi, {"model": "linear_2d", "moments": {"growth_rate": [0.0, -1.0]}}, {})
    assert problems
    problems, bound = check(epi, epi.demo.settings, {})
    assert problems == []
    assert bound > 0
