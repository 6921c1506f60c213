// Labels of keypoints on frames: kept in this browser as one works, saved as data of the group.
// The file is the one that lanternfish/analyses/pose/labels.py describes.

import { csrf, element, say } from "./common.js";

const FORMAT = "lanternfish pose labels 1";
const COLOURS = ["#3fa7ff", "#ff9d3f", "#5fdc8a", "#ff6f91", "#c79bff", "#ffe066"];
const MOST_UNDO = 200;
const copy = (value) => JSON.parse(JSON.stringify(value));

// The labels themselves, with undo; knows nothing of the page.
export class Labels {
  constructor(index) {
    this.index = index;
    this.past = [];
    this.future = [];
    this.now = { skeleton: { keypoints: ["nose", "tail"], edges: [[0, 1]], symmetric: [] }, frames: {} };
  }

  change(make) {
    this.past.push(copy(this.now));
    if (this.past.length > MOST_UNDO) this.past.shift();
    this.future = [];
    make(this.now);
  }

  undo(from = this.past, to = this.future) {
    if (!from.length) return false;
    to.push(this.now);
    this.now = from.pop();
    return true;
  }

  animals(frame) {
    return this.now.frames[frame] ?? [];
  }

  // A new skeleton keeps the points of keypoints that keep their name.
  reshape(skeleton) {
    const before = this.now.skeleton.keypoints;
    this.change((now) => {
      for (const animals of Object.values(now.frames))
        for (const animal of animals)
          animal.points = skeleton.keypoints.map((name) => animal.points[before.indexOf(name)] ?? null);
      now.skeleton = skeleton;
    });
  }

  plain() {
    const frames = Object.entries(this.now.frames)
      .map(([frame, animals]) => ({ frame: Number(frame), animals }))
      .sort((a, b) => a.frame - b.frame);
    return { format: FORMAT, video: this.index.video, skeleton: this.now.skeleton, frames };
  }

  load(told) {
    if (told?.format !== FORMAT) throw new Error(`Expected a file of labels ("format": "${FORMAT}").`);
    const count = told.skeleton.keypoints.length;
    const wrong = told.frames.find((each) => each.animals.some((animal) => animal.points.length !== count));
    if (wrong) throw new Error(`Expected ${count} points for each animal; frame ${wrong.frame} has others.`);
    this.change((now) => {
      now.skeleton = { edges: [], symmetric: [], ...told.skeleton };
      now.frames = Object.fromEntries(told.frames.map((each) => [each.frame, each.animals]));
    });
  }
}

