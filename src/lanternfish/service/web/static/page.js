// What every page has: menus that close, questions before what cannot be undone, live parts, forms.

import { csrf, say } from "./common.js";

for (const menu of document.querySelectorAll("[data-menu]")) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
  if (question && !window.confirm(question)) {
    event.preventDefault();
    return;
  }
  const busy = event.submitter?.dataset.busy;
  if (busy) {
    const before = event.submitter.textContent;
    setTimeout(() => (event.submitter.textContent = busy));
    window.addEventListener("pageshow", () => (event.submitter.textContent = before), { once: true });
    say(busy);
  }
  // A second click while the first is under way would only say so twice.
  if (!event.submitter?.hasAttribute("data-many")) {
    setTimeout(() => event.submitter && (event.submitter.disabled = true));
    setTimeout(() => event.submitter && (event.submitter.disabled = false), busy ? 60000 : 4000);
  }
});

// Alternatives of a setting: only the chosen one is shown.
export function showVariants(root = document) {
  for (const variant of root.querySelectorAll("[data-variant]")) {
    const select = variant.querySelector("select");
    const update = () => {
      for (const option of variant.querySelectorAll(":scope > [data-option]")) {
        option.hidden = option.dataset.option !== select.value;
      }
    };
    select.addEventListener("change", update);
    update();
  }
}
showVariants();

// Files of settings go into the form by way of the server, which keeps their types.
for (const input of document.querySelectorAll("input[data-load]")) {
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (!file) return;
    const hidden = input.form.elements.namedItem("loaded");
    hidden.value = await file.text();
    input.form.querySelector("[data-load-button]").click();
  });
}
for (const opener of document.querySelectorAll("[data-opens]")) {
  opener.addEventListener("click", () => document.getElementById(opener.dataset.opens).click());
}

// Settings are checked while they are typed.
for (const form of document.querySelectorAll("form[data-check]")) {
  let waiting = null;
  let turn = 0;
  const check = async () => {
    const mine = (turn += 1);
    const answer = await fetch(form.dataset.check, {
      method: "POST",
      headers: { "X-CSRF-Token": csrf() },
      body: new URLSearchParams(new FormData(form)),
    });
    if (!answer.ok || mine !== turn) return;
    const told = await answer.json();
    showProblems(form, told.errors);
    const bound = form.querySelector("[data-bound]");
    if (bound && told.bound) bound.textContent = told.bound;
  };
  form.addEventListener("input", (event) => {
    if (!/^(\/|input:|seed|minutes)/.test(event.target.name ?? "")) return;
    clearTimeout(waiting);
    waiting = setTimeout(() => check().catch(() => {}), 350);
  });
}

// Settings that the chosen data suggest, for the user to look over.
for (const button of document.querySelectorAll("[data-suggest]")) {
  button.addEventListener("click", async () => {
    const { form } = button;
    const words = form.querySelector("[data-suggest-words]");
    button.disabled = true;
    words.textContent = "Looking at the data…";
    try {
      const answer = await fetch(button.dataset.suggest, {
        method: "POST",
        headers: { "X-CSRF-Token": csrf() },
        body: new URLSearchParams(new FormData(form)),
      });
      if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
      const told = await answer.json();
      for (const [name, text] of Object.entries(told.texts)) {
        const control = form.elements.namedItem(name);
        control.value = text;
        control.dispatchEvent(new Event("input", { bubbles: true }));
      }
      words.textContent = told.words;
    } catch (error) {
      words.textContent = error.message;
    }
    button.disabled = false;
  });
}

function showProblems(form, errors) {
  const left = { ...errors };
  for (const place of form.querySelectorAll("[data-problem]")) {
    const sentence = left[place.dataset.problem] ?? "";
    delete left[place.dataset.problem];
    if (place.textContent === sentence) continue;
    place.textContent = sentence;
    const control = form.querySelector(`[aria-describedby~="${place.id}"]`);
    if (control) control.toggleAttribute("aria-invalid", false);
    if (control && sentence) control.setAttribute("aria-invalid", "true");
    if (sentence) say(sentence);
  }
  const rest = form.querySelector("[data-problems-left]");
  if (rest) {
    rest.textContent = Object.values(left).join(" ");
    rest.hidden = !rest.textContent;
  }
}

// Whoever selects all or several.
for (const box of document.querySelectorAll("[data-all]")) {
  box.addEventListener("change", () => {
    for (const other of document.querySelectorAll(box.dataset.all)) other.checked = box.checked;
  });
}
for (const box of document.querySelectorAll("[data-filter]")) {
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase();
    for (const item of document.querySelectorAll(box.dataset.filter)) {
      item.hidden = !item.textContent.toLowerCase().includes(wanted);
    }
  });
}

// Live parts: the server's page is the only truth; its parts are fetched again when events come.
let fetching = null;
export async function refresh() {
  fetching ??= (async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      if (!other || other.innerHTML === part.dataset.last) continue;
      if (part.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) continue;
      part.dataset.last = other.innerHTML;
      part.replaceChildren(...other.childNodes);
    }
    const old = document.querySelector("h1")?.textContent;
    document.title = fresh.title || old;
  })().finally(() => {
    fetching = null;
  });
  return fetching;
}

let due = null;
export function refreshSoon(delay = 250) {
  due ??= setTimeout(() => {
    due = null;
    refresh().catch(() => {});
  }, delay);
}

// A stream of events that goes on after any cut, from the last id that came.
export function follow(address, handlers) {
  let last = "";
  let source = null;
  let ended = false;
  const open = () => {
    const joint = address.includes("?") ? "&" : "?";
    source = new EventSource(last ? `${address}${joint}after=${encodeURIComponent(last)}` : address);
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        const told = event.data ? JSON.parse(event.data) : {};
        if (name === "end") {
          ended = true;
          source.close();
        }
        handler(told.data ?? told, told.time);
      });
    }
    source.onopen = () => (document.body.dataset.stream = "open");
    source.onerror = () => {
      document.body.dataset.stream = "cut";
      if (source.readyState === EventSource.CLOSED && !ended) setTimeout(open, 1500);
    };
  };
  open();
  // Browsers allow six connections to a server: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (ended) return;
    source.close();
    if (!document.hidden) open();
  });
  window.addEventListener("pagehide", () => source.close());
  window.addEventListener("pageshow", (event) => event.persisted && !ended && open());
}

for (const list of document.querySelectorAll("[data-follow]")) {
  follow(list.dataset.follow, { change: () => refreshSoon() });
}

// Data sets that were just uploaded join the lists of the page, chosen.
document.addEventListener("uploaded", () => {
  const chosen = [...document.querySelectorAll('.picker input:checked')].map((box) => box.value);
  const before = new Set([...document.querySelectorAll(".picker input")].map((box) => box.value));
  refresh().then(() => {
    for (const box of document.querySelectorAll(".picker input")) {
      if (chosen.includes(box.value) || !before.has(box.value)) box.checked = true;
    }
  });
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent.trim());
    say("Copied.");
    button.textContent = "Copied";
  });
}
