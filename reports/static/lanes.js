/* The timeline of operations: rows by client, by key or by node, and walking through them.
 *
 * Rules of this file:
 * - What stands in one row follows each other, so what is in the window is found by bisection.
 *   Operations of a key or a node overlap: it has as many rows as overlap at most.
 * - Outcomes differ in form: ok is filled, fail is an outline, info is dashed and open at its end.
 * - There is a bound on the rows: a canvas has one on its height. What is beyond it is counted.
 */

const ROWS_MAX = 400;
const GROUPINGS = {
  client: { names: () => Array.from({ length: operations.lanes }, (_, number) => number), of: (n) => lane(operations.process[n], operations.lanes) },
  key: { names: () => operations.key.names, of: (n) => operations.key.of(n) },
  node: { names: () => operations.node.names, of: (n) => operations.node.of(n) },
};

/* How the rows are made up: `rows[r]` is `{ label, list }`, `label` null where a group goes on;
   `rowOf[n]` is an operation's row, -1 while it does not fit the filters or has no room. */
const arranged = { by: "client", rows: [], rowOf: new Int32Array(operations.count), high: 18, beyond: 0 };
let timeline = null;

function lane(process, lanes) {
  return ((process % lanes) + lanes) % lanes;
}

/* Each operation goes into the first row of its group that is free when it starts. */
function arrange(by) {
  const { names, of } = GROUPINGS[by];
  const groups = new Map(names().map((name) => [name, []]));
  for (let n = 0; n < operations.count; n += 1) {
    if (!visible(n)) continue;
    const rows = groups.get(of(n));
    let row = rows.find((one) => one.free <= operations.start[n]);
    if (!row) rows.push(row = { label: null, list: [] });
    row.list.push(n);
    row.free = operations.end[n];
  }
  const all = [];
  for (const [name, rows] of groups) {
    if (by === "client" && !rows.length) rows.push({ list: [] });
    if (rows.length) rows[0].label = by === "client" ? `client ${name}` : name ?? `no ${by}`;
    all.push(...rows);
  }
  const rows = all.slice(0, ROWS_MAX);
  arranged.rowOf.fill(-1);
  rows.forEach(({ list }, number) => { for (const n of list) arranged.rowOf[n] = number; });
  const high = Math.max(by === "client" ? 5 : 15, Math.min(22, Math.floor(480 / Math.max(1, rows.length))));
  Object.assign(arranged, { by, rows, high, beyond: all.length - rows.length });
}

const rowTop = (plot, number) => plot.top + number * arranged.high;

function startOperations() {
  if (!document.querySelector('[data-plot="operations"]')) return;
  arrange("client");
  timeline = new Plot("operations", {
    height: timelineHeight(),
    draw: drawOperations,
    pick(x, y, of, click = false) {
      hovered = nearest(x, y, of);
      if (click && hovered >= 0) select(hovered);
      return hovered < 0 ? null : describe(hovered);
    },
    keys: (key) => ({ ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0), ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1) }[key]),
  });
  timeline.mark = (context) => {
    for (const [n, colour, width] of [[hovered, palette.muted, 1.5], [selected, palette.accent, 2.5]]) {
      if (n < 0 || arranged.rowOf[n] < 0) continue;
      const x = Math.max(timeline.x(operations.start[n]), timeline.left);
      const wide = Math.max(3, Math.min(timeline.x(operations.end[n]), timeline.right) - x);
      if (x > timeline.right || x + wide < timeline.left) continue;
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x - 1.5, rowTop(timeline, arranged.rowOf[n]) + 0.5, wide + 3, arranged.high - 1);
    }
  };
  timeline.frame.addEventListener("pointerleave", () => { hovered = -1; timeline.follow(); });
  legend("operations", [
    ["ok", (c) => { c.fillStyle = palette.ok; c.fillRect(2, 2, 18, 8); }],
    ["fail", (c) => { c.strokeStyle = palette.fail; c.lineWidth = 1.5; c.strokeRect(2.75, 2.75, 16, 6.5); }],
    ["info: open end", (c) => drawOpen(c, 2, 2, 18, 8)],
    ...(marked.size ? [["✗ cannot be placed", (c) => { c.fillStyle = palette.bad; c.fillRect(2, 2, 18, 8); }]] : []),
  ]);
  fitFrame();
}

function timelineHeight() {
  return arranged.rows.length * arranged.high + GUTTER.top + GUTTER.bottom;
}

function fitFrame() {
  timeline.frame.classList.toggle("tall", timeline.height > FRAME_MAX);
  byId("beyond").textContent = arranged.beyond ? `${arranged.beyond} more rows have no room: choose a ${arranged.by} to see them.` : "";
}

/* Make up the rows anew: other operations fit, or they are grouped otherwise. */
function rearrange(by = arranged.by) {
  if (!timeline) return;
  arrange(by);
  hovered = -1;
  timeline.resize(timelineHeight());
  fitFrame();
}

/* The operations of a row that touch the window: their first place in the row. */
function firstInWindow(list) {
  return Math.max(0, lowerBound(list, view.from, (n) => operations.start[n]) - 1);
}