// "a-b" lines as pairs of indices.
export function pairs(text, names) {
  return lines(text).map((line) => {
    for (let cut = line.indexOf("-"); cut >= 0; cut = line.indexOf("-", cut + 1)) {
      const pair = [names.indexOf(line.slice(0, cut).trim()), names.indexOf(line.slice(cut + 1).trim())];
      if (!pair.includes(-1) && pair[0] !== pair[1]) return pair;
    }
    throw new Error(`Expected two keypoints, as ${names[0]}-${names[1] ?? names[0]}; got ${line}.`);
  });
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

class Page {
  constructor(place) {
    this.place = place;
    this.key = `lanternfish labels ${place.dataset.job}`;
    this.canvas = this.find("canvas");
    [this.at, this.animal, this.point, this.zoom] = [0, 0, 0, 1];
    this.images = new Map();
  }

  find(name) {
    return this.place.querySelector(`[data-${name}]`);
  }

  async begin() {
    const answer = await fetch(this.place.dataset.label + this.place.dataset.index);
    if (!answer.ok) throw new Error("The list of frames could not be loaded.");
    this.index = await answer.json();
    this.labels = new Labels(this.index);
    const kept = localStorage.getItem(this.key);
    if (kept) this.labels.now = JSON.parse(kept);
    const { width, height } = this.index.video;
    this.cross = [width / 2, height / 2];
    this.centre = [width / 2, height / 2];
    this.listen();
    this.skeletonText();
    await this.show();
  }

  get frame() {
    return this.index.frames[this.at];
  }

  get animals() {
    return this.labels.animals(this.frame.frame);
  }

  listen() {
    const verbs = {
      before: () => this.go(this.at - 1), after: () => this.go(this.at + 1),
      closer: () => this.zoomBy(1.5), farther: () => this.zoomBy(1 / 1.5),
      undo: () => this.undo(), redo: () => this.redo(), add: () => this.add(), remove: () => this.remove(),
      save: () => this.save(), download: () => this.download(), skeleton: () => this.reshape(),
    };
    for (const button of this.place.querySelectorAll("[data-do]"))
      button.addEventListener("click", () => verbs[button.dataset.do]());
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("pointerdown", (event) => this.touch(event));
    this.canvas.addEventListener("pointermove", (event) => this.drag(event));
    this.canvas.addEventListener("pointerup", () => this.drop());
    this.canvas.addEventListener("pointercancel", () => this.drop());
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, this.under(event));
    }, { passive: false });
    this.find("empty").addEventListener("change", (event) => this.empty(event.target.checked));
    this.find("open").addEventListener("change", (event) => this.open(event.target));
    window.addEventListener("resize", () => this.draw());
  }

  press(event) {
    const step = event.shiftKey ? 10 : event.ctrlKey ? 0.25 : 1;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const held = event.ctrlKey || event.metaKey;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const verbs = held
      ? { z: () => (event.shiftKey ? this.redo() : this.undo()), y: () => this.redo() }
      : {
          Enter: () => this.set(this.cross), " ": () => this.set(this.cross),
          n: () => this.choose(this.animal, this.point + 1), p: () => this.choose(this.animal, this.point - 1),
          ".": () => this.choose(this.animal + 1, 0), ",": () => this.choose(this.animal - 1, 0),
          a: () => this.add(), Delete: () => this.put(null), Backspace: () => this.put(null),
          "[": () => this.go(this.at - 1), "]": () => this.go(this.at + 1),
          "+": () => this.zoomBy(1.5, this.cross), "=": () => this.zoomBy(1.5, this.cross), "-": () => this.zoomBy(1 / 1.5, this.cross),
        };
    if (moves[event.key]) this.move(moves[event.key]);
    else if (verbs[key]) verbs[key]();
    else return;
    event.preventDefault();
  }

  move([dx, dy]) {
    this.cross = this.inside([this.cross[0] + dx, this.cross[1] + dy]);
    if (this.zoom > 1) this.centre = [...this.cross];
    this.draw();
    this.tell(`${this.cross[0].toFixed(2)}, ${this.cross[1].toFixed(2)} px`);
  }

  inside([x, y]) {
    const { width, height } = this.index.video;
    return [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(y, 0), height - 1)];
  }

  set(place) {
    if (!this.animals.length) this.add();
    this.put(this.inside(place).map((value) => Math.round(value * 100) / 100));
    const { keypoints } = this.labels.now.skeleton;
    if (this.point < keypoints.length - 1) this.choose(this.animal, this.point + 1);
  }

  put(value) {
    if (!this.animals[this.animal]) return;
    this.labels.change((now) => {
      now.frames[this.frame.frame][this.animal].points[this.point] = value;
    });
    this.changed();
    this.tell(`${this.labels.now.skeleton.keypoints[this.point]} ${value ? `at ${value.join(", ")}` : "is not seen"}.`);
  }

  add() {
    const count = this.labels.now.skeleton.keypoints.length;
    this.labels.change((now) => {
      (now.frames[this.frame.frame] ??= []).push({ points: Array(count).fill(null) });
    });
    this.animal = this.animals.length - 1;
    this.point = 0;
    this.changed();
    this.tell(`Animal ${this.animal + 1}.`);
  }

  remove() {
    if (!this.animals.length) return;
    this.labels.change((now) => {
      const animals = now.frames[this.frame.frame];
      animals.splice(this.animal, 1);
      if (!animals.length) delete now.frames[this.frame.frame];
    });
    this.animal = Math.max(0, this.animal - 1);
    this.changed();
  }

  empty(none) {
    if (none && this.animals.length) {
      this.tell("Remove its animals first.");
      this.find("empty").checked = false;
      return;
    }
    this.labels.change((now) => {
      if (none) now.frames[this.frame.frame] = [];
      else delete now.frames[this.frame.frame];
    });
    this.changed();
  }

  undo() {
    if (this.labels.undo()) this.restored("Undone.");
  }

  redo() {
    if (this.labels.undo(this.labels.future, this.labels.past)) this.restored("Done again.");
  }

  restored(sentence) {
    this.skeletonText();
    this.choose(this.animal, this.point);
    this.changed();
    this.tell(sentence);
  }

  choose(animal, point) {
    const { keypoints } = this.labels.now.skeleton;
    this.animal = Math.min(Math.max(animal, 0), Math.max(0, this.animals.length - 1));
    this.point = (point + keypoints.length) % keypoints.length;
    const there = this.animals[this.animal]?.points[this.point];
    if (there) this.cross = [...there];
    this.tell(`Next: ${keypoints[this.point]} of animal ${this.animal + 1}.`);
    this.lists();
    this.draw();
  }

  async go(to) {
    if (to < 0 || to >= this.index.frames.length) return;
    this.at = to;
    this.animal = this.point = 0;
    await this.show();
  }

  async show() {
    const frame = this.frame;
    if (!this.images.has(frame.path)) {
      const image = new Image();
      image.src = `${this.place.dataset.label}${frame.path.split("/").map(encodeURIComponent).join("/")}?shown=true`;
      this.images.set(frame.path, image);
    }
    const image = this.images.get(frame.path);
    await image.decode().catch(() => {
      throw new Error(`Frame ${frame.frame} could not be loaded.`);
    });
    if (image !== this.images.get(this.frame.path)) return; // another frame was asked for since
    this.image = image;
    this.choose(0, 0);
  }

  changed() {
    try {
      localStorage.setItem(this.key, JSON.stringify(this.labels.now));
    } catch {
      this.tell("This browser has no room to keep the labels: save or download them.");
    }
    this.find("saved").textContent = "";
    this.lists();
    this.draw();
  }

  // Pixels of the frame under the pointer; (0, 0) is the centre of the upper left one.
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.scale();
    const [left, top] = this.corner();
    return [left + (event.clientX - box.left) / scale - 0.5, top + (event.clientY - box.top) / scale - 0.5];
  }

  scale() {
    return (this.canvas.clientWidth / this.index.video.width) * this.zoom;
  }

  corner() {
    const { width, height } = this.index.video;
    const limit = (middle, whole) => {
      const half = whole / this.zoom / 2;
      return Math.min(Math.max(middle, half), whole - half) - half;
    };
    return [limit(this.centre[0], width), limit(this.centre[1], height)];
  }

  zoomBy(factor, about = this.cross) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), 16);
    this.centre = [...about];
    this.draw();
  }

  touch(event) {
    this.canvas.focus();
    const place = this.under(event);
    const near = 9 / this.scale();
    for (const [a, animal] of this.animals.entries())
      for (const [k, point] of animal.points.entries())
        if (point && Math.hypot(point[0] - place[0], point[1] - place[1]) < near) {
          this.choose(a, k);
          this.dragged = null;
          this.canvas.setPointerCapture(event.pointerId);
          this.dragging = true;
          return;
        }
    this.cross = this.inside(place);
    this.set(place);
  }

  drag(event) {
    if (!this.dragging) return;
    this.dragged = this.inside(this.under(event)).map((value) => Math.round(value * 100) / 100);
    this.draw();
  }

  drop() {
    if (this.dragging && this.dragged) this.put(this.dragged);
    this.dragging = false;
    this.dragged = null;
    this.draw();
  }

  draw() {
    if (!this.image) return;
    const { width, height } = this.index.video;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = this.canvas.clientWidth * ratio;
    this.canvas.height = (this.canvas.width * height) / width;
    const draw = this.canvas.getContext("2d");
    const scale = this.scale() * ratio;
    const [left, top] = this.corner();
    draw.imageSmoothingEnabled = scale < 3;
    draw.setTransform(scale, 0, 0, scale, -left * scale, -top * scale);
    draw.drawImage(this.image, 0, 0);
    const unit = ratio / scale;
    this.animals.forEach((animal, a) => this.drawAnimal(draw, animal, a, unit));
    draw.translate(0.5, 0.5);
    draw.strokeStyle = "#ffffff";
    draw.lineWidth = unit;
    const [x, y] = this.cross;
    draw.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      draw.moveTo(x + dx * 3 * unit, y + dy * 3 * unit);
      draw.lineTo(x + dx * 12 * unit, y + dy * 12 * unit);
    }
    draw.stroke();
  }

  drawAnimal(draw, animal, a, unit) {
    const points = animal.points.map((point, k) => (this.dragged && a === this.animal && k === this.point ? this.dragged : point));
    draw.save();
    draw.translate(0.5, 0.5);
    draw.strokeStyle = draw.fillStyle = COLOURS[a % COLOURS.length];
    draw.lineWidth = 1.5 * unit;
    for (const [from, to] of this.labels.now.skeleton.edges) {
      if (!points[from] || !points[to]) continue;
      draw.beginPath();
      draw.moveTo(...points[from]);
      draw.lineTo(...points[to]);
      draw.stroke();
    }
    points.forEach((point, k) => {
      if (!point) return;
      draw.beginPath();
      draw.arc(...point, (a === this.animal && k === this.point ? 5 : 3) * unit, 0, 7);
      draw.fill();
    });
    draw.restore();
  }

  lists() {
    const { keypoints } = this.labels.now.skeleton;
    const choice = (text, chosen, act) => {
      const button = element("button", { type: "button", class: "small plain", "aria-pressed": String(chosen) }, text);
      button.addEventListener("click", act);
      return element("li", {}, button);
    };
    const set = (animal) => animal.points.filter(Boolean).length;
    this.find("animals").replaceChildren(
      ...this.animals.map((animal, a) => choice(`Animal ${a + 1}: ${set(animal)} of ${keypoints.length}`, a === this.animal, () => this.choose(a, 0))),
    );
    this.find("points").replaceChildren(
      ...keypoints.map((name, k) => {
        const there = this.animals[this.animal]?.points[k];
        return choice(`${name}${there ? ` ${there.map((v) => v.toFixed(1)).join(", ")}` : ""}`, k === this.point, () => this.choose(this.animal, k));
      }),
    );
    const known = this.labels.now.frames[this.frame.frame];
    this.find("empty").checked = Boolean(known) && !known.length;
    const done = this.index.frames.filter((each) => this.labels.animals(each.frame).some((animal) => set(animal))).length;
    this.find("where").textContent = `Frame ${this.frame.frame} (${this.at + 1} of ${this.index.frames.length}), ${done} labelled`;
  }

  skeletonText() {
    const { keypoints, edges, symmetric } = this.labels.now.skeleton;
    const text = (some) => some.map(([a, b]) => `${keypoints[a]}-${keypoints[b]}`).join("\n");
    this.find("names").value = keypoints.join("\n");
    this.find("edges").value = text(edges);
    this.find("pairs-text").value = text(symmetric);
  }

  reshape() {
    const problem = this.find("skeleton-problem");
    try {
      const keypoints = lines(this.find("names").value);
      if (!keypoints.length || new Set(keypoints).size < keypoints.length) throw new Error("Expected one keypoint or more, with different names.");
      const edges = pairs(this.find("edges").value, keypoints);
      this.labels.reshape({ keypoints, edges, symmetric: pairs(this.find("pairs-text").value, keypoints) });
      problem.textContent = "";
      this.choose(this.animal, 0);
      this.changed();
    } catch (error) {
      problem.textContent = error.message;
    }
  }

  async open(input) {
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      this.labels.load(JSON.parse(await file.text()));
      this.restored(`The labels of ${file.name} are open.`);
    } catch (error) {
      this.tell(error.message);
    }
  }

  blob() {
    return new Blob([`${JSON.stringify(this.labels.plain())}\n`], { type: "application/json" });
  }

  get name() {
    return `${this.index.video.name.replace(/\.[^.]*$/, "")} labels.json`;
  }

  download() {
    const link = element("a", { href: URL.createObjectURL(this.blob()), download: this.name });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // One resumable upload in one piece, as the pages of data do it in many.
  async save() {
    const body = this.blob();
    const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
    const meta = { filename: this.name, filetype: "application/json", group: this.place.dataset.group };
    const heads = { "Tus-Resumable": "1.0.0", "X-CSRF-Token": csrf() };
    try {
      const made = await ask("POST", "/api/v1/uploads", {
        ...heads,
        "Upload-Length": String(body.size),
        "Upload-Metadata": Object.entries(meta).map(([key, text]) => `${key} ${encode(text)}`).join(","),
      });
      const address = made.headers.get("Location");
      await ask("PATCH", address, { ...heads, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream" }, body);
      const dataset = await this.checked(address);
      const start = `/analyses/pose/new?${new URLSearchParams({ data: this.place.dataset.video, labels: dataset.id ?? dataset })}`;
      this.find("saved").replaceChildren(
        "Saved as ", element("a", { href: `/data/${dataset.id ?? dataset}` }, this.name), ". ", element("a", { href: start }, "Train with it"),
      );
      this.tell("The labels are saved.");
    } catch (error) {
      this.tell(`${error.message} The labels are kept in this browser: try again, or download them.`);
    }
  }

  async checked(address) {
    for (let i = 0; i < 400; i += 1) {
      const told = await (await ask("GET", address, { Accept: "application/json" })).json();
      if (told.dataset) return told.dataset;
      if (told.problem) throw new Error(told.problem);
      await new Promise((done) => setTimeout(done, 250));
    }
    throw new Error("The server did not finish in time.");
  }

  tell(sentence) {
    this.find("label-words").textContent = sentence;
    say(sentence);
  }
}

async function ask(method, address, headers, body) {
  const answer = await fetch(address, { method, headers, body });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.detail || `The server answered ${answer.status}.`);
}

const place = document.querySelector("[data-label]");
if (place) {
  const page = new Page(place);
  page.begin().catch((error) => page.tell(error.message));
}
