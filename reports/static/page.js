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

function fillFilters() {
  for (const select of document.querySelectorAll("[data-filter]")) {
    const name = select.dataset.filter;
    for (const text of operations[name].names) {
      if (text === null) continue;
      const option = element("option", text.length > 40 ? `${text.slice(0, 40)}…` : text, select);
      option.value = text;
    }
    select.addEventListener("change", () => { shown[name] = select.value; redraw(); });
  }
  for (const box of document.querySelectorAll("[data-outcome]")) {
    box.addEventListener("change", () => {
      if (box.checked) shown.outcomes.add(box.dataset.outcome);
      else shown.outcomes.delete(box.dataset.outcome);
      redraw();
    });
  }
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
      for (let n = 0; n < operations.count; n += 1) if (marked.has(operations.index[n])) select(n);
      byId("time").scrollIntoView();
    });
  }
}

function wireCopy() {
  const button = byId("copy");
  if (!button) return;
  button.addEventListener("click", async () => {
    const text = byId("repeat").textContent;
    let copied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page opened as a file may have no clipboard: the selection has it.
      const range = document.createRange();
      range.selectNodeContents(byId("repeat"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      copied = document.execCommand("copy");
    }
    byId("copied").textContent = copied ? "copied" : "selected: press Ctrl C";
    setTimeout(() => { byId("copied").textContent = ""; }, 4000);
  });
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
  for (const plot of plots) {
    plot.frame.style.minHeight = `${Math.min(plot.height, 620)}px`;
    sight.observe(plot.frame);
  }
}

overview.start();
startAll();
fillFilters();
wireControls();
wireCopy();
wirePrint();
wireSize();
view.listeners.push(redraw, sayWindow);
view.pointerListeners.push(() => { for (const plot of plots) if (plot.seen) plot.follow(); });
sayWindow();
overview.draw();
for (const plot of plots) plot.draw();
