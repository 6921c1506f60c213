// Regions of a calcium movie: contours on an image, a table with filters, traces of chosen ones.

import { colours, element } from "./common.js";
import { layout, loadPlotly, quiet } from "./charts.js";

const SVG = "http://www.w3.org/2000/svg";
const MOST = 8; // traces at once
const MEASURES = ["snr", "skew", "compactness", "pixels", "probability"];
const HUES = ["#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#666666"];

function drawn(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

class Page {
  constructor(root) {
    this.root = root;
    this.files = root.dataset.regions;
    this.chosen = [];
    this.kept = new Map();
    this.find = (name) => root.querySelector(`[data-${name}]`);
  }

  async begin() {
    const answer = await fetch(this.files + this.root.dataset.index);
    if (!answer.ok) throw new Error("The regions could not be loaded.");
    this.told = await answer.json();
    this.frame();
    this.table();
    this.listen();
    this.reset();
    const first = this.told.regions.findIndex((each) => each.accepted);
    if (first >= 0) await this.choose(first);
  }

  frame() {
    const { width, height, images } = this.told;
    const view = drawn("svg", { viewBox: `-0.5 -0.5 ${width} ${height}`, role: "group", "aria-label": "Regions on the image" });
    view.style.fontSize = `${Math.max(width, height) / 26}px`; // of numbers, whatever the movie's size
    this.image = drawn("image", { x: -0.5, y: -0.5, width, height });
    view.append(this.image);
    this.shapes = this.told.regions.map((each, k) => this.shape(view, each, k));
    this.find("view").append(view);
    const select = this.find("image");
    for (const name of Object.keys(images)) select.append(element("option", { value: name }, name));
    this.show(Object.keys(images)[0]);
  }

  shape(view, each, k) {
    const points = each.outline.map((p) => p.join(",")).join(" ");
    const line = drawn("polygon", { points, tabindex: 0, role: "button", "aria-pressed": "false", "aria-label": `Region ${k + 1}` });
    const middle = [0, 1].map((i) => each.outline.reduce((sum, p) => sum + p[i], 0) / Math.max(each.outline.length, 1));
    const words = drawn("text", { x: middle[0], y: middle[1] });
    words.textContent = k + 1;
    line.addEventListener("click", () => this.choose(k));
    line.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.choose(k);
    });
    view.append(line, words);
    return { line, words };
  }

  show(name) {
    this.image.setAttribute("href", this.files + this.told.images[name]);
  }

  table() {
    this.rows = this.told.regions.map((each, k) => {
      const button = element("button", { type: "button", class: "small", "aria-pressed": "false", "aria-label": `Region ${k + 1}` }, `${k + 1}`);
      button.addEventListener("click", () => this.choose(k));
      const cells = MEASURES.map((name) => element("td", {}, each[name] === null ? "–" : `${+each[name].toFixed(2)}`));
      const row = element("tr", { "data-region": k + 1 }, element("td", {}, button), ...cells);
      return { row, button };
    });
    this.find("rows").append(...this.rows.map((each) => each.row));
  }

  listen() {
    this.find("image").addEventListener("change", (event) => this.show(event.target.value));
    for (const name of ["also", "own"]) this.find(name).addEventListener("change", () => this.filter());
    this.find("reset").addEventListener("click", () => this.reset());
    this.find("clear").addEventListener("click", () => this.clear());
    for (const box of this.root.querySelectorAll("[data-filter]")) box.addEventListener("input", () => this.filter());
  }

  reset() {
    for (const box of this.root.querySelectorAll("[data-filter]")) box.value = this.told.filters[box.dataset.filter] ?? "";
    this.find("own").checked = this.told.own ?? false;
    this.filter();
  }

  passes(each) {
    const limit = (name) => {
      const text = this.root.querySelector(`[data-filter="${name}"]`).value;
      return text === "" ? null : Number(text);
    };
    const [snr, skew, compact] = ["snr", "skew", "compactness"].map(limit);
    return (
      (!this.find("own").checked || each.is_cell) &&
      (snr === null || (each.snr ?? 0) >= snr) &&
      (skew === null || (each.skew ?? 0) >= skew) &&
      (compact === null || (each.compactness ?? Infinity) <= compact)
    );
  }

  filter() {
    const all = this.find("also").checked;
    let count = 0;
    this.told.regions.forEach((each, k) => {
      const good = this.passes(each);
      count += good;
      const { line, words } = this.shapes[k];
      line.classList.toggle("out", !good);
      words.classList.toggle("out", !good);
      for (const part of [line, words, this.rows[k].row]) part.toggleAttribute("hidden", !good && !all);
    });
    this.find("regions-words").textContent = `${count} of ${this.told.regions.length} regions pass the filters.`;
  }

  async choose(k) {
    const there = this.chosen.indexOf(k);
    if (there >= 0) this.chosen.splice(there, 1);
    else this.chosen = [...this.chosen, k].slice(-MOST);
    await this.draw();
  }

  async clear() {
    this.chosen = [];
    await this.draw();
  }

  mark() {
    this.told.regions.forEach((_, k) => {
      const place = this.chosen.indexOf(k);
      const { line } = this.shapes[k];
      for (const part of [line, this.rows[k].button]) part.setAttribute("aria-pressed", String(place >= 0));
      line.style.stroke = place >= 0 ? HUES[place] : "";
    });
  }

  // dF/F of all frames, then spikes: 4 bytes each.
  async trace(k) {
    if (this.kept.has(k)) return this.kept.get(k);
    const long = 8 * this.told.frames;
    const answer = await fetch(`${this.files}traces.f32`, { headers: { Range: `bytes=${k * long}-${(k + 1) * long - 1}` } });
    if (!answer.ok) throw new Error("The trace could not be loaded.");
    let bytes = await answer.arrayBuffer();
    if (answer.status === 200) bytes = bytes.slice(k * long, (k + 1) * long);
    const values = new Float32Array(bytes);
    const found = { change: values.slice(0, this.told.frames), spikes: values.slice(this.told.frames) };
    this.kept.set(k, found);
    return found;
  }

  async draw() {
    this.mark();
    const chosen = [...this.chosen];
    this.find("traces-card").hidden = !chosen.length;
    if (!chosen.length) return;
    const [Plotly, ...found] = await Promise.all([loadPlotly(), ...chosen.map((k) => this.trace(k))]);
    if (String(chosen) !== String(this.chosen)) return; // chosen anew meanwhile
    const times = Array.from({ length: this.told.frames }, (_, t) => t / this.told.rate);
    const { bad } = colours();
    const tall = found.map(({ change }) => Math.max(change.reduce((a, b) => Math.max(a, b), 0), 0.1));
    const step = 1.25 * Math.max(...tall);
    const curves = [];
    found.forEach(({ change, spikes }, place) => {
      const low = -place * step;
      const top = spikes.reduce((a, b) => Math.max(a, b), 0) || 1;
      const name = `region ${chosen[place] + 1}`;
      curves.push({ type: "scatter", mode: "lines", name, x: times, y: Array.from(change, (v) => v + low), customdata: Array.from(change), hovertemplate: `${name}: %{customdata:.2f} at %{x:.2f} s<extra></extra>`, line: { width: 1.1, color: HUES[place] } });
      const xs = [];
      const ys = [];
      spikes.forEach((v, t) => {
        if (v <= 0.05 * top) return;
        xs.push(times[t], times[t], null);
        ys.push(low - 0.2 * step, low - 0.2 * step + (0.14 * step * v) / top, null);
      });
      curves.push({ type: "scatter", mode: "lines", x: xs, y: ys, hoverinfo: "skip", line: { width: 1, color: bad } });
    });
    const ticks = { tickvals: chosen.map((_, place) => -place * step), ticktext: chosen.map((k) => `${k + 1}`) };
    const look = layout({ height: 150 + 70 * chosen.length, xaxis: { title: { text: "time (s)" } }, yaxis: { title: { text: "region" }, zeroline: false, ...ticks } });
    await Plotly.react(this.find("traces"), curves, look, quiet);
    this.root.dataset.drawn = chosen.map((k) => k + 1).join(" ");
  }
}

const root = document.querySelector("[data-regions]");
if (root) {
  new Page(root).begin().catch((error) => {
    root.querySelector("[data-regions-words]").textContent = error.message;
  });
}
