"""The whole journey in a real browser (Debian's Chromium): data in, job watched, results out."""

import contextlib
import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from server_kit import PASSWORD, command_line_server, leave_environment, serving, working

from lanternfish.service import store as st

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 390, "height": 800}
PATIENCE = 90_000  # ms: machines of two cores are slow at times

pytestmark = pytest.mark.skipif(
    not os.path.exists(CHROMIUM), reason="Chromium is not installed; ./dev setup installs it"
)


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def personal(tmp_path_factory):
    """`lanternfish serve`, as a user starts it; and the token of its owner."""
    folder = tmp_path_factory.mktemp("journey") / "data"
    with command_line_server(folder) as (link, _):
        yield link, folder


@pytest.fixture
def page(chromium):
    """A page on which every error of a script, and every breach of the policy, fails the test."""
    context = chromium.new_context(viewport=WIDE, accept_downloads=True)
    made = context.new_page()
    made.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))

    def note(told):
        meant = "net::ERR_FAILED" in told.text or "status of 422" in told.text
        if told.type == "error" and not meant:  # a test cut the line; a form was refused
            wrong.append(told.text)

    made.on("console", note)
    yield made
    context.close()
    assert not wrong, wrong


@pytest.fixture(scope="module")
def signed_in(chromium, personal):
    """The cookie that the link gives; it works once."""
    link, _ = personal
    context = chromium.new_context()
    made = context.new_page()
    made.goto(link)
    assert made.url.endswith("/analyses")
    state = context.storage_state()
    context.close()
    return link.split("/start")[0], state


@pytest.fixture
def mine(page, signed_in):
    """The personal server's page: (page, address)."""
    base, state = signed_in
    page.context.add_cookies(state["cookies"])
    return page, base


def settled(page):
    page.wait_for_function("document.readyState === 'complete'")


def fits(page):
    """Nothing is wider than a narrow screen."""
    page.set_viewport_size(NARROW)
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.set_viewport_size(WIDE)
    assert wide <= NARROW["width"], f"{page.url} is {wide} wide"


def accessible(page):
    """What screen readers need: names of controls, one h1, landmarks, no double ids."""
    page.wait_for_load_state()  # a click waits for the answer, not for the whole page
    wrong = page.evaluate(
        """() => {
        const wrong = [];
        const named = (e) => e.labels?.length || e.getAttribute("aria-label") || e.title ||
            e.getAttribute("aria-labelledby");
        for (const e of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
            if (!e.hidden && !named(e)) wrong.push("no label: " + e.outerHTML.slice(0, 90));
        for (const e of document.querySelectorAll("button, a"))
            if (!e.textContent.trim() && !named(e) && !e.querySelector("img[alt]:not([alt=''])"))
                wrong.push("no name: " + e.outerHTML);
        for (const e of document.querySelectorAll("img"))
            if (e.getAttribute("alt") === null) wrong.push("no alt: " + e.src);
        if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
        for (const tag of ["main", "header", "nav"])
            if (!document.querySelector(tag)) wrong.push("no " + tag);
        const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
        for (const id of new Set(ids))
            if (ids.filter((other) => other === id).length > 1) wrong.push("id twice: " + id);
        for (const e of document.querySelectorAll("[aria-describedby]"))
            for (const id of e.getAttribute("aria-describedby").split(" "))
                if (!document.getElementById(id) && !id.endsWith("-hint")) wrong.push("no " + id);
        if (document.documentElement.lang !== "en") wrong.push("no language");
        return wrong;
    }"""
    )
    assert not wrong, (page.url, wrong)


def contrasts(page):
    """Texts stand out from what is behind them: 4.5 to 1 (WCAG 2.2 AA)."""
    low = page.evaluate(
        """() => {
        const parse = (c) => (c.match(/[\\d.]+/g) ?? []).map(Number);
        const light = ([r, g, b]) => {
            const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
            return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
        };
        const behind = (e) => {
            for (; e; e = e.parentElement) {
                const c = parse(getComputedStyle(e).backgroundColor);
                if (c.length === 3 || c[3] === 1) return c;
            }
            return [255, 255, 255];
        };
        const low = [];
        for (const e of document.querySelectorAll("main *, footer *")) {
            if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
            if (!e.offsetParent || e.closest(".visually-hidden, svg")) continue;
            const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            const text = e.textContent.trim().slice(0, 30);
            if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${e.tagName} ${e.className} ${text}`);
        }
        return low;
    }"""
    )
    assert not low, (page.url, low[:10])


