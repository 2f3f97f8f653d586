/* The bar's small picture of the whole run, with the window on it, and the plot of the faults.
 *
 * Rules of this file:
 * - In the overview, dragging the window moves it; dragging beside it chooses a new one.
 * - A fault that was skipped is drawn as an outline only: it was not in force.
 */

const overview = {
  frame: byId("overview"),
  height: 40,
  drag: null,
  x(time) { return GUTTER.left + (time / view.full) * (this.width - GUTTER.left - GUTTER.right); },
  time(x) { return ((x - GUTTER.left) / (this.width - GUTTER.left - GUTTER.right)) * view.full; },
  base: null,
  over: null,

  start() {
    if (!this.frame) return;
    this.base = this.frame.querySelector(".base");
    this.over = this.frame.querySelector(".over");
    const at = (event) => event.clientX - this.base.getBoundingClientRect().left;
    this.frame.addEventListener("pointerdown", (event) => {
      const time = this.time(at(event));
      const inside = time >= view.from && time <= view.to && view.to - view.from < view.full;
      this.drag = inside ? { move: time - view.from } : { from: time };
      this.frame.setPointerCapture(event.pointerId);
    });
    this.frame.addEventListener("pointermove", (event) => {
      if (!this.drag) return;
      const time = this.time(at(event));
      if (this.drag.move !== undefined) view.set(time - this.drag.move, time - this.drag.move + view.to - view.from);
      else if (Math.abs(time - this.drag.from) > view.full / 200) view.set(Math.min(time, this.drag.from), Math.max(time, this.drag.from));
    });
    for (const name of ["pointerup", "pointercancel"]) this.frame.addEventListener(name, () => { this.drag = null; });
    this.frame.addEventListener("dblclick", () => view.set(0, view.full));
    view.listeners.push(() => this.drawWindow());
  },

  draw() {
    if (!this.frame) return;
    Plot.prototype.fit.call(this);
    const context = Plot.prototype.context.call(this, this.base);
    context.fillStyle = palette.sunken;
    context.fillRect(GUTTER.left, 0, this.width - GUTTER.left - GUTTER.right, this.height);
    for (const fault of data.faults) {
      if (fault.evidence === "skipped") continue;
      context.fillStyle = kindColour(fault.kind);
      context.globalAlpha = Number(palette["band-alpha"]) * 1.5;
      context.fillRect(this.x(fault.start_us), 0, Math.max(1, this.x(fault.stop_us) - this.x(fault.start_us)), this.height);
    }
    context.globalAlpha = 1;
    const { ok, fail, info, bin_ms: width } = data.rates;
    const most = Math.max(1, ...ok.map((count, bin) => count + fail[bin] + info[bin]));
    ok.forEach((count, bin) => {
      const x = this.x(bin * width * 1000);
      const wide = Math.max(1, this.x((bin + 1) * width * 1000) - x - 0.5);
      let y = this.height;
      for (const [number, colour] of [[count, palette.ok], [fail[bin], palette.fail], [info[bin], palette.info]]) {
        const high = (number / most) * (this.height - 6);
        context.fillStyle = colour;
        context.globalAlpha = 0.75;
        context.fillRect(x, y - high, wide, high);
        y -= high;
      }
    });
    context.globalAlpha = 1;
    context.fillStyle = palette.muted;
    context.textAlign = "right";
    context.fillText("whole run", GUTTER.left - 8, this.height / 2);
    this.drawWindow();
  },

  drawWindow() {
    if (!this.width) return;
    const context = Plot.prototype.context.call(this, this.over);
    const [from, to] = [this.x(view.from), Math.max(this.x(view.to), this.x(view.from) + 2)];
    context.fillStyle = palette.ground;
    context.globalAlpha = 0.72;
    context.fillRect(GUTTER.left, 0, from - GUTTER.left, this.height);
    context.fillRect(to, 0, this.width - GUTTER.right - to, this.height);
    context.globalAlpha = 1;
    context.strokeStyle = palette.accent;
    context.lineWidth = 2;
    context.strokeRect(from, 1, to - from, this.height - 2);
  },
};

function startFaults() {
  if (!document.querySelector('[data-plot="faults"]')) return;
  const kinds = [...new Set(data.faults.map((fault) => fault.kind))];
  const row = 24;
  const boxes = [];
  new Plot("faults", {
    height: kinds.length * row + GUTTER.top + GUTTER.bottom,
    draw(context, plot) {
      boxes.length = 0;
      kinds.forEach((kind, number) => scaleRow(context, plot, kind, plot.top + number * row, row));
      clip(context, plot);
      for (const fault of data.faults) {
        if (fault.stop_us < view.from || fault.start_us > view.to) continue;
        const next = data.faults.find((one) => one.kind === fault.kind && one.start_us > fault.start_us);
        const x = Math.max(plot.x(fault.start_us), plot.left);
        const wide = Math.max(2, Math.min(plot.x(fault.stop_us), plot.right) - x);
        const y = plot.top + kinds.indexOf(fault.kind) * row + 3;
        const room = Math.min(next ? plot.x(next.start_us) : plot.right, plot.right) - x - 14;
        drawFault(context, fault, x, y, wide, row - 6, room);
        boxes.push({ fault, x, y, wide, high: row - 6 });
      }
    },
    pick(x, y) {
      const box = boxes.find((one) => x >= one.x && x <= one.x + one.wide && y >= one.y && y <= one.y + one.high);
      if (!box) return null;
      const { fault } = box;
      const when = `${seconds(fault.start_us)} to ${seconds(fault.stop_us)}`;
      return { title: `${fault.name} (${fault.kind} #${fault.id})`, lines: [`on ${fault.targets || "nobody"}`, when, fault.evidence] };
    },
  });
}

function scaleRow(context, plot, label, y, high) {
  context.fillStyle = palette.muted;
  context.textAlign = "right";
  context.fillText(label.slice(0, 12), plot.left - 8, y + high / 2);
  line(context, plot.left, y + 0.5, plot.right, y + 0.5, { colour: palette.line });
}

/* `room` is how far its name may reach: over the gap until the next fault of its kind. */
function drawFault(context, fault, x, y, wide, high, room) {
  const colour = kindColour(fault.kind);
  context.fillStyle = colour;
  context.strokeStyle = colour;
  context.lineWidth = 1.5;
  if (fault.evidence === "installed") {
    context.globalAlpha = 0.22;
    context.fillRect(x, y, wide, high);
    context.globalAlpha = 1;
    context.fillRect(x, y, 3, high);
  } else {
    context.setLineDash(fault.evidence === "skipped" ? [2, 3] : [6, 3]);
    context.strokeRect(x + 0.75, y + 0.75, Math.max(1, wide - 1.5), high - 1.5);
    context.setLineDash([]);
  }
  const text = fault.evidence === "installed" ? fault.name : `${fault.name} (${fault.evidence})`;
  context.fillStyle = palette.text;
  context.textAlign = "left";
  if (context.measureText(text).width <= room) context.fillText(text, x + 8, y + high / 2);
  else if (context.measureText(fault.name).width <= room) context.fillText(fault.name, x + 8, y + high / 2);
}
