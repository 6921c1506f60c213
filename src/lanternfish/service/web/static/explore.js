// A finished posterior: pair plot of its samples; a chosen point shows its values and simulation.

import { colours, element } from "./common.js";
import { layout, loadPlotly, quiet } from "./charts.js";

const MOST_POINTS = 2000;
const MOST_COLUMNS = 6;
const count = (number) => number.toLocaleString("en");

function tell(page, sentence) {
  page.querySelector("[data-explore-words]").textContent = sentence;
}

// Comma-separated numbers under a line of names.
export function table(text) {
  const lines = text.trim().split(/\r?\n/);
  const names = split(lines[0]);
  const rows = lines.slice(1).map((line) => split(line).map(Number));
  return { names, rows };
}

function split(line) {
  const cells = [];
  for (const found of line.matchAll(/("(?:[^"]|"")*"|[^,]*)(,|$)/g)) {
    cells.push(found[1].startsWith('"') ? found[1].slice(1, -1).replaceAll('""', '"') : found[1]);
    if (found[2] === "") break;
  }
  return cells;
}

class Explorer {
  constructor(page) {
    this.page = page;
    this.chosen = 0;
  }

  async begin() {
    const answer = await fetch(this.page.dataset.explore);
    if (!answer.ok) throw new Error("The samples could not be loaded.");
    const { names, rows } = table(await answer.text());
    this.names = names;
    this.rows = rows.slice(0, MOST_POINTS);
    this.shown = names.map((_, i) => i).slice(0, MOST_COLUMNS);
    this.traces = await this.loadTraces();
    this.choices();
    this.slider();
    this.Plotly = await loadPlotly();
    await this.draw();
    this.choose(0);
    const more = rows.length > MOST_POINTS ? ` They are the first of ${count(rows.length)}.` : "";
    tell(this.page, `${count(this.rows.length)} samples of ${names.length} parameters.${more}`);
  }

  async loadTraces() {
    if (!this.page.dataset.traces) return null;
    const answer = await fetch(this.page.dataset.traces);
    return answer.ok ? answer.json() : null;
  }

  choices() {
    const place = this.page.querySelector("[data-columns]");
    this.names.forEach((name, i) => {
      const box = element("input", { type: "checkbox", id: `column-${i}` });
      box.checked = this.shown.includes(i);
      box.addEventListener("change", () => {
        this.shown = this.names.map((_, k) => k).filter((k) => place.querySelector(`#column-${k}`).checked);
        if (this.shown.length > MOST_COLUMNS) {
          box.checked = false;
          this.shown = this.shown.filter((k) => k !== i);
          tell(this.page, `At most ${MOST_COLUMNS} parameters fit: untick another first.`);
          return;
        }
        this.draw();
      });
      const label = element("label", { for: `column-${i}`, class: "mono" }, name);
      place.append(element("span", { class: "switch" }, box, label));
    });
  }

  slider() {
    const slider = this.page.querySelector("[data-point]");
    slider.max = this.rows.length - 1;
    slider.addEventListener("input", () => this.choose(Number(slider.value)));
  }