def wait_for_analyses(page, base):
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        page.goto(f"{base}/analyses")
        if page.locator(".analysis").count():
            return
        time.sleep(0.5)
    raise AssertionError("no analyses were found")


def ended(page, state="succeeded"):
    page.wait_for_selector(f"h1 + .row .state.{state}")


def test_the_whole_journey(mine, tmp_path):
    page, base = mine
    wait_for_analyses(page, base)
    accessible(page)
    page.click(".analysis h2 a:text-is('Count')")
    accessible(page)
    page.click("text=The exact code that will run")
    assert "def run(job: Job)" in page.inner_text("pre")
    page.go_back()
    page.click("text=Use it on your data")
    accessible(page)
    fits(page)

    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("a\nb\nc\n")
    second.write_text("a\n" * 50_000)
    page.set_input_files("#files", [first, second])
    page.wait_for_selector(".picker input:checked >> nth=1")
    page.fill("#setting-to", "many")
    page.wait_for_selector("text=Expected a whole number; got 'many'.")
    page.fill("#setting-to", "12000")
    page.wait_for_selector("text=Expected a whole number, 1 to 10,000; got 12000.")
    page.fill("#setting-to", "2")
    page.fill("#title", "Two counts")
    page.click("text=Check and start")
    page.wait_for_url("**/batches/*")
    page.wait_for_selector(".state.succeeded >> text=2 succeeded")
    accessible(page)
    fits(page)

    with page.expect_download() as got:
        page.click("text=Download all")
    assert got.value.suggested_filename.endswith(".zip")
    page.click("tbody a.name >> nth=0")
    ended(page)
    page.wait_for_selector(".log >> text=Ended: succeeded.")
    page.wait_for_selector("figure >> text=count")
    page.wait_for_selector(".chart .main-svg")
    accessible(page)
    fits(page)
    with page.expect_download() as got:
        page.click("text=count.csv >> xpath=.. >> text=Download")
    text = Path(got.value.path()).read_text()
    assert text.startswith("numbers,lines,sum\n2,")

    page.click("text=Duplicate with changes")
    assert page.input_value("#setting-to") == "2"
    page.fill("#setting-to", "3")
    page.click("text=Check and start")
    page.wait_for_url("**/jobs/*")
    ended(page)
    page.click("a:text-is('compare')")
    row = page.inner_text("tr.differs >> nth=0")
    assert re.search(r"to.*2.*3", row, re.DOTALL)
    accessible(page)
    page.go_back()
    page.click("text=Certificate")
    assert "SHA-256" in page.inner_text("article")
    accessible(page)
    fits(page)


def test_a_job_is_watched_and_cancelled(mine):
    page, base = mine
    wait_for_analyses(page, base)
    page.goto(f"{base}/analyses/count/new")
    page.fill("#setting-to", "1000")
    page.fill("#setting-pause", "0.2")
    page.click("text=Check and start")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector(".log >> text=Going on from 0")
    page.wait_for_selector("[data-live=progress] >> text=at ")
    before = page.inner_text("[data-live=progress]")
    page.wait_for_function(
        "t => document.querySelector('[data-live=progress]').textContent !== t", arg=before
    )
    page.click("button:text-is('Cancel')")
    ended(page, "cancelled")
    page.click("button:text-is('Run again')")
    page.wait_for_selector("text=an earlier job")
    page.click("button:text-is('Cancel')")
    ended(page, "cancelled")


