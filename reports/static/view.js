/* The data of the page, the window of time that all plots share, and colours.
 *
 * Rules of this file:
 * - One window for all plots. Whoever changes it calls `view.set`; who draws listens.
 * - Times are microseconds since the run's start. The window's are whole: an address holds them.
 * - Text goes into the page by `textContent` and into canvases by `fillText`, never as markup.
 */
"use strict";

const data = JSON.parse(document.getElementById("run-data").textContent);
const byId = (id) => document.getElementById(id);

const WINDOW_MIN_US = 20;

const view = {
  from: 0,
  to: data.duration_us,
  full: data.duration_us,
  listeners: [],
  pointer: null,
  pointerListeners: [],

  set(from, to) {
    const span = Math.min(Math.max(Math.round(to - from), WINDOW_MIN_US), this.full);
    const start = Math.min(Math.max(0, Math.round(from)), this.full - span);
    if (start === this.from && start + span === this.to) return;
    this.from = start;
    this.to = start + span;
    this.changed();
  },

  zoom(factor, at = (this.from + this.to) / 2) {
    this.set(at - (at - this.from) * factor, at + (this.to - at) * factor);
  },

  pan(share) {
    const step = (this.to - this.from) * share;
    this.set(this.from + step, this.to + step);
  },

  /* Show a stretch with some of its surroundings. */
  show(from, to) {
    const margin = Math.max((to - from) * 0.35, 2000);
    this.set(from - margin, to + margin);
  },

  changed() {
    for (const listener of this.listeners) listener();
  },

  point(time) {
    this.pointer = time;
    for (const listener of this.pointerListeners) listener();
  },
};

/* Every kind of fault has a colour of its own name in base.css. */
const KINDS = ["partition", "kill", "pause", "clock", "disk", "resource", "network", "member", "transfer", "snapshot", "damage", "amnesia"];
let palette = {};

function readPalette() {
  const style = getComputedStyle(document.documentElement);
  palette = {};
  const names = ["ground", "surface", "sunken", "text", "muted", "line", "line-strong", "accent", "bad", "good",
    "ok", "fail", "info", "other", "band-alpha", ...KINDS];
  for (const name of names) palette[name] = style.getPropertyValue(`--${name}`).trim();
}

const kindColour = (kind) => (KINDS.includes(kind) ? palette[kind] : palette.other);

/* Nodes by colour and by shape: never by colour alone. */
const SHAPES = ["circle", "square", "triangle", "diamond", "cross"];
const nodeColour = (number) => palette[["ok", "info", "clock", "fail", "pause", "partition", "other"][number % 7]];
const nodeShape = (number) => SHAPES[number % SHAPES.length];

readPalette();

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

/* Decimals enough to tell two neighbours apart at the window's width. */
function seconds(time, span = view.to - view.from) {
  const digits = span < 2e4 ? 5 : span < 2e5 ? 4 : span < 2e6 ? 3 : span < 2e7 ? 2 : 1;
  return `${(time / 1e6).toFixed(digits)} s`;
}

function milliseconds(value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(2)} s`;
  return `${value.toFixed(value >= 100 ? 0 : value >= 1 ? 1 : 2)} ms`;
}

/* The first place in a sorted list whose value is not below `wanted`. */
function lowerBound(list, wanted, get = (one) => one) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (get(list[middle]) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
