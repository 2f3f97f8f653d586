/* The operations: unpacking, filters, the timeline by client, and the details of one of them.
 *
 * Rules of this file:
 * - Columns stay columns; an operation is its number in them. They are sorted by start.
 * - A lane's operations follow each other, so what is in the window is found by bisection.
 * - Outcomes differ in form: ok is filled, fail is an outline, info is dashed and open at its end.
 */

const operations = unpack(data.operations);
const shown = { outcomes: new Set(["ok", "fail", "info"]), f: "", key: "", node: "" };
const marked = new Set(data.marked);
let selected = -1;
let hovered = -1;

function unpack(packed) {
  const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
  const place = new Map([...alphabet].map((letter, number) => [letter, number]));
  const coded = ({ names, codes }) => {
    const numbers = typeof codes === "string" ? Uint8Array.from(codes, (one) => place.get(one)) : Uint32Array.from(codes);
    return { names, codes: numbers, of: (n) => names[numbers[n]] };
  };
  const summed = (steps) => { let sum = 0; return Float64Array.from(steps, (step) => (sum += step)); };
  const start = summed(packed.start_us);
  const result = {
    count: packed.count, lanes: packed.lanes, start,
    end: Float64Array.from(packed.took_us, (took, n) => (took < 0 ? data.duration_us : start[n] + took)),
    open: Uint8Array.from(packed.took_us, (took) => (took < 0 ? 1 : 0)),
    index: summed(packed.index), process: Float64Array.from(packed.process),
    value: (n) => packed.words[packed.value[n]],
    output: (n) => packed.words[packed.output[n] < 0 ? packed.value[n] : packed.output[n]],
  };
  for (const name of ["f", "type", "key", "node", "error"]) result[name] = coded(packed[name]);
  result.byLane = Array.from({ length: packed.lanes }, () => []);
  for (let n = 0; n < packed.count; n += 1) result.byLane[lane(result.process[n], packed.lanes)].push(n);
  return result;
}

function lane(process, lanes) {
  return ((process % lanes) + lanes) % lanes;
}

function visible(n) {
  return shown.outcomes.has(operations.type.of(n))
    && (!shown.f || operations.f.of(n) === shown.f)
    && (!shown.key || operations.key.of(n) === shown.key)
    && (!shown.node || operations.node.of(n) === shown.node);
}

function label(n) {
  const f = operations.f.of(n);
  const [value, output, type] = [operations.value(n), operations.output(n), operations.type.of(n)];
  if (f === "read" && value === "null") return type === "ok" ? `read → ${output}` : "read → ?";
  const text = value === "null" ? f : `${f} ${value}`;
  return type !== "ok" || output === value || output === "null" ? text : `${text} → ${output}`;
}

function describe(n) {
  const type = operations.type.of(n);
  const meaning = { ok: "ok, acknowledged", fail: "fail, certainly did not happen", info: "info, may or may not have happened" }[type] || type;
  const key = operations.key.of(n);
  const pairs = [["outcome", meaning]];
  if (operations.error.of(n)) pairs.push(["error", operations.error.of(n)]);
  pairs.push(["process", String(operations.process[n])], ["node", operations.node.of(n) || "?"]);
  pairs.push(["from", seconds(operations.start[n], 1e5)]);
  const took = milliseconds((operations.end[n] - operations.start[n]) / 1000);
  pairs.push([type === "info" ? "client gave up after" : "took", operations.open[n] ? "never completed" : took]);
  pairs.push(["event", `#${operations.index[n]}`]);
  const force = data.faults.filter((fault) => fault.evidence !== "skipped" && fault.start_us <= operations.end[n] && fault.stop_us >= operations.start[n]);
  if (force.length) pairs.push(["faults then", force.map((fault) => `${fault.name} (${fault.targets})`).join(", ")]);
  return { title: label(n) + (key ? ` on ${key}` : ""), pairs, lines: pairs.map(([name, text]) => `${name}: ${text}`) };
}

function showDetail(n) {
  const place = byId("detail");
  if (!place || n < 0) return;
  const { title, pairs } = describe(n);
  place.replaceChildren();
  element("strong", (marked.has(operations.index[n]) ? "✗ cannot be placed: " : "") + title, place);
  for (const [name, text] of pairs) {
    const item = element("span", undefined, place);
    element("b", name, item);
    item.append(text);
  }
}

function select(n) {
  selected = n;
  showDetail(n);
  for (const plot of plots) plot.follow();
}

let laneHigh = 18;
const laneTop = (plot, number) => plot.top + number * laneHigh;