def test_uploads_survive_a_reload(mine, tmp_path):
    page, base = mine
    page.goto(f"{base}/data")
    big = tmp_path / "big.bin"
    big.write_bytes(os.urandom(40_000_000))

    def cut(route):
        later = route.request.headers.get("upload-offset", "0") != "0"
        route.abort() if later else route.continue_()

    page.route("**/api/v1/uploads/*", cut)
    page.set_input_files("#files", big)
    page.wait_for_selector("text=connection lost; trying again")
    page.evaluate("window.onbeforeunload = null")
    page.unroute("**/api/v1/uploads/*")
    page.goto(f"{base}/data")
    page.wait_for_selector("text=Unfinished uploads")
    sent: list[int] = []
    page.on(
        "request",
        lambda r: sent.append(int(r.headers["upload-offset"])) if r.method == "PATCH" else None,
    )
    page.set_input_files("#files", big)
    page.wait_for_selector(".uploads li.done")
    assert min(sent) >= 16 * 1024 * 1024  # it went on from what was confirmed
    page.wait_for_selector("[data-part=datasets] >> text=big.bin")


def test_settings_go_into_a_file_and_back(mine, tmp_path):
    page, base = mine
    wait_for_analyses(page, base)
    page.goto(f"{base}/analyses/count/new")
    page.fill("#setting-to", "77")
    page.fill("#setting-pause", "0.25")
    page.fill("#seed", "5")
    with page.expect_download() as got:
        page.click("text=Save as file")
    told = json.loads(Path(got.value.path()).read_text())
    assert told["settings"] == {"to": 77, "pause": 0.25}
    kept = tmp_path / "settings.json"
    kept.write_text(json.dumps(told))
    page.goto(f"{base}/analyses/count/new")
    assert page.input_value("#setting-to") == "3"
    page.set_input_files("#settings-file", kept)
    page.wait_for_selector("text=The settings of the file are in the form.")
    assert page.input_value("#setting-to") == "77"
    assert page.input_value("#setting-pause") == "0.25"
    assert page.input_value("#seed") == "5"


