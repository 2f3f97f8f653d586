/* The controls above the plots: search, filters, and how the rows are grouped.
 *
 * Rules of this file:
 * - What is shown follows from `shown` (operations.js) and from the grouping alone; the controls
 *   are set from them as well as read, so that an address can restore them.
 * - A long list of choices is cut: the search finds the rest.
 */

const CHOICES_MAX = 400;
const TYPING_MS = 150;
const FIELDS = ["f", "key", "node", "error", "process", "q"];
const controls = new Map([...document.querySelectorAll("[data-filter]")].map((one) => [one.dataset.filter, one]));
const boxes = [...document.querySelectorAll("[data-outcome]")];
let typing = 0;

/* Show what `shown` asks for, grouped like this. */
function refilter(by = arranged.by) {
  const count = sift();
  rearrange(by);
  for (const [name, control] of controls) if (control.value !== shown[name]) setValue(control, shown[name]);
  for (const box of boxes) box.checked = shown.outcomes.has(box.dataset.outcome);
  if (byId("grouping")) byId("grouping").value = by;
  if (byId("fit")) byId("fit").textContent = `${count} of ${operations.count} operations`;
  redraw();
  tellAddress();
}

/* A value that is not among the choices, because the list was cut, becomes one. */
function setValue(control, value) {
  control.value = value;
  if (control.value === value || control.tagName !== "SELECT") return;
  addChoice(control, value);
  control.value = value;
}

function addChoice(select, text) {
  element("option", text.length > 40 ? `${text.slice(0, 40)}…` : text, select).value = text;
}

function clearFilters() {
  for (const name of FIELDS) shown[name] = "";
  shown.outcomes = new Set(OUTCOMES);
  refilter();
}

function startFilters() {
  for (const [name, control] of controls) {
    if (control.tagName === "SELECT") fillChoices(control, operations[name].names.filter((text) => text !== null));
    const slow = control.tagName === "INPUT";
    control.addEventListener(slow ? "input" : "change", () => {
      shown[name] = control.value.trim();
      clearTimeout(typing);
      if (slow) typing = setTimeout(refilter, TYPING_MS);
      else refilter();
    });
  }
  for (const box of boxes) {
    box.addEventListener("change", () => {
      if (box.checked) shown.outcomes.add(box.dataset.outcome);
      else shown.outcomes.delete(box.dataset.outcome);
      refilter();
    });
  }
  if (!byId("grouping")) return;
  byId("grouping").addEventListener("change", () => refilter(byId("grouping").value));
  byId("clear").addEventListener("click", clearFilters);
  controls.get("q").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    clearTimeout(typing);
    shown.q = controls.get("q").value.trim();
    refilter();
    const n = nextFitting(selected, event.shiftKey ? -1 : 1);
    if (n >= 0) goTo(n);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    event.preventDefault();
    controls.get("q").focus();
  });
  refilter();
}

function fillChoices(select, texts) {
  for (const text of texts.slice(0, CHOICES_MAX)) addChoice(select, text);
  if (texts.length <= CHOICES_MAX) return;
  const more = element("option", `… ${texts.length - CHOICES_MAX} more: search for them`, select);
  more.disabled = true;
}