function startOperations() {
  if (!document.querySelector('[data-plot="operations"]')) return;
  laneHigh = Math.max(5, Math.min(22, Math.floor(480 / operations.lanes)));
  const plot = new Plot("operations", {
    height: operations.lanes * laneHigh + GUTTER.top + GUTTER.bottom,
    draw: drawOperations,
    pick(x, y, of, click = false) {
      hovered = nearest(x, y, of);
      if (click && hovered >= 0) select(hovered);
      return hovered < 0 ? null : describe(hovered);
    },
    keys: (key) => ({ ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0), ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1) }[key]),
  });
  if (plot.height > 620) plot.frame.classList.add("tall");
  plot.mark = (context) => {
    for (const [n, colour, width] of [[hovered, palette.muted, 1.5], [selected, palette.accent, 2.5]]) {
      if (n < 0 || !visible(n)) continue;
      const x = Math.max(plot.x(operations.start[n]), plot.left);
      const wide = Math.max(3, Math.min(plot.x(operations.end[n]), plot.right) - x);
      const y = laneTop(plot, lane(operations.process[n], operations.lanes));
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x - 1.5, y + 0.5, wide + 3, laneHigh - 1);
    }
  };
  plot.frame.addEventListener("pointerleave", () => { hovered = -1; plot.follow(); });
  legend("operations", [
    ["ok", (c) => { c.fillStyle = palette.ok; c.fillRect(2, 2, 18, 8); }],
    ["fail", (c) => { c.strokeStyle = palette.fail; c.lineWidth = 1.5; c.strokeRect(2.75, 2.75, 16, 6.5); }],
    ["info: open end", (c) => drawOpen(c, 2, 2, 18, 8)],
    ...(marked.size ? [["✗ cannot be placed", (c) => { c.fillStyle = palette.bad; c.fillRect(2, 2, 18, 8); }]] : []),
  ]);
}

/* The operations of a lane that touch the window: their first place in the lane. */
function firstInWindow(list) {
  return Math.max(0, lowerBound(list, view.from, (n) => operations.start[n]) - 1);
}

function drawOperations(context, plot) {
  operations.byLane.forEach((list, number) => {
    const y = laneTop(plot, number);
    line(context, plot.left, y + 0.5, plot.right, y + 0.5, { colour: palette.line });
    const every = Math.ceil(14 / laneHigh);
    if (number % every === 0) {
      context.fillStyle = palette.muted;
      context.textAlign = "right";
      context.fillText(`client ${number}`, plot.left - 8, y + laneHigh / 2);
    }
  });
  clip(context, plot);
  operations.byLane.forEach((list, number) => {
    const last = { ok: -1, fail: -1, info: -1 };
    for (let place = firstInWindow(list); place < list.length; place += 1) {
      const n = list[place];
      if (operations.start[n] > view.to) break;
      if (operations.end[n] < view.from || !visible(n)) continue;
      const x = plot.x(operations.start[n]);
      const wide = Math.max(1.2, plot.x(operations.end[n]) - x);
      const type = operations.type.of(n);
      if (marked.has(operations.index[n])) continue;
      // Of those that end within a pixel that is already drawn, one is enough.
      if (x + wide < last[type] + 0.7) continue;
      last[type] = x + wide;
      drawOperation(context, n, type, x, laneTop(plot, number) + 2, wide, laneHigh - 3);
    }
  });
  // Last, and never narrower than can be seen: what could not be placed.
  for (let n = 0; n < operations.count && marked.size; n += 1) {
    if (marked.has(operations.index[n]) && visible(n)) drawStuck(context, plot, n);
  }
}

function drawStuck(context, plot, n) {
  const wide = Math.max(4, plot.x(operations.end[n]) - plot.x(operations.start[n]));
  const x = plot.x(operations.start[n]) - (wide === 4 ? 1.5 : 0);
  const y = laneTop(plot, lane(operations.process[n], operations.lanes));
  context.fillStyle = palette.surface;
  context.fillRect(x - 2, y, wide + 4, laneHigh + 1);
  context.fillStyle = palette.bad;
  context.fillRect(x, y + 2, wide, laneHigh - 3);
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
  const number = Math.floor((y - plot.top) / laneHigh);
  const list = operations.byLane[number];
  if (!list || x < plot.left || x > plot.right) return -1;
  const at = lowerBound(list, plot.time(x), (n) => operations.start[n]);
  let [best, distance] = [-1, 6];
  for (let place = Math.max(0, at - 4); place < Math.min(list.length, at + 4); place += 1) {
    const n = list[place];
    if (!visible(n)) continue;
    const [from, to] = [plot.x(operations.start[n]), plot.x(operations.end[n])];
    const away = x < from ? from - x : x > to ? x - to : -1;
    if (away < distance) [best, distance] = [n, away];
  }
  return best;
}

/* Walk with the keys: along a lane, or to the neighbour's operation of about that time. */
function walk(along, across) {
  const anchor = selected >= 0 ? operations.start[selected] : view.from;
  const number = selected >= 0 ? lane(operations.process[selected], operations.lanes) : 0;
  const list = operations.byLane[lane(number + across, operations.lanes)];
  let place = lowerBound(list, anchor, (n) => operations.start[n]);
  if (selected >= 0 || along < 0) place += along;
  while (list[place] !== undefined && !visible(list[place])) place += along || 1;
  const n = list[Math.min(place, list.length - 1)];
  if (n === undefined) return;
  select(n);
  if (operations.start[n] < view.from || operations.start[n] > view.to) {
    const span = view.to - view.from;
    view.set(operations.start[n] - span / 2, operations.start[n] + span / 2);
  }
}
