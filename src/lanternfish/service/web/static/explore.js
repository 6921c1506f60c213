// A finished posterior: pair plot of its samples; a chosen point shows its values and simulation;
// walks along paths and directions are in walks.js.

import { colours, element } from "./common.js";
import { layout, loadPlotly, quiet } from "./charts.js";
import { Walks } from "./walks.js";

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
    this.choices();
    this.slider();
    this.Plotly = await loadPlotly();
    this.walks = new Walks(this.page, this);
    await this.draw();
    this.choose(0);
    await this.walks.begin();
    const more = rows.length > MOST_POINTS ? ` They are the first of ${count(rows.length)}.` : "";
    tell(this.page, `${count(this.rows.length)} samples of ${names.length} parameters.${more}`);
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
    for (const kind of ["input", "focus"]) {
      slider.addEventListener(kind, () => this.choose(Number(slider.value))); // back from a walk, too
    }
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
    for (const cell of this.cells.filter((each) => each.x !== each.y)) {
      cell.way = traces.length;
      traces.push({ ...cell.on, type: "scatter", mode: "lines", x: [null], y: [null], line: { color: glow, width: 2 }, hoverinfo: "skip" });
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

  // One of the samples.
  choose(index) {
    this.chosen = index;
    this.page.querySelector("[data-point]").value = index;
    this.show(this.rows[index], ["sample", `${count(index + 1)} of ${count(this.rows.length)}`], []);
    this.simulation(this.walks?.sample(index), index);
  }

  // Any point, and the way that it lies on.
  show(theta, title, way) {
    this.theta = theta;
    this.way = way;
    const place = this.page.querySelector("[data-values]");
    const lines = this.names.flatMap((name, i) => [
      element("dt", {}, name),
      element("dd", { class: "mono" }, Number(theta[i].toPrecision(6)).toString()),
    ]);
    place.replaceChildren(element("dt", {}, title[0]), element("dd", {}, title[1]), ...lines);
    this.mark();
  }

  mark() {
    const cells = (this.cells ?? []).filter((cell) => cell.mark !== undefined);
    if (!cells.length || !this.theta) return;
    const place = this.page.querySelector("[data-pairs]");
    const along = (i) => (this.way.length ? this.way.map((point) => point.theta[i]) : [null]);
    const update = {
      x: [...cells.map((cell) => [this.theta[cell.x]]), ...cells.map((cell) => along(cell.x))],
      y: [...cells.map((cell) => [this.theta[cell.y]]), ...cells.map((cell) => along(cell.y))],
    };
    this.Plotly.restyle(place, update, [...cells.map((cell) => cell.mark), ...cells.map((cell) => cell.way)]);
  }

  // What the model does at the chosen point: {x, sd, valid, trace} of explore.json.
  simulation(point) {
    const card = this.page.querySelector("[data-trace-card]");
    const told = this.walks?.told;
    card.hidden = !told;
    if (!told) return;
    const words = card.querySelector("[data-trace-words]");
    const place = card.querySelector("[data-trace]");
    const does = card.querySelector("[data-does]");
    this.Plotly.purge(place);
    place.replaceChildren();
    place.hidden = !point?.trace;
    if (!point) {
      words.textContent = "The job has not simulated this sample.";
      does.replaceChildren();
      return;
    }
    words.textContent = point.valid < 1 ? `${Math.round(100 * point.valid)} % of its simulations are valid.` : "";
    does.replaceChildren(...told.statistics.flatMap(([name, unit], i) => [
      element("dt", {}, name),
      element("dd", { class: "mono" }, point.x[i] === null ? "none" : `${Number(point.x[i].toPrecision(4))} ${unit}`),
    ]));
    if (!point.trace) return;
    const { accent, glow, busy, bad } = colours();
    const traces = point.trace.map((y, i) => ({ x: told.time, y, mode: "lines", name: told.channels?.[i] ?? "", line: { width: 1.3, color: [accent, glow, busy, bad][i % 4] } }));
    const made = layout({ height: 260, showlegend: traces.length > 1, legend: { orientation: "h" }, xaxis: { title: { text: told.time_unit ?? "ms" } }, yaxis: { title: { text: told.unit ?? "" } } });
    this.Plotly.react(place, traces, made, quiet);
  }
}

const page = document.querySelector("[data-explore]");
if (page) new Explorer(page).begin().catch((error) => tell(page, error.message));
