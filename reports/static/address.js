/* The address: what is shown stands after its #, so that a link shows somebody else the same.
 *
 * Rules of this file:
 * - `#from=12.25&to=12.5&f=read&op=812`: seconds, values as they are, an operation by its event.
 *   What is as it was at first is left out. A section's name (`#faults`) is no state and stays.
 * - Browsers allow only so many changes of the address: it is told once things have come to rest.
 */

const REST_MS = 250;
let resting = 0;

function stateOf() {
  const said = new URLSearchParams();
  if (view.from > 0 || view.to < view.full) {
    said.set("from", (view.from / 1e6).toFixed(6));
    said.set("to", (view.to / 1e6).toFixed(6));
  }
  for (const name of FIELDS) if (shown[name]) said.set(name, shown[name]);
  if (shown.outcomes.size < OUTCOMES.length) said.set("outcomes", OUTCOMES.filter((one) => shown.outcomes.has(one)).join(","));
  if (arranged.by !== "client") said.set("rows", arranged.by);
  if (selected >= 0) said.set("op", String(operations.index[selected]));
  return said.toString();
}

function tellAddress() {
  clearTimeout(resting);
  resting = setTimeout(() => {
    const said = stateOf();
    if (!said && !location.hash.includes("=")) return;
    try {
      history.replaceState(null, "", `#${said}`);
    } catch {
      // A page in a sandbox may not; it works without.
    }
  }, REST_MS);
}

/* Show what the address says; return whether it said anything. */
function readAddress() {
  if (!location.hash.includes("=")) return false;
  const said = new URLSearchParams(location.hash.slice(1));
  for (const name of FIELDS) shown[name] = said.get(name) || "";
  const outcomes = said.get("outcomes");
  shown.outcomes = new Set(outcomes === null ? OUTCOMES : OUTCOMES.filter((one) => outcomes.split(",").includes(one)));
  refilter(Object.hasOwn(GROUPINGS, said.get("rows")) ? said.get("rows") : "client");
  const [from, to] = [Number(said.get("from")) * 1e6, Number(said.get("to")) * 1e6];
  if (to > from) view.set(from, to);
  else view.set(0, view.full);
  selected = said.has("op") ? numberOf(Number(said.get("op"))) : -1;
  if (selected >= 0) goTo(selected);
  return true;
}

function startAddress() {
  const show = () => { if (readAddress()) byId("time").scrollIntoView(); };
  window.addEventListener("hashchange", show);
  view.listeners.push(tellAddress);
  show();
}