  async draw() {
    const n = this.shown.length;
    const place = this.page.querySelector("[data-pairs]");
    if (!n) {
      this.Plotly.purge(place);
      return;
    }
    const { accent, glow, line, soft } = colours();
    const traces = [];
    const axes = {};
    const gap = 0.025;
    const span = (1 - gap * (n - 1)) / n;
    this.cells = [];
    for (let r = 0; r < n; r += 1) {
      for (let c = 0; c <= r; c += 1) {
        const id = traces.length + 1;
        const suffix = this.cells.length ? String(this.cells.length + 1) : "";
        const [x, y] = [this.shown[c], this.shown[r]];
        const low = 1 - (r + 1) * span - r * gap;
        const base = { gridcolor: line, linecolor: line, tickfont: { color: soft, size: 10 }, zeroline: false, nticks: 4, automargin: false };
        const xs = [c * (span + gap), c * (span + gap) + span];
        axes[`xaxis${suffix}`] = { ...base, domain: xs, anchor: `y${suffix}`, showticklabels: r === n - 1, title: r === n - 1 ? { text: this.names[x], font: { size: 11 } } : undefined };
        const ylabel = c === 0 && r > 0 ? { text: this.names[y], font: { size: 11 } } : undefined;
        axes[`yaxis${suffix}`] = { ...base, domain: [Math.max(0, low), low + span], anchor: `x${suffix}`, showticklabels: c === 0 && r > 0, title: ylabel };
        const on = { xaxis: `x${suffix}`, yaxis: `y${suffix}` };
        if (x === y) {
          traces.push({ ...on, type: "histogram", x: this.column(x), marker: { color: accent }, opacity: 0.75, hoverinfo: "skip" });
        } else {
          traces.push({ ...on, type: "scatter", mode: "markers", x: this.column(x), y: this.column(y), marker: { color: accent, size: 4, opacity: 0.45 }, hovertemplate: `${this.names[x]} %{x:.4g}<br>${this.names[y]} %{y:.4g}<extra></extra>` });
        }
        this.cells.push({ x, y, on, index: id - 1 });
      }
    }
    this.marks = traces.length;
    for (const cell of this.cells.filter((each) => each.x !== each.y)) {
      cell.mark = traces.length;
      traces.push({ ...cell.on, type: "scatter", mode: "markers", x: [null], y: [null], marker: { color: glow, size: 11, line: { color: "#222", width: 1 } }, hoverinfo: "skip" });
    }
    const size = Math.min(n < 4 ? 560 : 800, Math.max(320, place.clientWidth));
    const made = layout({ height: size, margin: { l: 56, r: 8, t: 8, b: 48 }, bargap: 0.02 });
    delete made.xaxis;
    delete made.yaxis;
    await this.Plotly.react(place, traces, { ...made, ...axes }, quiet);
    place.removeAllListeners?.("plotly_click");
    place.on("plotly_click", (event) => {
      const [point] = event.points;
      if (point?.data.type === "scatter" && point.curveNumber < this.marks) this.choose(point.pointNumber);
    });
    this.mark();
  }

  column(i) {
    return this.rows.map((row) => row[i]);
  }

  choose(index) {
    this.chosen = index;
    this.page.querySelector("[data-point]").value = index;
    const place = this.page.querySelector("[data-values]");
    const lines = this.names.flatMap((name, i) => [
      element("dt", {}, name),
      element("dd", { class: "mono" }, Number(this.rows[index][i].toPrecision(6)).toString()),
    ]);
    place.replaceChildren(element("dt", {}, "sample"), element("dd", {}, `${count(index + 1)} of ${count(this.rows.length)}`), ...lines);
    this.mark();
    this.trace();
  }

  mark() {
    const row = this.rows[this.chosen];
    const cells = (this.cells ?? []).filter((cell) => cell.mark !== undefined);
    if (!cells.length) return;
    const update = { x: cells.map((cell) => [row[cell.x]]), y: cells.map((cell) => [row[cell.y]]) };
    this.Plotly.restyle(this.page.querySelector("[data-pairs]"), update, cells.map((cell) => cell.mark));
  }

  // traces.json: {"time": [...], "unit": "mV", "names": [...], "traces": {"sample": [[...], ...]}}
  trace() {
    const told = this.traces;
    const card = this.page.querySelector("[data-trace-card]");
    const values = told?.traces?.[String(this.chosen)];
    card.hidden = !told;
    if (!told) return;
    const place = card.querySelector("[data-trace]");
    if (!values) {
      this.Plotly.purge(place);
      place.textContent = "The job has not kept the simulation of this sample.";
      return;
    }
    if (!place.classList.contains("js-plotly-plot")) place.textContent = "";
    const { accent, glow, busy, bad } = colours();
    const several = Array.isArray(values[0]) ? values : [values];
    const traces = several.map((y, i) => ({ x: told.time, y, mode: "lines", name: told.names?.[i] ?? "", line: { width: 1.3, color: [accent, glow, busy, bad][i % 4] } }));
    const made = layout({ height: 260, showlegend: several.length > 1, legend: { orientation: "h" }, xaxis: { title: { text: told.time_unit ?? "ms" } }, yaxis: { title: { text: told.unit ?? "" } } });
    this.Plotly.react(place, traces, made, quiet);
  }
}

const page = document.querySelector("[data-explore]");
if (page) new Explorer(page).begin().catch((error) => tell(page, error.message));
