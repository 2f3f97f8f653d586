/* Search, filters and sorting of the table of runs, and the choice of two runs to compare.
 *
 * Rules of this file:
 * - What is shown follows from one state, and the state is in the address (after #): a link to it
 *   shows the same.
 * - Only what the table holds is read, and text is only ever written as text.
 * - Runs without a value come last, whichever way a column is sorted.
 */

const FILTERS = ["outcome", "workload", "nemesis", "system"];
const NEWEST_FIRST = "-when";

function readState(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { q: given.get("q") || "", sort: given.get("sort") || NEWEST_FIRST };
  for (const name of FILTERS) state[name] = given.get(name) || "";
  return state;
}

function writeState(state) {
  const said = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) {
    if (value && !(name === "sort" && value === NEWEST_FIRST)) said.set(name, value);
  }
  const text = said.toString();
  return text ? `#${text}` : "";
}

function fits(run, state) {
  if (FILTERS.some((name) => state[name] && run[name] !== state[name])) return false;
  return state.q.toLowerCase().split(/\s+/).every((word) => run.text.includes(word));
}

function inOrder(one, other, column, descending) {
  const [left, right] = [one.values[column.number], other.values[column.number]];
  if (left === right) return one.place - other.place;
  if (left === "" || right === "") return left === "" ? 1 : -1;
  const order = column.numeric && Number.isFinite(Number(left)) && Number.isFinite(Number(right))
    ? Number(left) - Number(right)
    : left < right ? -1 : 1;
  return descending ? -order : order;
}

function startTable() {
  const body = document.querySelector("#table tbody");
  const columns = new Map();
  for (const heading of document.querySelectorAll("#table thead th[data-column]")) {
    columns.set(heading.dataset.column, {
      heading, number: heading.cellIndex, numeric: heading.dataset.numeric === "yes",
    });
  }
  const runs = [...body.rows].map((row, place) => ({
    row, place, ...row.dataset, text: row.textContent.toLowerCase(),
    values: [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent.trim()),
  }));
  const search = document.getElementById("search");
  const selects = [...document.querySelectorAll("[data-filter]")];
  let state = readState(location.hash);

  function show() {
    search.value = state.q;
    for (const select of selects) select.value = state[select.dataset.filter];
    const descending = state.sort.startsWith("-");
    const column = columns.get(state.sort.replace(/^-/, "")) || columns.get("when");
    for (const one of columns.values()) one.heading.removeAttribute("aria-sort");
    column.heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    let count = 0;
    for (const run of runs) {
      run.row.hidden = !fits(run, state);
      if (!run.row.hidden) count += 1;
    }
    body.append(...[...runs].sort((one, other) => inOrder(one, other, column, descending)).map((run) => run.row));
    document.getElementById("count").textContent = `${count} of ${runs.length} runs`;
    document.getElementById("none").hidden = count > 0;
  }

  function change(changes) {
    state = { ...state, ...changes };
    history.replaceState(null, "", writeState(state) || "#");
    show();
  }

  search.addEventListener("input", () => change({ q: search.value }));
  for (const select of selects) {
    select.addEventListener("change", () => change({ [select.dataset.filter]: select.value }));
  }
  for (const [name, column] of columns) {
    column.heading.querySelector("button").addEventListener("click", () => {
      // Numbers are looked at from their large end, words from their beginning.
      const first = column.numeric || name === "when" ? `-${name}` : name;
      const second = first.startsWith("-") ? name : `-${name}`;
      change({ sort: state.sort === first ? second : first });
    });
  }
  document.getElementById("clear").addEventListener("click", () => change(readState("")));
  window.addEventListener("hashchange", () => {
    // The address may also name a section of the page: that is no state.
    if (document.getElementById(location.hash.slice(1))) return;
    state = readState(location.hash);
    show();
    document.getElementById("runs").scrollIntoView();
  });
  document.getElementById("controls").hidden = false;
  show();
}

function shellQuoted(text) {
  return /^[\w./:=@%+-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function startCompare() {
  const place = document.getElementById("compare-how");
  const chosen = [];

  function show() {
    const paths = chosen.map((box) => box.closest("tr").dataset.path);
    document.getElementById("compare").hidden = !paths.length;
    place.replaceChildren();
    if (paths.length < 2) {
      place.textContent = "choose another one.";
    } else if (document.body.dataset.served) {
      const link = document.createElement("a");
      link.href = `./compare?${new URLSearchParams({ a: paths[0], b: paths[1] })}`;
      link.textContent = `${paths[0]} and ${paths[1]}`;
      place.append(link);
    } else {
      const command = document.createElement("code");
      command.textContent = `splitbrain index --store . --compare ${paths.map(shellQuoted).join(" ")}`;
      place.append("in the store’s folder, type ", command);
    }
  }

  for (const box of document.querySelectorAll("#table tbody input")) {
    box.hidden = false;
    box.checked = false;
    box.addEventListener("change", () => {
      if (box.checked) chosen.push(box);
      else chosen.splice(chosen.indexOf(box), 1);
      if (chosen.length > 2) chosen.shift().checked = false;
      show();
    });
  }
}

if (document.getElementById("table")) {
  startTable();
  startCompare();
}