function drawRows(context, plot) {
  let free = -Infinity;
  arranged.rows.forEach((row, number) => {
    const y = rowTop(plot, number);
    if (row.label === null) return;
    line(context, plot.left, y + 0.5, plot.right, y + 0.5, { colour: palette.line });
    if (y < free) return;
    free = y + 14;
    context.fillStyle = palette.muted;
    context.textAlign = "right";
    context.fillText(row.label.length > 11 ? `${row.label.slice(0, 10)}…` : row.label, plot.left - 8, y + Math.max(arranged.high, 12) / 2);
  });
}

function drawOperations(context, plot) {
  drawRows(context, plot);
  clip(context, plot);
  arranged.rows.forEach(({ list }, number) => {
    const last = { ok: -1, fail: -1, info: -1 };
    for (let place = firstInWindow(list); place < list.length; place += 1) {
      const n = list[place];
      if (operations.start[n] > view.to) break;
      if (operations.end[n] < view.from) continue;
      const x = plot.x(operations.start[n]);
      const wide = Math.max(1.2, plot.x(operations.end[n]) - x);
      const type = operations.type.of(n);
      if (marked.has(operations.index[n])) continue;
      // Of those that end within a pixel that is already drawn, one is enough.
      if (x + wide < last[type] + 0.7) continue;
      last[type] = x + wide;
      drawOperation(context, n, type, x, rowTop(plot, number) + 2, wide, arranged.high - 3);
    }
  });
  // Last, and never narrower than can be seen: what could not be placed.
  for (const index of marked) {
    const n = numberOf(index);
    if (n >= 0 && arranged.rowOf[n] >= 0) drawStuck(context, plot, n);
  }
}

function drawStuck(context, plot, n) {
  const wide = Math.max(4, plot.x(operations.end[n]) - plot.x(operations.start[n]));
  const x = plot.x(operations.start[n]) - (wide === 4 ? 1.5 : 0);
  const y = rowTop(plot, arranged.rowOf[n]);
  context.fillStyle = palette.surface;
  context.fillRect(x - 2, y, wide + 4, arranged.high + 1);
  context.fillStyle = palette.bad;
  context.fillRect(x, y + 2, wide, arranged.high - 3);
  context.beginPath();
  context.arc(x + wide / 2, y, 7, 0, 7);
  context.fill();
  context.fillStyle = palette.surface;
  context.textAlign = "center";
  context.fillText("✗", x + wide / 2, y + 0.5);
}

function drawOperation(context, n, type, x, y, wide, high) {
  if (type === "info") drawOpen(context, x, y, wide, high);
  else if (type === "fail" && wide >= 4) {
    context.strokeStyle = palette.fail;
    context.lineWidth = 1.3;
    context.strokeRect(x + 0.65, y + 0.65, wide - 1.3, high - 1.3);
  } else {
    context.fillStyle = palette[type] || palette.muted;
    context.globalAlpha = wide < 4 ? 0.7 : 1;
    context.fillRect(x, y, wide, high);
    context.globalAlpha = 1;
  }
  if (wide < 34 || high < 11) return;
  const from = Math.max(x, GUTTER.left);
  const room = x + wide - from - 10;
  const text = label(n);
  if (room < 20 || context.measureText(text).width > room) return;
  context.textAlign = "left";
  context.fillStyle = type === "ok" ? palette.surface : palette.text;
  context.fillText(text, from + 5, y + high / 2 + 0.5);
}

/* Dashed, with an arrow: nobody knows where it ends. */
function drawOpen(context, x, y, wide, high) {
  context.fillStyle = palette.info;
  context.strokeStyle = palette.info;
  if (wide >= 6) {
    context.globalAlpha = 0.2;
    context.fillRect(x, y, wide, high);
    context.globalAlpha = 1;
    context.setLineDash([4, 3]);
    context.lineWidth = 1.3;
    context.strokeRect(x + 0.65, y + 0.65, wide - 1.3, high - 1.3);
    context.setLineDash([]);
  }
  context.fillRect(x, y, 2, high);
  const tip = Math.min(high * 0.55, wide);
  context.beginPath();
  context.moveTo(x + wide - tip, y);
  context.lineTo(x + wide, y + high / 2);
  context.lineTo(x + wide - tip, y + high);
  context.fill();
}

function nearest(x, y, plot) {
  const number = Math.floor((y - plot.top) / arranged.high);
  const list = (arranged.rows[number] || {}).list;
  if (!list || x < plot.left || x > plot.right) return -1;
  const at = lowerBound(list, plot.time(x), (n) => operations.start[n]);
  let [best, distance] = [-1, 6];
  for (let place = Math.max(0, at - 4); place < Math.min(list.length, at + 4); place += 1) {
    const n = list[place];
    const [from, to] = [plot.x(operations.start[n]), plot.x(operations.end[n])];
    const away = x < from ? from - x : x > to ? x - to : -1;
    if (away < distance) [best, distance] = [n, away];
  }
  return best;
}

/* Walk with the keys: along a row, or to the neighbour's operation of about that time. */
function walk(along, across) {
  const anchor = selected >= 0 ? operations.start[selected] : view.from;
  const from = selected >= 0 ? Math.max(0, arranged.rowOf[selected]) : 0;
  if (!arranged.rows.length) return;
  const { list } = arranged.rows[(from + across + arranged.rows.length) % arranged.rows.length];
  let place = lowerBound(list, anchor, (n) => operations.start[n]);
  if (selected >= 0 || along < 0) place += along;
  const n = list[Math.min(place, list.length - 1)];
  if (n !== undefined) goTo(n);
}
