"use strict";
// Themes and the charts that follow them.

const kTheme = "motley-report-theme";

/** What the reader chose before, else what the system prefers. */
function preferredTheme() {
  try {
    const kept = localStorage.getItem(kTheme);
    if (kept === "dark" || kept === "light") return kept;
  } catch { /* a file opened where storage is forbidden */ }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
}

function seriesColours() {
  return [1, 2, 3, 4, 5, 6].map((i) => colour("series-" + i));
}

/** Charts of the page by id: {element, chart, build}; build(width) returns the option and may set the height. */
const charts = new Map();

function draw(entry) {
  const { option, height } = entry.build(entry.element.clientWidth);
  entry.element.style.height = height + "px";
  entry.chart.resize();
  entry.chart.setOption({ ...common(), ...option }, { notMerge: true });
}

/** A chart in `element`, drawn again when its width or the theme changes. */
function addChart(id, label, build) {
  const element = el("div", { class: "chart", id, role: "img", "aria-label": label });
  const entry = { element, chart: null, build, width: 0 };
  charts.set(id, entry);
  new ResizeObserver(() => {
    const width = element.clientWidth;
    if (width === 0 || width === entry.width) return;
    entry.width = width;
    if (!entry.chart) {
      element.style.height = build(width).height + "px";
      entry.chart = echarts.init(element, null, { renderer: "canvas" });
      if (entry.started) entry.started(entry.chart);
    }
    draw(entry);
  }).observe(element);
  return entry;
}

function redraw(id) {
  const entry = charts.get(id);
  if (entry && entry.chart) draw(entry);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.textContent = theme === "dark" ? "☀ Light" : "☾ Dark";
  button.setAttribute("aria-label", theme === "dark" ? "Switch to the light theme" : "Switch to the dark theme");
  for (const id of charts.keys()) redraw(id);
}

function startThemes() {
  setTheme(preferredTheme());
  document.getElementById("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem(kTheme, theme); } catch { /* then it lasts as long as the page */ }
    setTheme(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(preferredTheme()));
}

/** What all charts share. */
function common() {
  return {
    animation: false,
    backgroundColor: "transparent",
    color: seriesColours(),
    textStyle: { color: colour("text"), fontFamily: getComputedStyle(document.body).fontFamily },
    tooltip: tooltip(),
  };
}

function tooltip(more = {}) {
  return {
    confine: true, backgroundColor: colour("card"), borderColor: colour("line"), borderWidth: 1, padding: [8, 10],
    textStyle: { color: colour("text"), fontSize: 13 }, extraCssText: "box-shadow:0 4px 18px rgba(0,0,0,.18);border-radius:8px;",
    ...more,
  };
}

function axis(more = {}) {
  return {
    axisLine: { lineStyle: { color: colour("line") } },
    axisTick: { lineStyle: { color: colour("line") } },
    splitLine: { lineStyle: { color: colour("line"), opacity: 0.55 } },
    nameTextStyle: { color: colour("soft"), fontSize: 12 },
    ...more,
    axisLabel: { color: colour("soft"), fontSize: 12, hideOverlap: true, ...more.axisLabel },
  };
}

function legend(more = {}) {
  return {
    type: "scroll", top: 0, left: 0, itemWidth: 14, itemHeight: 9, itemGap: 14,
    textStyle: { color: colour("soft"), fontSize: 12.5, lineHeight: 18 },  // a page of it is cut off at the lines
    pageTextStyle: { color: colour("soft") }, pageIconColor: colour("accent"), pageIconInactiveColor: colour("line"), ...more,
  };
}
