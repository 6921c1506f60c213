// The labelling page: which frame, animal and keypoint; keys and buttons; what is kept in this browser.

import { element, say } from "./common.js";
import { Labels, lines, pairs } from "./label_data.js";
import { download, fileName, save } from "./label_files.js";
import { View } from "./label_view.js";

class Page {
  constructor(place) {
    this.place = place;
    this.key = `lanternfish labels ${place.dataset.job}`;
    this.canvas = this.find("canvas");
    [this.at, this.animal, this.point] = [0, 0, 0];
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
    this.view = new View(this.canvas, this, this.index.video);
    this.listen();
    this.skeletonText();
    await this.show();
  }

  get frame() {
    return this.index.frames[this.at];
  }

  get skeleton() {
    return this.labels.now.skeleton;
  }

  get name() {
    return fileName(this.index.video.name);
  }

  get animals() {
    return this.labels.animals(this.frame.frame);
  }

  listen() {
    const verbs = {
      before: () => this.go(this.at - 1), after: () => this.go(this.at + 1),
      closer: () => this.view.zoomBy(1.5, this.cross), farther: () => this.view.zoomBy(1 / 1.5, this.cross),
      undo: () => this.undo(), redo: () => this.redo(), add: () => this.add(), remove: () => this.remove(),
      save: () => this.save(), download: () => download(this.labels, this.name), skeleton: () => this.reshape(),
    };
    for (const button of this.place.querySelectorAll("[data-do]"))
      button.addEventListener("click", () => verbs[button.dataset.do]());
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.find("empty").addEventListener("change", (event) => this.empty(event.target.checked));
    this.find("open").addEventListener("change", (event) => this.open(event.target));
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
          "+": () => this.view.zoomBy(1.5, this.cross), "=": () => this.view.zoomBy(1.5, this.cross), "-": () => this.view.zoomBy(1 / 1.5, this.cross),
        };
    if (moves[event.key]) this.move(moves[event.key]);
    else if (verbs[key]) verbs[key]();
    else return;
    event.preventDefault();
  }

  move([dx, dy]) {
    this.cross = this.inside([this.cross[0] + dx, this.cross[1] + dy]);
    this.view.follow(this.cross);
    this.tell(`${this.cross[0].toFixed(2)}, ${this.cross[1].toFixed(2)} px`);
  }

  inside([x, y]) {
    const { width, height } = this.index.video;
    return [Math.min(Math.max(x, 0), width - 1), Math.min(Math.max(y, 0), height - 1)];
  }

  set(place) {
    if (!this.animals.length) this.add();
    this.put(this.inside(place).map((value) => Math.round(value * 100) / 100));
    const { keypoints } = this.skeleton;
    if (this.point < keypoints.length - 1) this.choose(this.animal, this.point + 1);
  }

  put(value) {
    if (!this.animals[this.animal]) return;
    this.labels.change((now) => {
      now.frames[this.frame.frame][this.animal].points[this.point] = value;
    });
    this.changed();
    this.tell(`${this.skeleton.keypoints[this.point]} ${value ? `at ${value.join(", ")}` : "is not seen"}.`);
  }

  add() {
    const count = this.skeleton.keypoints.length;
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
    const { keypoints } = this.skeleton;
    this.animal = Math.min(Math.max(animal, 0), Math.max(0, this.animals.length - 1));
    this.point = (point + keypoints.length) % keypoints.length;
    const there = this.animals[this.animal]?.points[this.point];
    if (there) this.cross = [...there];
    this.tell(`Next: ${keypoints[this.point]} of animal ${this.animal + 1}.`);
    this.lists();
    this.view.draw();
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
    this.view.image = image;
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
    this.view.draw();
  }

  lists() {
    const { keypoints } = this.skeleton;
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
    const { keypoints, edges, symmetric } = this.skeleton;
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

  async save() {
    try {
      const dataset = await save(this.labels, this.name, this.place.dataset.group);
      const start = `/analyses/pose/new?${new URLSearchParams({ data: this.place.dataset.video, labels: dataset })}`;
      this.find("saved").replaceChildren(
        "Saved as ", element("a", { href: `/data/${dataset}` }, this.name), ". ", element("a", { href: start }, "Train with it"),
      );
      this.tell("The labels are saved.");
    } catch (error) {
      this.tell(`${error.message} The labels are kept in this browser: try again, or download them.`);
    }
  }

  tell(sentence) {
    this.find("label-words").textContent = sentence;
    say(sentence);
  }
}

const place = document.querySelector("[data-label]");
if (place) {
  const page = new Page(place);
  page.begin().catch((error) => page.tell(error.message));
}
