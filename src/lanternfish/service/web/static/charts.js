// Live metrics, drawn with Plotly; its script is loaded when the first number arrives.

import { colours, element } from "./common.js";

let plotly = null;
export function loadPlotly() {
  plotly ??= new Promise((good, bad) => {
    const script = element("script", { src: document.querySelector("[data-plotly]").dataset.plotly });
    script.onload = () => good(window.Plotly);
    script.onerror = () => bad(new Error("Plotly's script did not load."));
    document.head.append(script);
  });
  return plotly;
}

export const quiet = { displayModeBar: false, responsive: true };

export function layout(more = {}) {
  const { ink, soft, line } = colours();
  const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, tickfont: { color: soft }, automargin: true };
  const { xaxis = {}, yaxis = {}, ...rest } = more;
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink },
    margin: { l: 52, r: 12, t: 8, b: 40 },
    hovermode: "closest",
    showlegend: false,
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
    ...rest,
  };
}

const MOST = 4000; // points kept for a curve

export class LiveCharts {
  constructor(place) {
    this.place = place;
    this.curves = new Map();
    this.due = null;
  }

  // {name, step, value} or {name, points: [[x, y], ...]}
  add(point) {
    if (!this.place) return;
    for (const [name, value] of Object.entries(point.values ?? { [point.name]: point.value })) {
      if (typeof value !== "number") continue;
      const curve = this.curve(name, point);
      curve.x.push(point.step ?? curve.x.length);
      curve.y.push(value);
      if (curve.x.length > MOST) this.thin(curve);
    }
    this.due ??= setTimeout(() => {
      this.due = null;
      this.draw();
    }, 300);
  }

  thin(curve) {
    const keep = (_, i) => i % 2 === 0;
    curve.x = curve.x.filter(keep);
    curve.y = curve.y.filter(keep);
  }

  curve(name, point) {
    if (!this.curves.has(name)) {
      const chart = element("div", { class: "chart", role: "img", "aria-label": `${name} so far` });
      const words = element("span", { class: "soft" });
      const caption = element("figcaption", {}, name.replaceAll("_", " "), " ", words);
      this.place.append(element("figure", {}, caption, chart));
      this.place.closest("[hidden]")?.removeAttribute("hidden");
      this.curves.set(name, { chart, words, x: [], y: [], unit: point.unit ?? "" });
    }
    return this.curves.get(name);
  }

  async draw() {
    const Plotly = await loadPlotly();
    const { accent } = colours();
    for (const [name, curve] of this.curves) {
      const last = curve.y[curve.y.length - 1];
      curve.words.textContent = Number(last.toPrecision(4)).toString();
      // Copies: Plotly takes an array that it knows for one that has not changed.
      const trace = { x: [...curve.x], y: [...curve.y], mode: curve.x.length < 2 ? "markers" : "lines", line: { color: accent, width: 2 }, marker: { color: accent }, type: "scatter", name };
      const axes = { xaxis: { title: { text: "step" } }, yaxis: { title: { text: curve.unit } } };
      await Plotly.react(curve.chart, [trace], layout({ ...axes, height: 240 }), quiet);
    }
  }
}
