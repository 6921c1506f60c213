"""The command line against real servers: login, upload, submit, status, logs, cancel, download."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import psutil
import pytest
from server_kit import PASSWORD, SOURCE, TOYS, command_line_server, serving, working

from lanternfish.service import store as st
from lanternfish.service.server import Configuration, read_configuration


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    with serving(folder) as server, working(folder):
        user = server.user("mara")
        st.create_group(server.store, "lab", owner=user)
        server.home = tmp_path_factory.mktemp("home")
        done = run(server, "login", server.url, "--name", "mara", stdin=PASSWORD + "\n")
        assert done.returncode == 0, done.stderr
        yield server


def run(server, *arguments, stdin=None):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([SOURCE, TOYS]),
        "XDG_CONFIG_HOME": str(server.home),
        "LANTERNFISH_FOLDER": str(server.home / "none"),
    }
    return subprocess.run(
        [sys.executable, "-m", "lanternfish.cli", *map(str, arguments)],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=180,
        cwd=server.home,
        check=False,
    )


def test_the_journey(lab):
    lines = lab.home / "lines.txt"
    lines.write_text("a\nb\n")
    done = run(lab, "submit", "count", "-i", lines, "--set", "to=2", "--title", "Mine", "--follow")
    assert done.returncode == 0, done.stderr
    job = done.stdout.split()[0]
    assert "Going on from 0, 2 lines, seed 0." in done.stdout
    assert f"{job}: succeeded." in done.stderr

    listed = run(lab, "status")
    assert job in listed.stdout
    assert "lines.txt" in listed.stdout
    seen = json.loads(run(lab, "status", job, "--json").stdout)
    assert seen["state"] == "succeeded"
    assert seen["settings"] == {"to": 2, "pause": 0.0}

    assert "Done." in run(lab, "logs", job).stdout
    done = run(lab, "download", job)
    assert done.returncode == 0, done.stderr
    assert (lab.home / job / "count.csv").read_text() == "numbers,lines,sum\n2,2,3\n"
    certificate = json.loads((lab.home / job / "certificate.json").read_text())
    assert certificate


def test_one_job_for_each_file_and_settings_of_a_file(lab):
    for name in ("one.txt", "two.txt"):
        (lab.home / name).write_text(f"{name}\n")
    told = {"format": "lanternfish settings 1", "analysis": "count", "seed": 7}
    (lab.home / "s.json").write_text(json.dumps(told | {"settings": {"to": 1}}))
    arguments = ("--settings", "s.json", "-i", "one.txt", "-i", "lines=two.txt", "--follow")
    done = run(lab, "submit", "count", *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": succeeded.") == 2
    assert "seed 7" in done.stdout


def test_cancelling(lab):
    done = run(lab, "submit", "count", "--set", "to=1000", "--set", "pause=0.1")
    job = done.stdout.split()[0]
    assert "cancel" in run(lab, "cancel", job).stderr
    followed = run(lab, "logs", "-f", job)
    assert followed.returncode == 1
    assert f"{job}: cancelled." in followed.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("submit", "cuont"), "Expected the name of an analysis"),
        (("submit", "count", "--set", "to=0"), "/to: Expected a whole number, 1 to 10,000; got 0."),
        (("submit", "count", "--set", "too=1"), "Expected NAME=VALUE with a name of to, pause"),
        (("submit", "count", "-i", "gone.txt"), "Expected a file; there is none at gone.txt."),
        (("status", "none"), "There is no such job."),
        (("logs", "-f", "none"), "There is no such job."),
        (("upload", "gone.bin"), "Expected a file; there is none"),
        (("status", "--server", "http://127.0.0.1:9"), "Expected to be signed in at"),
    ],
)
def test_mistakes_are_told_in_a_sentence(lab, arguments, sentence):
    done = run(lab, *arguments)
    assert done.returncode in (1, 2)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_password_signs_nobody_in(lab):
    done = run(lab, "login", lab.url, "--name", "mara", stdin="wrong password\n")
    assert done.returncode == 2
    assert "The name or the password is wrong." in done.stderr


def test_secrets_are_kept_for_their_owner_only(lab):
    kept = lab.home / "lanternfish" / "servers.json"
    assert kept.stat().st_mode & 0o077 == 0


def test_a_personal_server_needs_no_login_and_gives_another_link(tmp_path):
    class Here:
        home = tmp_path

    with command_line_server(tmp_path / "none") as (link, _):
        until = time.monotonic() + 60
        while not (tmp_path / "none" / "token").exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert run(Here, "status").returncode == 0
        again = run(Here, "serve", "--no-browser", "--folder", tmp_path / "none")
        assert again.returncode == 0
        assert "runs already" in again.stderr
        second = again.stdout.split()[-1]
        assert second != link
        assert httpx.get(second).headers["Location"] == "/analyses"


def test_a_worker_outlives_a_server_that_is_killed(tmp_path):
    with command_line_server(tmp_path) as (link, child):
        base = link.split("/start")[0]
        token = (tmp_path / "token").read_text().strip()
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client:
            client.timeout = 120
            wanted = {"analysis": "count", "settings": {"to": 40, "pause": 0.1}}
            job = client.post("/api/v1/jobs", json=wanted).json()[0]["id"]
            while client.get(f"/api/v1/jobs/{job}").json()["state"] == "queued":
                time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
        store = st.open(None, tmp_path)
        try:
            until = time.monotonic() + 60
            while st.find_job(store, job).state == "running" and time.monotonic() < until:
                time.sleep(0.1)
            assert st.find_job(store, job).state == "succeeded"
            assert st.find_job(store, job).attempts == 1
            for worker in st.list_workers(store):
                os.kill(worker.pid, signal.SIGTERM)
        finally:
            store.close()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
def test_a_server_that_is_stopped_takes_its_workers_along(tmp_path, how):
    with command_line_server(tmp_path, "--workers", "1") as (_, child):
        store = st.open(None, tmp_path)
        try:
            until = time.monotonic() + 60
            while not (workers := st.list_workers(store)) and time.monotonic() < until:
                time.sleep(0.05)
            child.send_signal(how)
            assert child.wait(30) == (0 if how == signal.SIGTERM else 130)
            while psutil.pid_exists(workers[0].pid) and time.monotonic() < until:
                time.sleep(0.05)
            assert not psutil.pid_exists(workers[0].pid)
        finally:
            store.close()


def test_a_shared_server_without_a_sandbox_says_so_at_once(tmp_path):
    (tmp_path / "lab.toml").write_text('folder = "kept"\nworkers = 1\n')
    command = [sys.executable, "-m", "lanternfish.cli", "serve", "--no-browser", "--config"]
    done = subprocess.run(
        [*command, "lab.toml"], cwd=tmp_path, env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Expected bubblewrap (bwrap)" in done.stderr
    assert "--workers 0" in done.stderr
    assert not (tmp_path / "kept").exists()


def test_a_configuration_is_read_and_its_mistakes_are_named(tmp_path):
    path = tmp_path / "lab.toml"
    path.write_text('address = "https://lab.example.org"\nworkers = 3\nlocal_data = ["data"]\n')
    made = read_configuration(path)
    assert made.secure
    assert made.cookie.startswith("__Host-")
    assert made.local_data == (tmp_path / "data",)
    assert not made.personal
    path.write_text("worker = 3\n")
    with pytest.raises(ValueError, match=r"Expected entries of .*; got worker"):
        read_configuration(path)
    path.write_text('workers = "many"\n')
    with pytest.raises(ValueError, match="Expected workers as int; got 'many'"):
        read_configuration(path)


def test_the_first_administrator_comes_from_the_terminal(tmp_path):
    class Here:
        home = tmp_path

    (tmp_path / "lab.toml").write_text('folder = "kept"\n')
    done = run(Here, "user", "add", "olga", "--admin", "--group", "Crab", stdin="short\n")
    assert "10 characters" in done.stderr
    done = run(Here, "user", "add", "olga", "--admin", "--group", "Crab", stdin=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    with serving(tmp_path / "kept") as server, server.browser("olga") as browser:
        assert "Crab" in browser.get("/admin").text


def test_the_server_imports_no_science():
    code = (
        "import sys, lanternfish.service.server.serve; "
        "print([m for m in ('jax', 'numpy', 'scipy', 'matplotlib', 'plotly', 'pandas') "
        "if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"


def test_defaults_are_a_laptops():
    made = Configuration(folder="x")
    assert made.personal
    assert made.host == "127.0.0.1"
