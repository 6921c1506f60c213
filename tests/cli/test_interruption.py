"""Ctrl-C in real processes: one sentence, what is kept, and the command that goes on."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys

from toy_study import lay_out

PROGRAM = (sys.executable, "-m", "lanternfish.cli")


def start(desk, *words):
    command = [*PROGRAM, *map(str, words)]
    return subprocess.Popen(
        command, cwd=desk, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def interrupt_at(process, words):
    """Send Ctrl-C when a line with these words comes; all that was said."""
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            process.send_signal(signal.SIGINT)
            break
    return said + process.communicate(timeout=60)[0]


def test_interrupted_and_resumed_is_the_same_run(tmp_path, finished):
    desk = lay_out(tmp_path)
    process = start(desk, "run", "study.toml", "--out", "run")
    said = interrupt_at(process, "Training: 0%")
    assert process.returncode == 130, said
    assert "Interrupted." in said
    assert "To go on: lanternfish resume run" in said
    assert "Traceback" not in said
    assert "400 simulations and the training so far are kept in run" in said
    (desk / "my_model.py").unlink()  # the folder has all that it takes
    process = start(desk, "resume", "run")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert "Simulating: 100%, 400 of 400" in said
    whole = (finished[0] / "samples.csv").read_bytes()
    assert (desk / "run/samples.csv").read_bytes() == whole


def test_interrupted_before_anything_began(tmp_path):
    desk = lay_out(tmp_path)
    process = start(desk, "run", "study.toml", "--out", "run")
    said = interrupt_at(process, "Reading study.toml")
    assert process.returncode == 130
    assert "Nothing was begun yet" in said
    assert "Traceback" not in said
    assert not (desk / "run").exists()


def test_a_terminal_sees_bars_and_panels(tmp_path):
    desk = lay_out(tmp_path, "x = 1\n")
    said = in_terminal(desk, "run", "study.toml")
    assert "\x1b[" in said  # colours
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[│╭╮╰╯─\s]", "", said)
    assert "Error" in plain
    assert 'named"model"in' in plain


def in_terminal(desk, *words):
    """What a command writes to a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    settings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    settings.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*PROGRAM, *words], cwd=desk, env=settings, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # the terminal closes when the process ends
        while part := os.read(ours, 65536):
            said += part
    os.close(ours)
    process.wait(30)
    return said.decode(errors="replace")
