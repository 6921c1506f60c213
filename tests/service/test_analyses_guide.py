"""The guide to writing an analysis: what it says to type is typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

GUIDE = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text(encoding="utf-8")


def test_the_analysis_of_the_guide_is_found_and_conforms(tmp_path):
    package = tmp_path / "isi"
    package.mkdir()
    (code,) = re.findall(r"```python\n(\"\"\"Histogram.*?)```", GUIDE, re.DOTALL)
    (package / "__init__.py").write_text(code)
    (package / "demo.txt").write_text("0\n10\n25\n26\n300\n")
    (project,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    points = tomllib.loads(project)["project"]["entry-points"]["lanternfish.analyses"]
    metadata = tmp_path / "isi-1.0.dist-info"  # what pip makes of the project file
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: isi\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (metadata / "entry_points.txt").write_text("[lanternfish.analyses]\n" + "\n".join(lines))
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"}

    def lanternfish(*arguments):
        command = [sys.executable, "-m", "lanternfish.cli", "analysis", *arguments]
        return subprocess.run(
            command, env=variables, capture_output=True, text=True, check=False, cwd=tmp_path
        )

    checked = lanternfish("check", "isi")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert lanternfish("run", "isi", "--demo", "--out", "out").returncode == 0
    rows = (tmp_path / "out" / "histogram.csv").read_text().split()
    assert rows == ["from_ms,count", "0.0,3", "20.0,0", "40.0,0", "60.0,0", "80.0,0"]
    (tmp_path / "bad.txt").write_text("one\n")
    wrong = lanternfish("run", "isi", "--input", "spikes=bad.txt", "--out", "other")
    assert wrong.returncode == 2
    assert "inputs.spikes: Expected one time (ms) on each line." in wrong.stderr
