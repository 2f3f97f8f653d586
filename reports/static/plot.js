/* A plot: two canvases on the shared axis of time, with pointer, wheel and keys.
 *
 * Rules of this file:
 * - After its first time a plot draws only when it is in sight, once a frame, and only what is in
 *   the window.
 * - What follows the pointer is drawn on the upper canvas, so that it costs nothing below.
 * - The wheel belongs to the page until a plot has the focus or Ctrl is held.
 */

const plots = [];
const legends = new Map();
const PAPER_WIDTH = 760;
const FRAME_MAX = 620;
const GUTTER = { left: 76, right: 14, top: 6, bottom: 22 };

class Plot {
  constructor(name, { height, draw, pick = null, keys = null, axis = true }) {
    this.frame = document.querySelector(`[data-plot="${name}"]`);
    Object.assign(this, { name, height, drawing: draw, pick, keys, axis, dirty: true, seen: false, drag: null });
    this.base = this.frame.querySelector(".base");
    this.over = this.frame.querySelector(".over");
    // Before it is first drawn, too: a canvas without a height takes half of its width.
    this.resize(height);
    this.listen();
    plots.push(this);
  }

  /* Another height, drawn when it is next in sight. */
  resize(height) {
    this.height = height;
    for (const canvas of [this.base, this.over]) canvas.style.height = `${height}px`;
    this.frame.style.minHeight = `${Math.min(height, FRAME_MAX)}px`;
    this.dirty = true;
  }

  get left() { return GUTTER.left; }
  get right() { return this.width - GUTTER.right; }
  get top() { return GUTTER.top; }
  get bottom() { return this.height - (this.axis ? GUTTER.bottom : 4); }
  x(time) { return this.left + ((time - view.from) / (view.to - view.from)) * (this.right - this.left); }
  time(x) { return view.from + ((x - this.left) / (this.right - this.left)) * (view.to - view.from); }

  fit() {
    // Paper has a width of its own: drawn for it, text keeps its shape.
    const printing = document.documentElement.classList.contains("printing");
    const width = printing ? PAPER_WIDTH : this.frame.clientWidth;
    const ratio = printing ? 2 : Math.min(window.devicePixelRatio || 1, 2);
    for (const canvas of [this.base, this.over]) {
      if (this.width !== width || canvas.height !== Math.round(this.height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(this.height * ratio);
        canvas.style.height = `${this.height}px`;
      }
    }
    this.width = width;
    this.ratio = ratio;
  }

  context(canvas) {
    const context = canvas.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    return context;
  }

  draw() {
    this.fit();
    this.dirty = false;
    if (this.width <= this.left + GUTTER.right + 20) return;
    const context = this.context(this.base);
    drawBands(context, this);
    if (this.axis) drawTimeAxis(context, this);
    context.save();
    this.drawing(context, this);
    context.restore();
    this.follow();
  }

  /* Draw what follows the pointer: the line through all plots, and the stretch being chosen. */
  follow() {
    if (!this.width) return;
    const context = this.context(this.over);
    if (this.drag && this.drag.moved) {
      context.fillStyle = palette.accent;
      context.globalAlpha = 0.16;
      context.fillRect(Math.min(this.drag.x, this.drag.now), 0, Math.abs(this.drag.now - this.drag.x), this.bottom);
      context.globalAlpha = 1;
    }
    if (view.pointer !== null && view.pointer >= view.from && view.pointer <= view.to) {
      const x = Math.round(this.x(view.pointer)) + 0.5;
      line(context, x, 0, x, this.bottom, { colour: palette.muted, dash: [2, 3] });
    }
    if (this.mark) this.mark(context, this);
  }

  listen() {
    const frame = this.frame;
    const at = (event) => {
      const box = this.base.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    frame.addEventListener("pointermove", (event) => this.moved(event, at(event)));
    frame.addEventListener("pointerleave", () => { if (!this.drag) { view.point(null); hideTip(); } });
    frame.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch") return;
      this.drag = { x: at(event).x, now: at(event).x, moved: false };
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointerup", (event) => this.released(at(event)));
    frame.addEventListener("pointercancel", () => { this.drag = null; this.follow(); });
    frame.addEventListener("dblclick", () => view.set(0, view.full));
    frame.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== frame) return;
      event.preventDefault();
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (sideways || event.shiftKey) view.pan(Math.sign(event.deltaX || event.deltaY) * 0.1);
      else view.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.time(at(event).x));
    }, { passive: false });
    frame.addEventListener("keydown", (event) => this.pressed(event));
  }

  moved(event, { x, y }) {
    if (this.drag) {
      this.drag.now = Math.min(Math.max(x, this.left), this.right);
      this.drag.moved = this.drag.moved || Math.abs(x - this.drag.x) > 5;
      hideTip();
    }
    const inside = x >= this.left && x <= this.right;
    view.point(inside ? this.time(x) : null);
    const found = this.pick && !(this.drag && this.drag.moved) ? this.pick(x, y, this) : null;
    this.follow();
    if (found) showTip(event.clientX, event.clientY, found.title, found.lines);
    else hideTip();
  }

  released({ x, y }) {
    const drag = this.drag;
    this.drag = null;
    if (drag && drag.moved) view.set(this.time(Math.min(drag.x, drag.now)), this.time(Math.max(drag.x, drag.now)));
    else if (drag && this.pick) this.pick(x, y, this, true);
    this.follow();
  }

  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = {
      "+": () => view.zoom(0.6), "=": () => view.zoom(0.6), "-": () => view.zoom(1 / 0.6),
      0: () => view.set(0, view.full), Home: () => view.pan(-1e9), End: () => view.pan(1e9),
    };
    let act = steps[event.key];
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const sign = event.key === "ArrowLeft" ? -1 : 1;
      if (event.shiftKey || !this.keys) act = () => view.pan(sign * 0.2);
    }
    if (!act && this.keys) act = this.keys(event.key);
    if (!act) return;
    event.preventDefault();
    act();
  }
}

