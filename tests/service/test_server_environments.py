"""Administration of environments: what is built, its size, and removing it unless it is used."""

import os
import subprocess

import pytest
from server_kit import leave_environment, serving

from lanternfish.service.analyses import built

USED, IDLE = "a" * 32, "b" * 32
SIZE = 5_000  # bytes of packages


@pytest.fixture
def server(tmp_path):
    """A platform with two environments, an administrator and a user."""
    leave_environment(tmp_path, USED, SIZE, "calcium")
    leave_environment(tmp_path, IDLE, SIZE, "pose", "pose_frames")
    (tmp_path / built.FOLDER / ("c" * 32)).mkdir()  # a build that has not ended
    with serving(tmp_path) as running:
        running.user("admin", admin=True)
        running.user("somebody")
        yield running


@pytest.fixture
def place(server):
    """The folder of the environment in which a job runs, as the worker starts it."""
    found = server.configuration.folder / built.FOLDER / USED
    command = [found / "bin" / "python", "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as job:
        yield found
        job.communicate(b"\n")


def test_environments_are_listed_and_removed_unless_a_job_runs_there(server, place):
    path = "/api/v1/admin/environments"
    with server.client("admin") as admin:
        one, other = admin.get(path).json()
        assert (one["key"], one["analyses"]) == (USED, ["calcium"])
        assert (other["key"], other["analyses"]) == (IDLE, ["pose", "pose_frames"])
        link = os.lstat(place / "bin" / "python").st_size
        assert one["bytes"] == other["bytes"] == SIZE + link
        assert one["built"][:2] == "20"
        refused = admin.delete(f"{path}/{USED}")
        assert refused.status_code == 409
        sentence = refused.json()["detail"]
        assert sentence.startswith(f"Expected no job in environment {USED}; process ")
        assert sentence.endswith("runs in it: wait for the job, or cancel it.")
        assert place.is_dir()
        assert admin.delete(f"{path}/{IDLE}").status_code == 204
        assert not place.with_name(IDLE).exists()
        assert [each["key"] for each in admin.get(path).json()] == [USED]
        gone = admin.delete(f"{path}/{IDLE}")
        assert gone.status_code == 409
        assert gone.json()["detail"].startswith("Expected an environment that is built")
        (deed,) = (
            d for d in admin.get("/api/v1/admin/audit").json() if "environment" in d["action"]
        )
        assert (deed["user"], deed["object"]) == ("admin", IDLE)
        assert deed["detail"] == {"bytes": SIZE + link}
    with server.client("somebody") as somebody:
        assert somebody.get(path).status_code == 403
        assert somebody.delete(f"{path}/{USED}").status_code == 403


def test_the_page_of_administration_says_why_one_is_not_removed(server, place):
    with server.browser("admin") as admin:
        page = admin.get("/admin").text
        assert "pose, pose_frames" in page
        assert "5.0 kB" in page
        csrf = page.split('name="csrf" content="')[1].split('"')[0]
        told = {"csrf": csrf}
        refused = admin.post(f"/admin/environments/{USED}/remove", data=told)
        assert f"Expected no job in environment {USED}" in refused.text
        assert place.is_dir()
        removed = admin.post(f"/admin/environments/{IDLE}/remove", data=told)
        assert (removed.status_code, removed.headers["Location"]) == (303, "/admin")
        assert f"/admin/environments/{IDLE}/remove" not in admin.get("/admin").text
