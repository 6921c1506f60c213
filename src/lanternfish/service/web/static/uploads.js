// Resumable uploads (tus 1.0): several at once, in pieces; progress counts what the server confirmed.
// A reload forgets the files, not the uploads: dropping the same file again goes on where it was.

import { csrf, element, say, size } from "./common.js";

const PIECE = 16 * 1024 * 1024;
const AT_ONCE = 3;
const RETRIES = [1, 2, 4, 8, 15, 30, 60];

function start(place) {
  const waiting = [];
  const state = { active: 0 };
  const list = place.querySelector("[data-upload-list]");
  const input = place.querySelector('input[type="file"]');
  const zone = place.querySelector(".drop");

  const add = (files) => {
    for (const file of files) waiting.push(new Upload(file, place.dataset, list));
    next();
  };
  const next = () => {
    while (state.active < AT_ONCE && waiting.length) {
      state.active += 1;
      waiting.shift().run().finally(() => {
        state.active -= 1;
        next();
      });
    }
    window.onbeforeunload = state.active ? (event) => event.preventDefault() : null;
  };

  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    zone.addEventListener(name, () => zone.classList.remove("over"));
  }
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    add(await dropped(event.dataTransfer));
  });
  // A file dropped beside the zone would replace the page.
  for (const name of ["dragover", "drop"]) {
    window.addEventListener(name, (event) => event.preventDefault());
  }
}

async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return transfer.files;
  const files = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      files.push(await new Promise((good, bad) => entry.file(good, bad)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (!some.length) return;
      for (const child of some) await walk(child);
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

class Upload {
  constructor(file, settings, list) {
    this.file = file;
    this.settings = settings;
    this.stopped = false;
    this.name = element("span", { class: "name" }, file.name);
    this.words = element("span", { class: "soft small" }, "waiting");
    this.bar = element("progress", { max: Math.max(file.size, 1), value: 0 });
    this.bar.setAttribute("aria-label", `Upload of ${file.name}`);
    this.cancel = element("button", { type: "button", class: "small plain" }, "Cancel");
    this.cancel.addEventListener("click", () => this.abandon());
    const line = element("div", { class: "upload-line" }, this.name, this.words, this.cancel);
    this.item = element("li", {}, line, this.bar);
    list.append(this.item);
  }

  get key() {
    const { name, size: bytes, lastModified } = this.file;
    return `lanternfish upload ${this.settings.group} ${name} ${bytes} ${lastModified}`;
  }

  async run() {
    if (this.stopped) return;
    try {
      for (const wait of [...RETRIES, null]) {
        try {
          await this.send();
          return;
        } catch (error) {
          if (this.stopped) return;
          if (error instanceof Refused || wait === null) throw error;
          this.words.textContent = `connection lost; trying again in ${wait} s`;
          await new Promise((done) => setTimeout(done, wait * 1000));
        }
      }
    } catch (error) {
      this.fail(error.message);
    }
  }

  async send() {
    this.address = localStorage.getItem(this.key);
    let offset = this.address ? await this.offset() : null;
    if (offset === null) {
      await this.create();
      offset = 0;
    }
    this.shown(offset);
    while (offset < this.file.size) {
      if (this.stopped) return;
      offset = await this.piece(offset);
      this.shown(offset);
    }
    await this.finish();
  }

  async create() {
    const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
    const meta = { filename: this.file.name, filetype: this.file.type, group: this.settings.group };
    const answer = await this.ask("POST", this.settings.uploads, {
      "Upload-Length": String(this.file.size),
      "Upload-Metadata": Object.entries(meta)
        .map(([name, text]) => `${name} ${encode(text)}`)
        .join(","),
    });
    this.address = answer.headers.get("Location");
    localStorage.setItem(this.key, this.address);
  }

  async offset() {
    const answer = await fetch(this.address, { method: "HEAD", headers: heads(), cache: "no-store" });
    if ([403, 404, 410].includes(answer.status)) {
      localStorage.removeItem(this.key);
      return null;
    }
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return Number(answer.headers.get("Upload-Offset"));
  }

  async piece(offset) {
    const body = this.file.slice(offset, offset + PIECE);
    const headers = { "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" };
    const answer = await this.ask("PATCH", this.address, headers, body);
    return Number(answer.headers.get("Upload-Offset"));
  }

  async ask(method, address, headers, body) {
    this.request = new AbortController();
    const signal = this.request.signal;
    const answer = await fetch(address, { method, headers: heads(headers), body, signal });
    if (answer.ok) return answer;
    const told = await answer.json().catch(() => ({}));
    const sentence = told.detail || `The server answered ${answer.status}.`;
    if (answer.status >= 500 || [409, 423, 429].includes(answer.status)) throw new Error(sentence);
    throw new Refused(sentence);
  }

  shown(offset) {
    this.bar.value = this.file.size ? offset : 1;
    const now = performance.now();
    this.began ??= { at: now, offset };
    const speed = ((offset - this.began.offset) / (now - this.began.at)) * 1000;
    const left = speed > 0 ? `, ${size(speed)}/s` : "";
    this.words.textContent = `${size(offset)} of ${size(this.file.size)} confirmed${left}`;
  }

  async finish() {
    this.words.textContent = "checking";
    let made = null;
    for (let i = 0; i < 3600 && !this.stopped; i += 1) {
      const answer = await fetch(this.address, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Refused(`The server answered ${answer.status}.`);
      made = await answer.json();
      if (made.dataset) break;
      if (made.problem) throw new Refused(made.problem);
      await new Promise((done) => setTimeout(done, 250));
    }
    localStorage.removeItem(this.key);
    this.cancel.remove();
    this.bar.remove();
    this.words.textContent = `done, ${size(this.file.size)}`;
    this.item.classList.add("done");
    say(`${this.file.name} is uploaded.`);
    this.item.dispatchEvent(
      new CustomEvent("uploaded", { bubbles: true, detail: made.dataset }),
    );
  }

  fail(sentence) {
    this.words.textContent = sentence;
    this.words.className = "problem small";
    this.cancel.textContent = "Remove";
    say(`${this.file.name}: ${sentence}`);
  }

  async abandon() {
    this.stopped = true;
    this.request?.abort();
    if (this.address) await fetch(this.address, { method: "DELETE", headers: heads() });
    localStorage.removeItem(this.key);
    this.item.remove();
  }
}

class Refused extends Error {}

function heads(more = {}) {
  return { "Tus-Resumable": "1.0.0", "X-CSRF-Token": csrf(), ...more };
}

const place = document.querySelector("[data-uploads]");
if (place) start(place);
