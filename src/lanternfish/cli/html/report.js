"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const INK = "#16202b", SOFT = "#5b6773", LINE = "#e2e7ec";
  const BLUE = "#0072b2", RED = "#d55e00", GREY = "#9aa5af", GREEN = "#009e73";
  const FONT = { family: "system-ui, sans-serif", size: 12, color: INK };
  const QUIET = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
  const SCALE = [[0, "rgba(255,255,255,0)"], [0.15, "#dcebf4"], [0.5, "#6cb0d6"], [1, BLUE]];
  const MOST = 6;
  const $ = (id) => document.getElementById(id);
  const element = (tag, text, cls) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (cls) made.className = cls;
    return made;
  };
  const number = (v, digits = 4) => {
    if (v === null || v === undefined) return "none";
    const a = Math.abs(v);
    return a !== 0 && (a < 1e-3 || a >= 1e5) ? v.toExponential(digits - 2) : String(+v.toPrecision(digits));
  };
  const unpack = (packed) => {
    const bytes = Uint8Array.from(atob(packed.data), (c) => c.charCodeAt(0));
    const all = new Float32Array(bytes.buffer), size = all.length / packed.rows;
    return Array.from({ length: packed.rows }, (_, i) => all.subarray(i * size, (i + 1) * size));
  };
  const named = (c) => c.name.replaceAll("_", " ");
  const labelled = (c) => named(c) + (c.unit ? ` (${c.unit})` : "");
  const parameters = data.parameters, points = data.points, cloud = unpack(data.cloud);
  const along = (p, v) => (p.log ? Math.log10(v) : v);

  // ---- head ----
  $("title").textContent = data.title;
  $("verdict").textContent = data.verdict;
  $("verdict").classList.add(data.passed === null ? "unknown" : data.passed ? "passed" : "failed");
  for (const facts of [data.asked, data.done]) {
    const list = element("dl");
    for (const [name, words] of facts) list.append(element("dt", name), element("dd", words));
    $("summary").append(list);
  }

  // ---- pair plot ----
  const order = [...parameters].sort((a, b) => b.narrowing - a.narrowing);
  let shown = order.slice(0, Math.min(5, parameters.length)).map((p) => p.place).sort((a, b) => a - b);
  let chosen = null;
  const bins = (p, values, n) => {
    const [low, high] = p.axis, counts = new Float64Array(n);
    for (const v of values) {
      const i = Math.floor(((along(p, v) - low) / (high - low)) * n);
      if (i >= 0 && i < n) counts[i] += 1;
    }
    return counts;
  };
  const grid = (p, q, n) => {
    const z = Array.from({ length: n }, () => new Float64Array(n));
    const xs = cloud[p.place], ys = cloud[q.place];
    for (let k = 0; k < xs.length; k++) {
      const i = Math.floor(((along(p, xs[k]) - p.axis[0]) / (p.axis[1] - p.axis[0])) * n);
      const j = Math.floor(((along(q, ys[k]) - q.axis[0]) / (q.axis[1] - q.axis[0])) * n);
      if (i >= 0 && i < n && j >= 0 && j < n) z[j][i] += 1;
    }
    return smooth(smooth(z, n), n);
  };
  const smooth = (z, n) => z.map((row, j) => Array.from(row, (_, i) => {
    let sum = 0, weight = 0;
    for (let a = -1; a <= 1; a++) for (let b = -1; b <= 1; b++) {
      const r = z[j + a];
      if (!r || i + b < 0 || i + b >= n) continue;
      const w = (a ? 1 : 2) * (b ? 1 : 2);
      sum += w * r[i + b]; weight += w;
    }
    return sum / weight;
  }));
  const centres = (p, n) => Array.from({ length: n }, (_, i) => p.axis[0] + ((i + 0.5) * (p.axis[1] - p.axis[0])) / n);
  const axisTicks = (p) => (p.log ? { tickprefix: "10<sup>", ticksuffix: "</sup>", dtick: Math.ceil((p.axis[1] - p.axis[0]) / 3) } : { nticks: 4 });

  function pairs() {
    const d = shown.length, gap = 0.012, side = (1 - gap * (d - 1)) / d, traces = [], layout = {
      font: FONT, showlegend: false, hovermode: "closest", dragmode: "zoom", margin: { l: 62, r: 8, t: 8, b: 52 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height: Math.max(340, Math.min(760, 150 * d + 60)),
    };
    const states = points ? points.valid : [];
    let axis = 0;
    for (let r = 0; r < d; r++) for (let c = 0; c <= r; c++) {
      const p = parameters[shown[c]], q = parameters[shown[r]], id = axis === 0 ? "" : String(axis + 1);
      axis += 1;
      const edge = r === d - 1, first = c === 0;
      const base = { zeroline: false, showgrid: false, linecolor: LINE, mirror: true, showline: true, tickfont: { size: 10, color: SOFT } };
      layout["xaxis" + id] = { ...base, ...axisTicks(p), domain: [c * (side + gap), c * (side + gap) + side], anchor: "y" + id, range: p.axis,
        showticklabels: edge, title: edge ? { text: labelled(p), font: { size: 11 }, standoff: 6 } : undefined };
      layout["yaxis" + id] = { ...base, domain: [1 - r * (side + gap) - side, 1 - r * (side + gap)], anchor: "x" + id };
      if (r === c) {
        const n = 40, counts = bins(p, cloud[p.place], n), step = (p.axis[1] - p.axis[0]) / n, total = counts.reduce((a, b) => a + b, 0) * step || 1;
        Object.assign(layout["yaxis" + id], { showticklabels: false, rangemode: "tozero", fixedrange: true });
        traces.push({ type: "bar", x: centres(p, n), y: Array.from(counts, (v) => v / total), width: step, marker: { color: BLUE, opacity: 0.55 }, xaxis: "x" + id, yaxis: "y" + id, hoverinfo: "skip" });
        traces.push({ type: "scatter", mode: "lines", x: centres(p, n), y: p.prior, line: { color: GREY, width: 1.2, shape: "hvh" }, xaxis: "x" + id, yaxis: "y" + id, hoverinfo: "skip" });
        continue;
      }
      Object.assign(layout["yaxis" + id], { ...axisTicks(q), range: q.axis, showticklabels: first, title: first ? { text: labelled(q), font: { size: 11 }, standoff: 4 } : undefined });
      const n = 36;
      traces.push({ type: "heatmap", x: centres(p, n), y: centres(q, n), z: grid(p, q, n), colorscale: SCALE, showscale: false, zsmooth: "best", xaxis: "x" + id, yaxis: "y" + id, hoverinfo: "skip" });
      if (!points) continue;
      traces.push({
        type: "scatter", mode: "markers", name: "points", x: points.theta[p.place].map((v) => along(p, v)), y: points.theta[q.place].map((v) => along(q, v)),
        customdata: states.map((_, i) => i), xaxis: "x" + id, yaxis: "y" + id,
        marker: { size: 6.5, color: states.map((ok) => (ok ? "#123f5c" : "#ffffff")), opacity: 0.85, line: { width: 1, color: states.map((ok) => (ok ? "#ffffff" : "#b0562a")) } },
        hovertemplate: "sample %{customdata}<extra>choose it</extra>",
      });
      if (chosen !== null) traces.push({
        type: "scatter", mode: "markers", name: "chosen", x: [along(p, points.theta[p.place][chosen])], y: [along(q, points.theta[q.place][chosen])],
        xaxis: "x" + id, yaxis: "y" + id, hoverinfo: "skip", marker: { size: 13, color: RED, line: { width: 2, color: "#fff" } },
      });
    }
    $("pairs").style.height = `${layout.height + 24}px`;
    Plotly.react("pairs", traces, layout, QUIET).then((plot) => {
      if (plot.listens) return;
      plot.listens = true;
      plot.on("plotly_click", (event) => {
        const hit = event.points.find((p) => p.data.name === "points");
        if (hit) choose(hit.customdata);
      });
    });
  }

  function pick() {
    if (parameters.length <= 5) return;
    for (const p of parameters) {
      const button = element("button", named(p));
      button.type = "button";
      button.addEventListener("click", () => {
        shown = shown.includes(p.place) ? shown.filter((i) => i !== p.place) : [...shown, p.place].sort((a, b) => a - b);
        state(); pairs();
      });
      button.dataset.place = p.place;
      $("pick").append(button);
    }
    const state = () => {
      for (const button of $("pick").children) {
        const on = shown.includes(+button.dataset.place);
        button.setAttribute("aria-pressed", on);
        button.disabled = on ? shown.length <= 2 : shown.length >= MOST;
      }
    };
    state();
  }

  // ---- one point ----
  const traces = points && points.traces ? { ...points.traces, time: unpack(points.traces.time)[0], values: unpack(points.traces.values) } : null;
  const raws = points && points.raw ? points.raw.map((r) => ({ ...r, time: unpack(r.time)[0], values: unpack(r.values), measured: unpack(r.measured) })) : [];

  function choose(i) {
    chosen = i;
    pairs();
    const box = $("point");
    box.replaceChildren();
    const ok = points.valid[i], head = element("div", null, "row");
    const before = element("button", "‹"), after = element("button", "›");
    before.setAttribute("aria-label", "previous sample"); after.setAttribute("aria-label", "next sample");
    before.onclick = () => choose((i + points.valid.length - 1) % points.valid.length);
    after.onclick = () => choose((i + 1) % points.valid.length);
    head.append(before, element("strong", `posterior sample ${i}`), after, element("span", ok ? "valid" : "not valid", "state small"));
    box.append(head);
    for (const raw of raws) if (i < raw.n) drawTrace(box, raw, i, raw.channels, raw.name, raw.unit, "");
    if (traces && i < traces.n) drawTrace(box, traces, i, traces.channels.length, null, traces.unit, traces.time_unit);
    else if (traces) box.append(element("p", `Traces were kept of the first ${traces.n} samples.`, "small"));
    drawStatistics(box, i);
    drawValues(box, i);
  }

  function drawTrace(box, kept, i, channels, name, unit, timeUnit) {
    const place = element("div");
    place.style.height = `${90 + 105 * channels}px`;
    box.append(place);
    const layout = { font: FONT, margin: { l: 54, r: 8, t: 8, b: 36 }, showlegend: false, hovermode: "x", grid: { rows: channels, columns: 1, pattern: "coupled" }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
    const drawn = Array.from({ length: channels }, (_, c) => {
      const id = c ? String(c + 1) : "", label = Array.isArray(kept.channels) ? kept.channels[c] : name;
      layout["yaxis" + id] = { title: { text: `${label}<br>(${unit})`, font: { size: 11 } }, gridcolor: LINE, zeroline: false, nticks: 4, tickfont: { size: 10 } };
      return { type: "scatter", mode: "lines", x: kept.time, y: kept.values[i * channels + c], line: { width: 1, color: [BLUE, GREEN, RED, "#cc79a7"][c % 4] }, yaxis: "y" + id, hoverinfo: "skip" };
    });
    for (let c = 0; kept.measured && c < channels; c++) drawn.unshift({ type: "scatter", mode: "lines", x: kept.time, y: kept.measured[c], line: { width: 1.2, color: GREY }, yaxis: "y" + (c ? String(c + 1) : ""), hoverinfo: "skip" });
    if (kept.measured) box.append(element("p", "Grey: as measured.", "small"));
    layout.xaxis = { title: timeUnit ? { text: `time (${timeUnit})`, font: { size: 11 } } : undefined, gridcolor: LINE, zeroline: false, tickfont: { size: 10 } };
    Plotly.newPlot(place, drawn, layout, QUIET);
  }

  function drawStatistics(box, i) {
    const rows = data.statistics.filter((s) => s.name in points.x), table = element("table"), head = element("tr");
    for (const word of ["statistic", "measured", "this sample", "apart"]) head.append(element("th", word));
    table.append(head);
    for (const s of rows) {
      const value = points.x[s.name][i], row = element("tr"), apart = value === null ? null : (value - s.target) / s.spread;
      row.append(element("td", labelled(s)), element("td", number(s.target)), element("td", number(value)));
      row.append(element("td", apart === null ? "" : `${apart >= 0 ? "+" : "−"}${Math.abs(apart).toFixed(2)} sd`, apart !== null && Math.abs(apart) > 1 ? "far" : ""));
      table.append(row);
    }
    const around = element("div", null, "stats");
    around.append(table);
    box.append(around, element("p", "Apart: from the measurement, in standard deviations of the simulations that were learned from.", "small"));
  }

  function drawValues(box, i) {
    const more = element("details");
    more.append(element("summary", "Its parameters"));
    const table = element("table");
    for (const p of parameters) {
      const row = element("tr");
      row.append(element("td", labelled(p)), element("td", number(points.theta[p.place][i])));
      table.append(row);
    }
    more.append(table);
    box.append(more);
  }

  // ---- checks ----
  const figures = {
    ranks(p, bad) {
      const x = [0, ...p.levels, 1], less = (v) => [0, ...v.map((s, i) => s - p.levels[i]), 0];
      return [[band(x, less(p.low), less(p.high)), ...[]].flat().concat(p.shares.map((v, j) => ({ type: "scatter", mode: "lines", x, y: less(v), name: p.names[j], line: { width: 1.2, color: strays(p, v) ? RED : GREY }, hovertemplate: "%{fullData.name}<extra></extra>" }))),
        { xaxis: { title: "rank of the truth among draws" }, yaxis: { title: "share below, less its due" } }];
    },
    coverage(p) {
      const x = [0, ...p.levels, 1], ended = (v) => [0, ...v, 1];
      return [[...band(x, ended(p.low), ended(p.high)), { type: "scatter", mode: "lines", x: [0, 1], y: [0, 1], line: { color: GREY, width: 1 }, hoverinfo: "skip" }, { type: "scatter", mode: "lines", x, y: ended(p.shares), line: { color: BLUE, width: 2 } }],
        { xaxis: { title: "mass that a region claims" }, yaxis: { title: "share of truths in it" } }];
    },
    null(p) {
      return [[{ type: "histogram", x: p.null, nbinsx: 40, marker: { color: "#c9d0d6" }, hoverinfo: "skip" }],
        { xaxis: { title: p.label }, yaxis: { visible: false }, shapes: [line(p.found)] }];
    },
    place(p) {
      const far = p.scores.map((s) => Math.max(-8, Math.min(8, s)));
      return [[{ type: "scatter", mode: "markers", x: far, y: p.names.map((n) => n.replaceAll("_", " ")), marker: { size: 8, color: far.map((s) => (Math.abs(s) > 3 ? RED : BLUE)) }, hovertemplate: "%{y}: %{x:.2f}<extra></extra>" }],
        { xaxis: { title: "measured, " + p.label }, yaxis: { autorange: "reversed", tickfont: { size: 9 }, automargin: true }, shapes: [{ type: "rect", x0: -2, x1: 2, yref: "paper", y0: 0, y1: 1, fillcolor: GREY, opacity: 0.18, line: { width: 0 } }] }];
    },
    bars(p) {
      return [[{ type: "bar", orientation: "h", x: p.values, y: p.names.map((n) => n.replaceAll("_", " ")), marker: { color: BLUE } }],
        { xaxis: { title: p.label, rangemode: "tozero" }, yaxis: { autorange: "reversed", automargin: true, tickfont: { size: 10 } }, shapes: p.limit === null || p.limit === undefined ? [] : [line(p.limit, "dash")] }];
    },
  };
  const line = (x, dash) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: RED, width: 2, dash } });
  const band = (x, low, high) => [
    { type: "scatter", mode: "lines", x, y: low, line: { width: 0 }, hoverinfo: "skip" },
    { type: "scatter", mode: "lines", x, y: high, line: { width: 0 }, fill: "tonexty", fillcolor: "rgba(138,138,138,.25)", hoverinfo: "skip" },
  ];
  const strays = (p, v) => v.some((s, i) => s < p.low[i] || s > p.high[i]);

  function checks() {
    const made = data.checks.filter((c) => "passed" in c), rest = data.checks.filter((c) => "why" in c);
    const known = made.length ? made : data.findings.map(([passed, verdict]) => ({ name: "prediction", passed, verdict, picture: {} }));
    if (!known.length) $("cards").append(element("p", "Nothing was checked yet.", "small"));
    for (const check of known) {
      const card = element("article", null, "card" + (check.passed ? "" : " failed")), head = element("h3", check.name);
      head.append(element("span", check.passed ? "✓ passed" : "✕ failed"));
      card.append(head, element("p", check.verdict));
      if (!check.passed && check.advice) card.append(element("p", `What to do: ${check.advice}`, "advice"));
      const facts = [];
      if (check.p_value !== null && check.p_value !== undefined) facts.push(check.p_value < 1e-4 ? "p < 0.0001" : `p = ${number(check.p_value, 2)}`);
      if (check.simulations) facts.push(`${check.simulations.toLocaleString("en")} extra simulations`);
      if (facts.length) card.append(element("p", facts.join(", "), "small"));
      $("cards").append(card);
      const kind = check.picture && check.picture.kind;
      if (!kind || !(kind in figures)) continue;
      const place = element("div", null, "figure");
      card.append(place);
      const [drawn, layout] = figures[kind](check.picture);
      for (const a of ["xaxis", "yaxis"]) {
        const axis = layout[a];
        layout[a] = { gridcolor: LINE, zeroline: false, tickfont: { size: 10 }, ...axis, title: axis.title ? { text: axis.title, font: { size: 11 } } : undefined };
      }
      Plotly.newPlot(place, drawn, { font: FONT, showlegend: false, margin: { l: 52, r: 8, t: 6, b: 42 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", ...layout }, { ...QUIET, displayModeBar: false });
    }
    if (!rest.length) return;
    const list = element("ul", null, "small");
    for (const c of rest) list.append(element("li", `${c.name}: ${c.why}`));
    const more = element("details");
    more.append(element("summary", `${rest.length} checks were not made of this run, and why`), list);
    $("left-out").append(more);
  }

  // ---- predictions, parameters, history, provenance ----
  function predictions() {
    const rows = data.statistics.filter((s) => points && s.name in points.x);
    if (!rows.length) return $("predictions").remove();
    const drawn = rows.map((s) => ({
      type: "box", orientation: "h", name: labelled(s), x: points.x[s.name].filter((v) => v !== null).map((v) => (v - s.target) / s.spread),
      boxpoints: false, marker: { color: BLUE }, line: { width: 1.2 }, fillcolor: "rgba(0,114,178,.25)", hoverinfo: "x",
    }));
    const all = drawn.flatMap((t) => t.x.map(Math.abs)).sort((a, b) => a - b), reach = Math.max(1.5, Math.min(8, (all[Math.floor(0.97 * all.length)] || 1) * 1.1));
    $("predicted").style.height = `${94 + 30 * rows.length}px`;
    Plotly.newPlot("predicted", drawn, {
      font: FONT, showlegend: false, height: 70 + 30 * rows.length, margin: { l: 10, r: 10, t: 10, b: 44 },
      xaxis: { title: { text: "predicted less measured, in standard deviations of the simulations that were learned from", font: { size: 11 } }, range: [-reach, reach], zeroline: true, zerolinecolor: RED, zerolinewidth: 2, gridcolor: LINE },
      yaxis: { automargin: true, autorange: "reversed" }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    }, QUIET);
  }

  function parameterTable() {
    const table = element("table"), head = element("tr");
    for (const word of ["parameter", "mean", "90 % interval", "in the prior", "narrowed by", ""]) head.append(element("th", word));
    table.append(head);
    for (const p of parameters) {
      const row = element("tr"), cell = element("td"), bar = element("span", null, "bar"), part = element("i");
      const place = (v) => (100 * (along(p, v) - p.axis[0])) / (p.axis[1] - p.axis[0]);
      part.style.left = `${Math.max(0, place(p.low))}%`;
      part.style.right = `${Math.max(0, 100 - place(p.high))}%`;
      bar.append(part); cell.append(bar);
      row.append(element("td", labelled(p)), element("td", number(p.mean)), element("td", `${number(p.low)} to ${number(p.high)}`), cell, element("td", `×${p.narrowing.toFixed(1)}`), element("td", p.edge ? `piles up at the ${p.edge} bound` : "", "small"));
      table.append(row);
    }
    $("parameter-table").append(table);
  }

  function history() {
    const rounds = data.history.filter((r) => r.train && r.train.length);
    if (!rounds.length) return $("history").remove();
    const layout = { font: FONT, height: 300, margin: { l: 56, r: 10, t: 48, b: 44 }, legend: { orientation: "h", y: 1.26, x: 1, xanchor: "right" }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", grid: { rows: 1, columns: rounds.length, pattern: "independent" }, annotations: [] };
    const drawn = rounds.flatMap((r, i) => {
      const id = i ? String(i + 1) : "", x = r.train.map((_, k) => k);
      layout["xaxis" + id] = { title: { text: "epoch", font: { size: 11 } }, gridcolor: LINE, zeroline: false };
      const kept = [...r.train, ...r.validation].filter((v) => v !== null).sort((a, b) => a - b);
      const low = kept[0], high = kept[Math.floor(0.93 * (kept.length - 1))], air = 0.08 * (high - low) || 1;
      layout["yaxis" + id] = { title: i ? undefined : { text: "loss (nats)", font: { size: 11 } }, gridcolor: LINE, zeroline: false, range: [low - air, high + air] };
      layout.annotations.push({ text: `round ${i + 1}`, showarrow: false, xref: `x${id} domain`, yref: `y${id} domain`, x: 0, y: 1.09, font: { size: 12, color: SOFT } });
      return [
        { type: "scatter", mode: "lines", name: "training", legendgroup: "t", showlegend: !i, x, y: r.train, line: { color: BLUE, width: 1.4 }, xaxis: "x" + id, yaxis: "y" + id },
        { type: "scatter", mode: "lines", name: "validation", legendgroup: "v", showlegend: !i, x, y: r.validation, line: { color: "#e69f00", width: 1.8, dash: "dash" }, xaxis: "x" + id, yaxis: "y" + id },
      ];
    });
    $("curves").style.height = `${layout.height + 24}px`;
    Plotly.newPlot("curves", drawn, layout, QUIET);
  }

  for (const step of data.steps) $("steps").append(element("li", step.replaceAll("`", "")));
  for (const [name, words] of data.provenance) $("facts").append(element("dt", name), element("dd", words));
  $("explore-lead").textContent = points
    ? "Shaded: the posterior; grey lines: the prior. Each dot is a posterior sample that was simulated (hollow: not valid). Choose one to see what it does beside what was measured."
    : "Shaded: the posterior; grey lines: the prior.";
  pick();
  if (points) { const first = points.valid.findIndex((ok) => ok); choose(first < 0 ? 0 : first); } else { $("point").remove(); pairs(); }
  checks(); predictions(); parameterTable(); history();
  document.body.dataset.ready = "yes";
})();
