// A job as it runs: log, measured use, live metrics.

import { duration, element, size } from "./common.js";
import { follow, refreshSoon } from "./page.js";
import { LiveCharts } from "./charts.js";

const LINES = 5000;
function watch(page) {
  const log = new Log(page.querySelector(".log"));
  const charts = new LiveCharts(page.querySelector("[data-live-charts]"));
  const set = (name, text) => {
    const place = page.querySelector(`[data-live="${name}"]`);
    if (place) place.textContent = text;
  };
  let before = null; // the last measured use
  let peak = Number(page.querySelector("[data-bytes]")?.dataset.bytes ?? 0);
  follow(page.dataset.watch, {
    log: (chunk) => log.add(chunk.text),
    metric: (point) => charts.add(point),
    use: (use, at) => {
      if (use.cpu_seconds != null) {
        set("cpu", duration(use.cpu_seconds));
        if (before && at > before.at + 0.5) {
          const cores = (use.cpu_seconds - before.cpu) / (at - before.at);
          set("cpu-now", `${Math.max(0, Math.round(100 * cores))} %`);
        }
        if (!before || at > before.at + 0.5) before = { at, cpu: use.cpu_seconds };
      }
      if (use.memory != null) set("memory", size(use.memory));
      if (use.memory > peak) set("peak", size((peak = use.memory)));
    },
    message: (told) => log.note(told.text),
    progress: (told) => {
      const bar = page.querySelector("[data-live-progress]");
      if (bar && told.fraction != null) bar.value = told.fraction;
      if (told.text != null) set("progress", told.text);
    },
    state: () => refreshSoon(60),
    picture: () => refreshSoon(500),
    end: () => refreshSoon(30),
  });
}

// How long it has run, which goes on while nothing else is told.
function tick() {
  for (const place of document.querySelectorAll("[data-since]")) {
    place.dataset.begun ??= Date.now() - 1000 * Number(place.dataset.since);
    place.textContent = duration((Date.now() - Number(place.dataset.begun)) / 1000);
  }
}

class Log {
  constructor(place) {
    this.place = place;
    this.line = null;
    this.again = false; // a carriage return came: the next text writes over the line
  }

  add(text) {
    const place = this.place;
    const follows = place.scrollTop + place.clientHeight >= place.scrollHeight - 40;
    for (const piece of text.split(/(\r\n|\n|\r)/)) {
      if (piece === "\n" || piece === "\r\n") {
        this.begin();
        this.line.append("\n");
        this.line = null;
        this.again = false;
      } else if (piece === "\r") {
        this.again = true;
      } else if (piece) {
        this.begin();
        if (this.again) this.line.textContent = "";
        this.again = false;
        this.line.append(piece);
      }
    }
    while (place.childElementCount > LINES) place.firstElementChild.remove();
    if (follows) place.scrollTop = place.scrollHeight;
  }

  note(text) {
    if (this.line) this.add("\n");
    this.place.append(element("span", { class: "note-line" }, `${text}\n`));
  }

  begin() {
    if (this.line) return;
    this.line = element("span");
    this.place.append(this.line);
  }
}

const page = document.querySelector("[data-watch]");
if (page) {
  watch(page);
  setInterval(tick, 1000);
}
