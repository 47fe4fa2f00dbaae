// Numbers as a person reads them, and elements without markup in strings.

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const kNone = "–";
const known = (value) => value !== null && value !== undefined;

function digits(value, count = 3) {
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value))) + 1;
  return value.toFixed(Math.max(0, Math.min(6, count - size)));
}

function seconds(value) {
  if (!known(value)) return kNone;
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 1e-3) return digits(value * 1e6) + " µs";
  if (size < 1) return digits(value * 1e3) + " ms";
  return digits(value, 4) + " s";
}

/** The same without zeros that say nothing, for axes. */
function shortSeconds(value) {
  return seconds(value).replace(/(\.\d*?)0+ /, "$1 ").replace(". ", " ");
}

function bytes(value) {
  if (!known(value)) return kNone;
  const units = [[1e9, "GB"], [1e6, "MB"], [1e3, "KB"]];
  for (const [size, unit] of units) {
    if (value >= size) return digits(value / size) + " " + unit;
  }
  return digits(value) + " B";
}

const shortBytes = (value) => bytes(value).replace(/(\.\d*?)0+ /, "$1 ").replace(". ", " ");

const percent = (value, places = 0) => (known(value) ? (value * 100).toFixed(places) + " %" : kNone);
const count = (value) => (known(value) ? Math.round(value).toLocaleString("en") : kNone);

/** predicted / measured - 1, or null. */
function errorOf(pair) {
  return known(pair.predicted) && pair.measured ? pair.predicted / pair.measured - 1 : null;
}

function signed(value) {
  return known(value) ? (value >= 0 ? "+" : "−") + Math.abs(value * 100).toFixed(1) + " %" : kNone;
}

/** How far a prediction may be off before it is coloured. */
function errorClass(value) {
  if (!known(value)) return null;
  const size = Math.abs(value);
  return size <= 0.05 ? "good" : size <= 0.15 ? "warn" : "bad";
}

/** rows: arrays of cells; a cell is text, an element, or {text, class}. */
function table(head, rows) {
  const cell = (value, tag) => {
    const plain = value === null || typeof value !== "object" || value instanceof Node;
    const element = el(tag, { class: plain ? null : value.class });
    element.append(plain ? value ?? kNone : value.text);
    return element;
  };
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((value) => cell(value, "td")))))));
}

function meter(share) {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return el("span", { class: "meter" }, el("i", { style: `width:${width.toFixed(1)}%` }));
}

/** A tooltip: a heading and lines of [name, value]. */
function tip(heading, lines) {
  return el("div", { class: "tip" }, el("b", {}, heading),
    el("table", {}, el("tbody", {}, ...lines.map(([name, value]) => el("tr", {}, el("td", {}, name), el("td", {}, value))))));
}
