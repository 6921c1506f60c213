// Paths through a posterior and directions from its mode, as explore.json tells them, and jobs that
// compute more of them.

import { colours, csrf, element } from "./common.js";
import { layout, quiet } from "./charts.js";

const PAUSE = 1000; // ms between questions after a job that computes
const ENDED = ["succeeded", "failed", "cancelled"];

export class Walks {
  constructor(page, explorer) {
    this.page = page;
    this.explorer = explorer;
    this.told = null; // what explore.json says, of all jobs together
    this.ends = {};
  }

  async begin() {
    const { explored, looked } = this.page.dataset;
    if (explored) this.add(await this.load(explored));
    this.choices();
    for (const job of (looked ?? "").split(" ").filter(Boolean)) this.follow(job, false);
  }

  async load(address) {
    const answer = await fetch(address);
    return answer.ok ? answer.json() : null;
  }

  add(told) {
    if (!told) return;
    const before = this.told ?? { samples: {}, walks: [] };
    this.told = { ...before, ...told, samples: { ...before.samples, ...told.samples }, walks: [...before.walks, ...told.walks] };
    this.list();
    this.explorer.simulation(this.sample(this.explorer.chosen));
  }

  sample(index) {
    return this.told?.samples?.[String(index)];
  }

  list() {
    const place = this.page.querySelector("[data-walks]");
    const card = this.page.querySelector("[data-walk-card]");
    const quantity = this.page.querySelector("[data-quantity]");
    card.hidden = !this.told.walks.length;
    const chosen = place.value;
    place.replaceChildren(...this.told.walks.map((walk, i) => element("option", { value: i }, walk.title)));
    if (chosen) place.value = chosen;
    if (!quantity.options.length) {
      const names = ["log density", ...this.told.statistics.map(([name, unit]) => (unit ? `${name} (${unit})` : name))];
      quantity.replaceChildren(...names.map((name, i) => element("option", { value: i - 1 }, name)));
    }
    if (!chosen) this.draw(this.walk);
  }

  get walk() {
    return this.told?.walks[Number(this.page.querySelector("[data-walks]").value || 0)];
  }

  choices() {
    const on = (name, kind, does) => this.page.querySelector(name)?.addEventListener(kind, does);
    on("[data-walks]", "change", () => this.choose(0));
    on("[data-place]", "input", (event) => this.choose(Number(event.target.value)));
    on("[data-quantity]", "change", () => this.draw(this.walk));
    for (const button of this.page.querySelectorAll("[data-take]")) {
      button.addEventListener("click", () => this.take(button.dataset.take));
    }
    for (const button of this.page.querySelectorAll("[data-ask]")) {
      button.addEventListener("click", () => this.ask(button.dataset.ask));
    }
  }

  // A place on the chosen walk.
  choose(index) {
    const { walk } = this;
    if (!walk) return;
    const slider = this.page.querySelector("[data-place]");
    slider.max = walk.points.length - 1;
    slider.value = index;
    this.at = index;
    const point = walk.points[index];
    const far = Number(walk.at[index].toPrecision(3));
    const unit = walk.kind === "path" ? "prior standard deviations from its start" : "lengths from the mode";
    this.explorer.show(point.theta, ["place", `${walk.title}: ${far} ${unit}`], walk.points);
    this.explorer.simulation(point);
    this.draw(walk);
  }

  draw(walk) {
    if (!walk) return;
    this.page.querySelector("[data-walk-words]").textContent = walk.sentence;
    this.page.querySelector("[data-place]").max = walk.points.length - 1;
    const place = this.page.querySelector("[data-way]");
    const chosen = Number(this.page.querySelector("[data-quantity]").value);
    const { accent, glow } = colours();
    const y = chosen < 0 ? walk.log_density : walk.points.map((point) => point.x[chosen]);
    const sd = chosen < 0 ? undefined : walk.points.map((point) => point.sd[chosen] ?? 0);
    const traces = [{ x: walk.at, y, mode: "lines+markers", line: { color: accent, width: 2 }, marker: { size: 5 }, error_y: sd && { type: "data", array: sd, color: accent, thickness: 1 } }];
    if (this.at !== undefined) traces.push({ x: [walk.at[this.at]], y: [y[this.at]], mode: "markers", marker: { color: glow, size: 11, line: { color: "#222", width: 1 } } });
    const label = walk.kind === "path" ? "prior standard deviations from the start" : "lengths from the mode";
    this.explorer.Plotly.react(place, traces, layout({ height: 230, xaxis: { title: { text: label } } }), quiet);
  }

  named(theta) {
    return Object.fromEntries(this.explorer.names.map((name, i) => [name, theta[i]]));
  }

  take(end) {
    this.ends[end] = { theta: this.explorer.theta, words: this.words() };
    const { start, end: last } = this.ends;
    const words = [start && `from ${start.words}`, last && `to ${last.words}`].filter(Boolean).join(" ");
    this.page.querySelector("[data-ends]").textContent = `A path ${words}.`;
    this.page.querySelector("[data-ask=path]").disabled = !(start && last);
  }

  words() {
    const [kind, which] = [...this.page.querySelectorAll("[data-values] dt, [data-values] dd")].map((each) => each.textContent);
    return kind === "sample" ? `sample ${which.split(" of ")[0]}` : "a point of a walk";
  }

  async ask(what) {
    const { start, end } = this.ends;
    const settings = what === "path"
      ? { what, start: this.named(start.theta), end: this.named(end.theta), title: `From ${start.words} to ${end.words}` }
      : { what, start: this.named(this.explorer.rows[this.explorer.chosen]), sample: this.explorer.chosen };
    this.say("Asking the server.");
    const title = what === "path" ? settings.title : `Simulate sample ${this.explorer.chosen + 1}`;
    const answer = await fetch(this.page.dataset.next, {
      method: "POST",
      headers: { "X-CSRF-Token": csrf(), "Content-Type": "application/json" },
      body: JSON.stringify({ analysis: "explore", results: { posterior: this.page.dataset.posterior }, settings, title }),
    });
    const told = await answer.json();
    if (!answer.ok) return this.say(told.detail ?? "The server refused it.");
    return this.follow(told.id, true);
  }

  // A job that computes: what it finds is added, and shown where it was asked for here.
  async follow(job, asked) {
    for (;;) {
      const answer = await fetch(`/api/v1/jobs/${job}`).catch(() => null);
      const told = answer?.ok ? await answer.json() : {};
      if (ENDED.includes(told.state)) {
        if (told.state === "succeeded") this.add(await this.load(`/api/v1/jobs/${job}/files/explore.json`));
        if (asked) this.found(job, told);
        return;
      }
      if (asked) this.say(told.state === "running" ? "It is being computed." : "It waits for a worker.", job);
      await new Promise((go) => setTimeout(go, PAUSE));
    }
  }

  found(job, told) {
    if (told.state !== "succeeded") return this.say(told.reason || `The job has ${told.state}.`, job);
    this.say("Computed.", job);
    if (told.settings?.what === "path") {
      this.page.querySelector("[data-walks]").value = this.told.walks.length - 1;
      this.choose(0);
    }
    return null;
  }

  say(sentence, job) {
    const place = this.page.querySelector("[data-asked]");
    place.replaceChildren(`${sentence} `);
    if (job) place.append(element("a", { href: `/jobs/${job}` }, "Its job"));
  }
}