function line(context, x1, y1, x2, y2, { colour, width = 1, dash = [] }) {
  context.beginPath();
  context.setLineDash(dash);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.moveTo(x1, y1);
  context.lineTo(x2, y2);
  context.stroke();
  context.setLineDash([]);
}

function drawBands(context, plot) {
  if (plot.name === "faults") return;
  context.globalAlpha = Number(palette["band-alpha"]);
  for (const fault of data.faults) {
    if (fault.evidence === "skipped" || fault.stop_us < view.from || fault.start_us > view.to) continue;
    const x = Math.max(plot.x(fault.start_us), plot.left);
    context.fillStyle = kindColour(fault.kind);
    context.fillRect(x, 0, Math.max(1, Math.min(plot.x(fault.stop_us), plot.right) - x), plot.bottom);
  }
  context.globalAlpha = 1;
}

/* Round steps: 1, 2 or 5 times a power of ten. */
function roundStep(span, count) {
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((one) => one * power >= raw);
  return step * power;
}

function drawTimeAxis(context, plot) {
  const step = roundStep(view.to - view.from, (plot.right - plot.left) / 90);
  const digits = Math.max(0, Math.ceil(-Math.log10(step / 1e6) - 1e-9));
  line(context, plot.left, plot.bottom + 0.5, plot.right, plot.bottom + 0.5, { colour: palette["line-strong"] });
  context.fillStyle = palette.muted;
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    const x = Math.round(plot.x(time)) + 0.5;
    line(context, x, plot.bottom, x, plot.bottom + 4, { colour: palette["line-strong"] });
    context.textAlign = x > plot.right - 20 ? "right" : "center";
    context.fillText(`${(time / 1e6).toFixed(digits)} s`, x > plot.right - 20 ? plot.right : x, plot.bottom + 13);
  }
}

/* A horizontal line of the scale with its label in the gutter. */
function scaleLine(context, plot, y, label) {
  line(context, plot.left, Math.round(y) + 0.5, plot.right, Math.round(y) + 0.5, { colour: palette.line });
  context.fillStyle = palette.muted;
  context.textAlign = "right";
  context.fillText(label, plot.left - 8, y);
}

function clip(context, plot) {
  context.beginPath();
  context.rect(plot.left, 0, plot.right - plot.left, plot.bottom + 1);
  context.clip();
}

function shape(context, kind, x, y, size) {
  context.beginPath();
  if (kind === "circle") context.arc(x, y, size, 0, 7);
  else if (kind === "square") context.rect(x - size, y - size, 2 * size, 2 * size);
  else if (kind === "triangle") { context.moveTo(x, y - size * 1.2); context.lineTo(x + size * 1.2, y + size); context.lineTo(x - size * 1.2, y + size); context.closePath(); }
  else if (kind === "diamond") { context.moveTo(x, y - size * 1.4); context.lineTo(x + size * 1.4, y); context.lineTo(x, y + size * 1.4); context.lineTo(x - size * 1.4, y); context.closePath(); }
  else { context.moveTo(x - size, y - size); context.lineTo(x + size, y + size); context.moveTo(x + size, y - size); context.lineTo(x - size, y + size); }
}

/* A legend entry draws its sign with the same strokes as the plot. */
function legend(name, entries) {
  legends.set(name, entries);
  drawLegend(name, entries);
}

/* Again: the colours have changed. */
function drawLegends() {
  for (const [name, entries] of legends) drawLegend(name, entries);
}

function drawLegend(name, entries) {
  const place = byId(`legend-${name}`);
  if (!place) return;
  place.replaceChildren();
  for (const [text, draw] of entries) {
    const item = element("span", undefined, place);
    const canvas = element("canvas", undefined, item);
    canvas.width = 44;
    canvas.height = 24;
    canvas.setAttribute("aria-hidden", "true");
    const context = canvas.getContext("2d");
    context.scale(2, 2);
    draw(context);
    item.append(text);
  }
}

function showTip(x, y, title, lines) {
  const tip = byId("tip");
  tip.replaceChildren();
  element("b", title, tip);
  for (const text of lines) element("div", text, tip);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 16, window.innerWidth - box.width - 8))}px`;
  tip.style.top = `${y + 18 + box.height > window.innerHeight ? Math.max(4, y - box.height - 12) : y + 18}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}
