"""nginx in front, with the configuration that the documentation gives."""

import base64
import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from server_kit import PASSWORD, free_port, serving

from lanternfish.service import store as st

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
NAME = "lab.example.org"

pytestmark = pytest.mark.skipif(
    not os.path.exists(NGINX), reason="nginx is not installed; ./dev setup installs it"
)


def certificate(folder):
    """A self-signed certificate, as a test needs one."""
    key, pem = folder / "lab.key", folder / "lab.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-keyout", str(key), "-out", str(pem), "-subj", f"/CN={NAME}"),
            *("-addext", f"subjectAltName=DNS:{NAME}"),
        ],
        check=True,
        capture_output=True,
    )
    return key, pem


@contextlib.contextmanager
def proxied(folder, upstream, port):
    """nginx with our file; only ports and paths are put in."""
    key, pem = certificate(folder)
    text = CONFIGURATION.read_text()
    for old, new in (
        ("127.0.0.1:8765", f"127.0.0.1:{upstream}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/lab.example.org.pem", str(pem)),
        ("/etc/ssl/lab.example.org.key", str(key)),
    ):
        assert old in text
        text = text.replace(old, new)
    version = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    if tuple(map(int, re.findall(r"(\d+)\.(\d+)\.", version)[0])) < (1, 25):
        text = text.replace("    http2 on;\n", "")  # the directive of newer releases
    main = folder / "nginx.conf"
    main.write_text(
        f"pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; daemon off;\n"
        "events {}\nhttp { access_log off; client_body_temp_path " + str(folder / "body")
        + "; proxy_temp_path " + str(folder / "proxy") + "; fastcgi_temp_path "
        + str(folder / "f") + "; uwsgi_temp_path " + str(folder / "u") + "; scgi_temp_path "
        + str(folder / "s") + ";\n" + text + "\n}\n"
    )  # fmt: skip
    user = ["-g", "user root;"] if os.geteuid() == 0 else []
    child = subprocess.Popen([NGINX, "-c", str(main), "-p", str(folder), *user])
    try:
        yield pem
    finally:
        child.terminate()
        child.wait(20)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A server behind nginx: (server, client factory)."""
    folder, front, back = tmp_path_factory.mktemp("proxy"), free_port(), free_port()
    options = {"address": f"https://{NAME}:{front}", "proxies": ("127.0.0.1",), "sign_in_tries": 3}
    with serving(folder / "lab", port=back, **options) as server:
        user = server.user("mara")
        server.group = st.create_group(server.store, "lab", owner=user).id
        server.user_id = user
        with proxied(folder, back, front) as pem:
            context = ssl.create_default_context(cafile=str(pem))
            host = {"Host": f"{NAME}:{front}"}
            context.check_hostname = False  # the name stands in the header: no DNS in tests

            def client(**headers):
                return httpx.Client(
                    base_url=f"https://127.0.0.1:{front}",
                    headers=host | headers,
                    verify=context,
                    timeout=30,
                )

            until = time.monotonic() + 20
            with client() as first:
                while time.monotonic() < until:
                    with contextlib.suppress(httpx.ConnectError):
                        first.get("/health")
                        break
                    time.sleep(0.05)
            yield server, client


def bearer(server):
    return {"Authorization": f"Bearer {server.tokens['mara']}"}


def test_sign_in_behind_a_proxy_makes_a_secure_cookie(lab):
    _, client = lab
    with client() as browser:
        answer = browser.post("/sign-in", data={"name": "mara", "password": PASSWORD})
        assert answer.status_code == 303
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-lanternfish=")
        assert "Secure" in cookie
        assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_uploads_pass_through(lab):
    server, client = lab
    data = os.urandom(20_000_000)
    with client(**bearer(server)) as mara:
        name = base64.b64encode(b"a.bin").decode()
        told = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data))}
        made = mara.post("/api/v1/uploads", headers=told | {"Upload-Metadata": f"filename {name}"})
        place = made.headers["Location"]
        told = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
        for offset in range(0, len(data), 7_000_000):
            part = data[offset : offset + 7_000_000]
            answer = mara.patch(place, content=part, headers=told | {"Upload-Offset": str(offset)})
            assert answer.status_code == 204
        dataset = mara.get(place).json()["dataset"]
        assert mara.get(f"/api/v1/datasets/{dataset}/content").content == data


def test_streams_are_not_held_back(lab):
    server, client = lab
    job = st.submit(server.store, st.Submission(server.group, server.user_id, "x", "1", {})).id
    token = st.claim(server.store, "w").token
    delays = []

    def work():
        for _ in range(5):
            time.sleep(0.2)
            st.append_log(server.store, job, token, f"{time.time()}\n".encode())
        st.finish(server.store, job, token, st.Outcome("succeeded"))

    worker = threading.Thread(target=work)
    with client(**bearer(server)) as mara, mara.stream("GET", f"/api/v1/jobs/{job}/stream") as got:
        worker.start()
        for line in got.iter_lines():
            if line.startswith("data: ") and "text" in line:
                text = json.loads(line[6:]).get("text", "")
                delays += [time.time() - float(t) for t in text.split()]
            if line == "event: end":
                break
    worker.join()
    assert len(delays) == 5
    assert sorted(delays)[2] < 1.0


def test_the_limit_on_guesses_counts_the_user_not_the_proxy(lab):
    server, client = lab
    with client() as guess:
        for _ in range(3):
            guess.post("/sign-in", data={"name": "nobody", "password": "a wrong password"})
        refused = guess.post("/sign-in", data={"name": "nobody", "password": "a wrong password"})
    assert refused.status_code == 429
    with server.store.read() as tx:
        keys = set(tx.execute(st.tables.failures.select()).scalars().all())
        rows = tx.execute(st.tables.failures.select()).all()
    assert keys
    assert any("from 127.0.0.1" in row.key for row in rows)
