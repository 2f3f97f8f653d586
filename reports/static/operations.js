/* The operations: unpacking, which of them are shown, and what is said of one.
 *
 * Rules of this file:
 * - Columns stay columns; an operation is its number in them. They are sorted by start.
 * - Which ones fit the filters is worked out once a change, not once a stroke of the pen.
 */

const operations = unpack(data.operations);
const OUTCOMES = ["ok", "fail", "info"];
/* What is asked for: all of it must hold. `q` are words that must all stand in what is said. */
const shown = { outcomes: new Set(OUTCOMES), f: "", key: "", node: "", error: "", process: "", q: "" };
const marked = new Set(data.marked);
const fitting = new Uint8Array(operations.count).fill(1);
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
  return result;
}

const visible = (n) => fitting[n] === 1;
const took = (n) => (operations.end[n] - operations.start[n]) / 1000;

/* Work out what fits what is asked for; return how many do. */
function sift() {
  const named = ["f", "key", "node", "error"].filter((name) => shown[name]);
  const words = shown.q.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (let n = 0; n < operations.count; n += 1) {
    const fits = shown.outcomes.has(operations.type.of(n))
      && named.every((name) => operations[name].of(n) === shown[name])
      && (shown.process === "" || operations.process[n] === Number(shown.process))
      && (!words.length || holds(n, words));
    fitting[n] = fits ? 1 : 0;
    count += fitting[n];
  }
  return count;
}

function holds(n, words) {
  const said = `${label(n)} ${operations.key.of(n) ?? ""} ${operations.node.of(n) ?? ""} ${operations.type.of(n)} `
    + `${operations.error.of(n) ?? ""} #${operations.index[n]} process ${operations.process[n]}`;
  const low = said.toLowerCase();
  return words.every((word) => low.includes(word));
}

/* The next one that fits, in the order of starts; -1 if none does. */
function nextFitting(from, step) {
  for (let n = from + step; n >= 0 && n < operations.count; n += step) if (visible(n)) return n;
  return -1;
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
  pairs.push([type === "info" ? "client gave up after" : "took", operations.open[n] ? "never completed" : milliseconds(took(n))]);
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
  tellAddress();
}

/* Select it, and bring it into the window. */
function goTo(n) {
  select(n);
  if (operations.start[n] >= view.from && operations.start[n] <= view.to) return;
  const span = view.to - view.from;
  view.set(operations.start[n] - span / 2, operations.start[n] + span / 2);
}

function numberOf(index) {
  return operations.index.indexOf(index);
}
