// Labels of keypoints as data, with undo; knows nothing of the page.
// The file is the one that lanternfish/analyses/pose/labels.py describes.

const FORMAT = "lanternfish pose labels 1";
const MOST_UNDO = 200;
const copy = (value) => JSON.parse(JSON.stringify(value));

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

export const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
