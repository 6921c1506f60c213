// A frame and its labels on the canvas: zoom, drawing, and what the pointer does.

const COLOURS = ["#3fa7ff", "#ff9d3f", "#5fdc8a", "#ff6f91", "#c79bff", "#ffe066"];

export class View {
  // `page` tells which animals, skeleton, keypoint and cross to draw, and is told where points go.
  constructor(canvas, page, size) {
    this.canvas = canvas;
    this.page = page;
    this.size = size;
    this.zoom = 1;
    this.centre = [size.width / 2, size.height / 2];
    this.image = null;
    this.dragging = false;
    this.dragged = null;
    canvas.addEventListener("pointerdown", (event) => this.touch(event));
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    canvas.addEventListener("pointerup", () => this.drop());
    canvas.addEventListener("pointercancel", () => this.drop());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, this.under(event));
    }, { passive: false });
    window.addEventListener("resize", () => this.draw());
  }

  follow(place) {
    if (this.zoom > 1) this.centre = [...place];
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
    return (this.canvas.clientWidth / this.size.width) * this.zoom;
  }

  corner() {
    const { width, height } = this.size;
    const limit = (middle, whole) => {
      const half = whole / this.zoom / 2;
      return Math.min(Math.max(middle, half), whole - half) - half;
    };
    return [limit(this.centre[0], width), limit(this.centre[1], height)];
  }

  zoomBy(factor, about) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), 16);
    this.centre = [...about];
    this.draw();
  }

  touch(event) {
    this.canvas.focus();
    const place = this.under(event);
    const near = 9 / this.scale();
    for (const [a, animal] of this.page.animals.entries())
      for (const [k, point] of animal.points.entries())
        if (point && Math.hypot(point[0] - place[0], point[1] - place[1]) < near) {
          this.page.choose(a, k);
          this.dragged = null;
          this.canvas.setPointerCapture(event.pointerId);
          this.dragging = true;
          return;
        }
    this.page.cross = this.page.inside(place);
    this.page.set(place);
  }

  drag(event) {
    if (!this.dragging) return;
    this.dragged = this.page.inside(this.under(event)).map((value) => Math.round(value * 100) / 100);
    this.draw();
  }

  drop() {
    if (this.dragging && this.dragged) this.page.put(this.dragged);
    this.dragging = false;
    this.dragged = null;
    this.draw();
  }

  draw() {
    if (!this.image) return;
    const { width, height } = this.size;
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
    this.page.animals.forEach((animal, a) => this.drawAnimal(draw, animal, a, unit));
    draw.translate(0.5, 0.5);
    draw.strokeStyle = "#ffffff";
    draw.lineWidth = unit;
    const [x, y] = this.page.cross;
    draw.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      draw.moveTo(x + dx * 3 * unit, y + dy * 3 * unit);
      draw.lineTo(x + dx * 12 * unit, y + dy * 12 * unit);
    }
    draw.stroke();
  }

  drawAnimal(draw, animal, a, unit) {
    const points = animal.points.map((point, k) => (this.dragged && a === this.page.animal && k === this.page.point ? this.dragged : point));
    draw.save();
    draw.translate(0.5, 0.5);
    draw.strokeStyle = draw.fillStyle = COLOURS[a % COLOURS.length];
    draw.lineWidth = 1.5 * unit;
    for (const [from, to] of this.page.skeleton.edges) {
      if (!points[from] || !points[to]) continue;
      draw.beginPath();
      draw.moveTo(...points[from]);
      draw.lineTo(...points[to]);
      draw.stroke();
    }
    points.forEach((point, k) => {
      if (!point) return;
      draw.beginPath();
      draw.arc(...point, (a === this.page.animal && k === this.page.point ? 5 : 3) * unit, 0, 7);
      draw.fill();
    });
    draw.restore();
  }
}
