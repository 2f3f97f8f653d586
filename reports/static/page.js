/* Puts it together: starts the plots, wires the controls, keeps them drawn.
 *
 * Rules of this file:
 * - Nothing is drawn that is not in sight; a change of window, size or colours marks plots dirty.
 * - While printing, everything is drawn at once and light.
 */

function startAll() {
  startFaults();
  startOperations();
  startLatency();
  startQuantiles();
  startRate();
  startRoles();
  startClocks();
}

let waiting = false;

function schedule() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const plot of plots) if (plot.dirty && plot.seen) plot.draw();
  });
}

function redraw() {
  for (const plot of plots) plot.dirty = true;
  schedule();
}

function sayWindow() {
  const place = byId("window");
  if (!place) return;
  const whole = view.to - view.from >= view.full;
  place.textContent = whole ? `whole run, ${(view.full / 1e6).toFixed(1)} s` : `${seconds(view.from)} to ${seconds(view.to)}`;
}

function wireControls() {
  const jumps = [...document.querySelectorAll(".jump")];
  const show = (button) => view.show(Number(button.dataset.from), Number(button.dataset.to));
  const actions = {
    in: () => view.zoom(0.6), out: () => view.zoom(1 / 0.6), left: () => view.pan(-0.3), right: () => view.pan(0.3),
    all: () => view.set(0, view.full), violation: () => jumps.length && show(jumps[0]),
  };
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", actions[button.dataset.view]);
    if (button.dataset.view === "violation" && !jumps.length) button.hidden = true;
  }
  for (const button of jumps) {
    button.addEventListener("click", () => {
      show(button);
      const n = numberOf(Number(button.dataset.stuck));
      if (n >= 0) select(n);
      byId("time").scrollIntoView();
    });
  }
}

/* Every button that copies names in `data-copies` whose text it is; without a name, the address. */
function wireCopy() {
  for (const button of document.querySelectorAll("[data-copies]")) {
    const said = button.textContent;
    button.addEventListener("click", async () => {
      const place = byId(button.dataset.copies);
      const copied = await copy(place);
      button.textContent = copied ? "Copied" : place ? "Ctrl C" : "See address";
      byId("copied").textContent = copied ? "copied" : place ? "selected: press Ctrl C" : "it is the page's address";
      setTimeout(() => { button.textContent = said; byId("copied").textContent = ""; }, 3000);
    });
  }
}

async function copy(place) {
  try {
    await navigator.clipboard.writeText(place ? place.textContent : location.href);
    return true;
  } catch {
    // A page opened as a file may have no clipboard: the selection has it.
    if (!place) return false;
    const range = document.createRange();
    range.selectNodeContents(place);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return document.execCommand("copy");
  }
}

function wirePrint() {
  const paint = (printing) => {
    document.documentElement.classList.toggle("printing", printing);
    readPalette();
    overview.draw();
    for (const plot of plots) plot.draw();
    drawLegends();
  };
  window.addEventListener("beforeprint", () => paint(true));
  window.addEventListener("afterprint", () => paint(false));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(false));
}

function wireSize() {
  const sizes = new ResizeObserver(() => { overview.draw(); redraw(); });
  sizes.observe(document.body);
  const sight = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const plot = plots.find((one) => one.frame === entry.target);
      plot.seen = entry.isIntersecting;
    }
    schedule();
  }, { rootMargin: "400px" });
  for (const plot of plots) sight.observe(plot.frame);
}

/* Where a drawing is wider than its place, what could not be placed is what to see first. */
function scrollToStuck() {
  for (const lanes of document.querySelectorAll(".lanes")) {
    const stuck = lanes.querySelector(".mark.stuck rect");
    if (stuck) lanes.scrollLeft += stuck.getBoundingClientRect().right + 40 - lanes.getBoundingClientRect().right;
  }
}

overview.start();
scrollToStuck();
startAll();
startFilters();
wireControls();
wireCopy();
wirePrint();
wireSize();
view.listeners.push(redraw, sayWindow);
view.pointerListeners.push(() => { for (const plot of plots) if (plot.seen) plot.follow(); });
sayWindow();
overview.draw();
for (const plot of plots) plot.draw();
startAddress();
