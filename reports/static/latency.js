/* Latency: a mark for each operation, and quantiles over time. Both on a logarithmic scale.
 *
 * Rules of this file:
 * - Outcomes differ in shape: ok is a dot, fail a cross, info a triangle.
 * - A bin without acknowledged operations breaks the line: nothing is drawn where nothing is known.
 */

const LATENCY_MIN_MS = 0.05;
/* Marks on one pixel: a few darken it, more than these would only cost time. */
const CROWD_MAX = 3;
const MARKS = { ok: "circle", fail: "cross", info: "triangle" };

const scale = (() => {
  let most = 1;
  for (let n = 0; n < operations.count; n += 1) {
    if (!operations.open[n]) most = Math.max(most, took(n));
  }
  let least = most;
  for (let n = 0; n < operations.count; n += 1) {
    least = Math.min(least, Math.max(LATENCY_MIN_MS, took(n)));
  }
  const low = Math.log10(least) - 0.08;
  const high = Math.log10(most) + 0.12;
  const y = (plot, ms) => plot.bottom - ((Math.log10(Math.max(ms, LATENCY_MIN_MS)) - low) / (high - low)) * (plot.bottom - plot.top);
  return { low, high, y };
})();

function drawScale(context, plot) {
  for (let power = Math.floor(scale.low); power <= scale.high; power += 1) {
    for (const factor of scale.high - scale.low < 2.2 ? [1, 2, 5] : [1]) {
      const ms = factor * 10 ** power;
      const y = scale.y(plot, ms);
      if (y > plot.bottom - 2 || y < plot.top) continue;
      scaleLine(context, plot, y, ms >= 1000 ? `${ms / 1000} s` : `${Number(ms.toPrecision(1))} ms`);
    }
  }
}

function drawMark(context, type, x, y, size = 2) {
  context.fillStyle = palette[type];
  context.strokeStyle = palette[type];
  context.lineWidth = 1.3;
  shape(context, MARKS[type] || "circle", x, y, type === "ok" ? size * 0.8 : size * 1.3);
  if (type === "fail") context.stroke();
  else context.fill();
}

function startLatency() {
  if (!document.querySelector('[data-plot="latency"]')) return;
  const plot = new Plot("latency", {
    height: 230,
    draw(context, of) {
      drawScale(context, of);
      clip(context, of);
      const first = lowerBound(operations.start, view.from);
      const dense = lowerBound(operations.start, view.to) - first > 4000;
      for (const type of ["ok", "fail", "info"]) {
        context.globalAlpha = type === "ok" && dense ? 0.45 : 0.85;
        const crowd = new Uint8Array(Math.ceil(of.width + 1) * (of.height + 1));
        for (let n = first; n < operations.count && operations.start[n] <= view.to; n += 1) {
          if (operations.open[n] || operations.type.of(n) !== type || !visible(n)) continue;
          const [x, y] = [of.x(operations.start[n]), scale.y(of, took(n))];
          const place = Math.floor(y) * Math.ceil(of.width + 1) + Math.floor(x);
          if ((crowd[place] += 1) <= CROWD_MAX) drawMark(context, type, x, y);
        }
      }
      context.globalAlpha = 1;
    },
    pick(x, y, of, click = false) {
      const n = nearestMark(x, y, of);
      if (click && n >= 0) select(n);
      return n < 0 ? null : describe(n);
    },
  });
  plot.mark = (context) => {
    if (selected < 0 || operations.open[selected]) return;
    const x = plot.x(operations.start[selected]);
    if (x < plot.left || x > plot.right) return;
    context.strokeStyle = palette.accent;
    context.lineWidth = 2;
    shape(context, "circle", x, scale.y(plot, took(selected)), 7);
    context.stroke();
  };
  legend("latency", [
    ["ok", (c) => drawMark(c, "ok", 11, 6, 3.5)],
    ["fail", (c) => drawMark(c, "fail", 11, 6, 2.8)],
    ["info: when the client gave up", (c) => drawMark(c, "info", 11, 6, 2.8)],
  ]);
}

function nearestMark(x, y, plot) {
  const from = lowerBound(operations.start, plot.time(x - 7));
  const until = plot.time(x + 7);
  let [best, distance] = [-1, 49];
  for (let n = from; n < operations.count && operations.start[n] <= until; n += 1) {
    if (operations.open[n] || !visible(n)) continue;
    const [dx, dy] = [plot.x(operations.start[n]) - x, scale.y(plot, took(n)) - y];
    if (dx * dx + dy * dy < distance) [best, distance] = [n, dx * dx + dy * dy];
  }
  return best;
}

const QUANTILES = [["p50", "ok", []], ["p95", "clock", [6, 3]], ["p99", "info", [2, 2]], ["max", "muted", [1, 4]]];

function startQuantiles() {
  if (!document.querySelector('[data-plot="quantiles"]')) return;
  const width = data.quantiles.bin_ms * 1000;
  new Plot("quantiles", {
    height: 180,
    draw(context, plot) {
      drawScale(context, plot);
      clip(context, plot);
      for (const [name, colour, dash] of QUANTILES) {
        steps(context, plot, data.quantiles[name].map((ms) => (ms === null ? null : scale.y(plot, ms))), width, { colour: palette[colour], dash });
      }
    },
    pick(x, y, plot) {
      const bin = Math.floor(plot.time(x) / width);
      if (x < plot.left || data.quantiles.count[bin] === undefined) return null;
      const lines = QUANTILES.map(([name]) => `${name}: ${milliseconds(data.quantiles[name][bin])}`);
      return { title: `${seconds(bin * width, 2e7)} to ${seconds((bin + 1) * width, 2e7)}`, lines: [`${data.quantiles.count[bin] || 0} acknowledged`, ...lines] };
    },
  });
  legend("quantiles", QUANTILES.map(([name, colour, dash]) => [name, (c) => line(c, 0, 6, 22, 6, { colour: palette[colour], width: 2, dash })]));
}

/* A line of steps, broken where a bin has no value. */
function steps(context, plot, heights, width, { colour, dash = [], thick = 1.8, fill = 0 }) {
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.setLineDash(dash);
  context.beginPath();
  heights.forEach((y, bin) => {
    const [from, to] = [bin * width, Math.min((bin + 1) * width, view.full)];
    if (y === null || to < view.from || from > view.to) return;
    if (bin > 0 && heights[bin - 1] !== null) context.lineTo(plot.x(from), y);
    else context.moveTo(plot.x(from), y);
    context.lineTo(plot.x(to), y);
  });
  context.stroke();
  context.setLineDash([]);
  if (!fill) return;
  context.fillStyle = colour;
  context.globalAlpha = fill;
  heights.forEach((y, bin) => {
    const [x, end] = [plot.x(bin * width), plot.x(Math.min((bin + 1) * width, view.full))];
    if (y !== null && end >= plot.left && x <= plot.right) context.fillRect(x, y, end - x, plot.bottom - y);
  });
  context.globalAlpha = 1;
}