def test_the_keyboard_is_enough(mine):
    """From the first page to a running demo with Tab and Enter only."""
    page, base = mine
    wait_for_analyses(page, base)

    def tab_to(text, most=60):
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").strip() == text:
                return
        raise AssertionError(f"{text} was not reached")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab_to("Count")
    page.keyboard.press("Enter")
    page.wait_for_url("**/analyses/count")
    tab_to("Try the demo")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    ended(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(mine, scheme):
    page, base = mine
    page.emulate_media(color_scheme=scheme)
    wait_for_analyses(page, base)
    for path in ("/analyses", "/analyses/count/new", "/data", "/jobs", "/account", "/admin"):
        page.goto(base + path)
        contrasts(page)
        accessible(page)
        fits(page)


def test_an_environment_is_removed_once_that_is_confirmed(mine, personal):
    page, base = mine
    key = "e" * 32
    leave_environment(personal[1], key, 2_000, "pose")
    page.goto(f"{base}/admin")
    row = page.locator("tr", has=page.locator("form"), has_text=key)  # the trail names it, too
    assert "2.0 kB" in row.inner_text()
    asked = []
    for answer in ("dismiss", "accept"):
        assert row.count() == 1
        page.once(
            "dialog", lambda d, answer=answer: (asked.append(d.message), getattr(d, answer)())
        )
        row.get_by_role("button", name="Remove").click()
    row.wait_for(state="detached")
    assert asked == ["Remove this environment (2.0 kB)?"] * 2
    assert not (personal[1] / "environments" / key).exists()


def test_the_explorer_shows_samples_walks_and_directions(mine, personal):
    """Files as a study leaves them; `test_web_pictures.py` walks through those of a real one."""
    page, base = mine
    folder = personal[1]
    with contextlib.closing(st.open(None, folder)) as store:
        job = _finished_with_samples(store, folder)
    page.goto(f"{base}/jobs/{job}")
    page.click("text=Explore the posterior")
    page.wait_for_selector("text=50 samples of 3 parameters.")
    accessible(page)
    page.wait_for_selector("[data-pairs] .main-svg")
    assert "1 of 50" in page.inner_text("[data-values]")
    page.focus("[data-point]")
    page.keyboard.press("ArrowRight")
    assert "2 of 50" in page.inner_text("[data-values]")
    assert "0.5" in page.inner_text("[data-values]")
    page.wait_for_selector("[data-trace] .main-svg")
    assert "12 Hz" in page.inner_text("[data-does]")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("text=The job has not simulated this sample.")

    page.select_option("[data-walks]", label="Direction 1 (stiffest)")
    page.wait_for_selector("text=Made of +1 g_Na.")
    page.focus("[data-place]")
    page.keyboard.press("End")
    assert "2 lengths from the mode" in page.inner_text("[data-values]")
    page.select_option("[data-quantity]", label="rate (Hz)")
    page.wait_for_selector("[data-way] .main-svg")
    page.select_option("[data-walks]", label="From sample 1 to sample 2")
    assert "0 prior standard deviations" in page.inner_text("[data-values]")
    accessible(page)
    page.uncheck("#column-2")
    page.wait_for_function(
        "document.querySelectorAll('[data-pairs] .xaxislayer-above').length <= 3"
    )
    fits(page)


def _finished_with_samples(store, folder):
    owner = st.list_users(store)[0]
    group = st.groups_of(store, owner.id)[0].id
    sub = st.Submission(group, owner.id, "samples of a test", "1", {}, title="Posterior")
    job = st.submit(store, sub).id
    token = st.claim(store, "tests", analyses=("samples of a test",)).token
    lines = ["g_Na,g_K,tau"] + [f"{i / 2},{i % 7},{-i}" for i in range(50)]
    results = []
    for name, text in (
        ("samples.csv", "\n".join(lines)),
        ("explore.json", json.dumps(_explored())),
    ):
        path = folder / name
        path.write_text(text)
        sha256, size = store.blobs.put(path)
        results.append(st.Result(name, size, sha256, "table"))
    st.finish(store, job, token, st.Outcome("succeeded", results=tuple(results)))
    return job


def _explored():
    def point(theta, rate):
        more = {"x": [rate, None], "sd": [1.0, None], "valid": 0.5}
        return {"theta": theta, "trace": [[1, rate, 3]], **more}

    points = [point([i / 2, i, -i], 10 + 2 * i) for i in range(3)]
    walks = [
        ("path", "From sample 1 to sample 2", "It is short."),
        ("direction", "Direction 1 (stiffest)", "Made of +1 g_Na."),
    ]
    return {
        "format": 1,
        "time": [0, 1, 2],
        "time_unit": "ms",
        "unit": "mV",
        "channels": ["V"],
        "parameters": [["g_Na", "mS"], ["g_K", "mS"], ["tau", "ms"]],
        "statistics": [["rate", "Hz"], ["cv", ""]],
        "samples": {"0": points[0], "1": points[1]},
        "walks": [
            {
                "kind": kind,
                "title": title,
                "sentence": sentence,
                "at": at,
                "points": points,
                "log_density": [0.0, 1.0, 0.5],
            }
            for (kind, title, sentence), at in zip(walks, ([0, 1, 2], [-2, 0, 2]), strict=True)
        ],
        "notes": [],
    }


def test_a_laboratory_from_invitation_to_result(chromium, page, tmp_path):
    with serving(tmp_path) as server, working(tmp_path):
        owner = server.user("Olga")
        st.create_group(server.store, "Crab lab", owner=owner)
        page.goto(server.url)
        page.fill("#name", "Olga")
        page.fill("#password", PASSWORD)
        page.click("main button")
        page.wait_for_url("**/analyses")
        page.click("summary:has-text('Olga')")
        page.click("text=Group Crab lab")
        accessible(page)
        page.click("text=Make an invitation")
        address = page.inner_text("#secret")
        assert address.startswith(server.url + "/join/")

        context = chromium.new_context()
        guest = context.new_page()
        guest.set_default_timeout(PATIENCE)
        guest.goto(address)
        guest.fill("#name", "Gina")
        guest.fill("#password", "another long password")
        guest.click("text=Make an account and join")
        guest.wait_for_url("**/analyses")
        wait_for_analyses(guest, server.url)
        guest.goto(f"{server.url}/analyses/count")
        guest.click("text=Try the demo")
        ended(guest)
        job = guest.url
        context.close()

        page.goto(job)  # the group's, so Olga sees it too
        assert "Gina" in page.inner_text("main")
        page.goto(f"{server.url}/jobs")
        assert "Gina" in page.inner_text("tbody")
