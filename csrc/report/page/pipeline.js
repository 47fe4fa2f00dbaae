// The pipeline chart: one row per rank and per link, the measured iteration above another one on the same time axis.

const kRankRow = 24, kLinkRow = 13, kRowGap = 3;

/** What a bar is, from its category and name ("1F3", "1SEND_B3", "wait 1RECV_F0", "0UPDATE"). */
function describe(category, name) {
  if (category === "wait") return { kind: "wait", what: "waits for " + describe("", name.slice(5)).what };
  const compute = /^(\d+)([FBIW])(\d+)$/.exec(name);
  if (compute) {
    const [, stage, letter, microBatch] = compute;
    const words = { F: ["forward", "forward"], B: ["backward", "backward"], I: ["input", "input gradient"], W: ["weight", "weight gradient"] }[letter];
    return { kind: words[0], what: `${words[1]} of micro-batch ${microBatch} in stage ${stage}`, label: microBatch };
  }
  const transfer = /^(\d+)(SEND|RECV)_([FB])(\d+)/.exec(name);
  if (transfer) {
    const [, stage, , letter, microBatch] = transfer;
    const from = letter === "F" ? "output" : "gradient";
    return { kind: letter === "F" ? "send-forward" : "send-backward", what: `${from} of micro-batch ${microBatch}, ${transfer[2] === "SEND" ? "from" : "to"} stage ${stage}`, label: microBatch };
  }
  if (/UPDATE/.test(name)) return { kind: "update", what: "optimiser step of stage " + parseInt(name, 10), label: "U" };
  if (/REDUCE_GRAD/.test(name)) return { kind: "wait", what: "sum of the gradients of stage " + parseInt(name, 10) };
  if (/NORM/.test(name)) return { kind: "wait", what: "gradient norms of all ranks" };
  return { kind: "update", what: name };
}

/** Lanes of both panels in pipeline order: a rank, then the links between it and the next. */
function lanesOf(run, panels) {
  const place = new Map(run.ranks.map((rank, index) => [rank.rank, index]));
  const key = (lane) => {
    const [from, to] = lane.match(/\d+/g).map((text) => place.get(Number(text)) ?? 1000 + Number(text));
    return to === undefined ? 3 * from : 3 * Math.min(from, to) + (from < to ? 1 : 2);
  };
  const names = new Set(panels.flatMap((events) => events.map((event) => event[0])));
  return [...names].sort((a, b) => key(a) - key(b)).map((name) => ({ name, link: name.includes(" to ") }));
}

function stackRows(lanes) {
  let top = 0;
  for (const lane of lanes) {
    lane.top = top;
    lane.bottom = top + (lane.link ? kLinkRow : kRankRow);
    top = lane.bottom + kRowGap;
  }
  return top;
}

const endOf = (events) => events.reduce((end, event) => Math.max(end, event[3] + event[4]), 0);

/** Sources for a panel of this run: what happened, what was simulated, what happened in other runs. */
function panelSources(run, runs) {
  const sources = [];
  if (run.measured.length) sources.push({ title: "measured", events: run.measured });
  if (run.simulated.length) sources.push({ title: "simulated", events: run.simulated });
  for (const other of runs) {
    if (other !== run && other.measured.length) sources.push({ title: other.name + ", measured", events: other.measured });
  }
  return sources;
}

/** The series that draws one panel's bars. */
function barsOf(panel, lanes, index, twins) {
  const byName = new Map(lanes.map((lane) => [lane.name, lane]));
  const colours = {};
  const bars = panel.events.map(([laneName, category, name, start, duration]) => {
    const what = describe(category, name);
    const lane = byName.get(laneName);
    colours[what.kind] ??= colour(what.kind);
    return { lane, name, start, duration, ...what };
  });
  bars.forEach((bar, i) => twins[index].set(bar.lane.name + "/" + bar.name, i));
  const text = colour("on-bar"), edge = colour("card"), mark = colour("text");
  return {
    bars,
    series: {
      type: "custom", name: panel.title, xAxisIndex: index, yAxisIndex: index, clip: true, progressive: 0,
      dimensions: ["start", "end", "top", "bottom"], encode: { x: [0, 1], y: [2, 3] },
      data: bars.map((bar) => [bar.start, bar.start + bar.duration, bar.lane.top, bar.lane.bottom]),
      renderItem(params, api) {
        const bar = bars[params.dataIndexInside === undefined ? params.dataIndex : params.dataIndex];
        const [left, top] = api.coord([api.value(0), api.value(2)]);
        const [right, bottom] = api.coord([api.value(1), api.value(3)]);
        const area = params.coordSys;
        const x = Math.max(left, area.x), end = Math.min(right, area.x + area.width);
        if (end < area.x || x > area.x + area.width) return null;
        const width = Math.max(end - x, 0.6);
        const wide = width > 4;
        const item = {
          type: "rect",
          shape: { x, y: top, width, height: bottom - top, r: wide && !bar.lane.link ? 2 : 0 },
          style: { fill: colours[bar.kind], stroke: wide ? edge : null, lineWidth: wide ? 1 : 0, opacity: bar.kind === "wait" ? 0.45 : 1 },
          emphasis: { style: { stroke: mark, lineWidth: 1.6 } },
        };
        if (bar.label && bar.kind !== "wait" && !bar.lane.link && width > 8 + 7 * bar.label.length) {
          item.textContent = { style: { text: width > 64 ? bar.name : bar.label, fill: text, fontSize: 11 } };
          item.textConfig = { position: "inside" };
        }
        return item;
      },
    },
  };
}

function pipelineOption(run, panels, width) {
  const narrow = width < 600;
  const lanes = lanesOf(run, panels.map((panel) => panel.events));
  const rows = stackRows(lanes);
  const end = Math.max(...panels.map((panel) => endOf(panel.events)), 1e-9);
  const left = narrow ? 46 : 78, right = narrow ? 8 : 16, title = 26, between = 34;
  const twins = panels.map(() => new Map());
  const drawn = panels.map((panel, index) => barsOf(panel, lanes, index, twins));
  const twinOf = (seriesIndex, bar) => {
    const other = 1 - seriesIndex;
    const found = twins[other]?.get(bar.lane.name + "/" + bar.name);
    return found === undefined ? null : { index: found, bar: drawn[other].bars[found], title: panels[other].title };
  };
  const devices = new Map(run.ranks.map((rank) => ["rank " + rank.rank, rank.device]));
  const option = {
    title: panels.map((panel, index) => ({
      text: `${panel.title}: ${seconds(endOf(panel.events))}`, left: left - 4, top: index * (rows + title + between) + 2,
      textStyle: { color: colour("text"), fontSize: 13.5, fontWeight: 600 },
    })),
    grid: panels.map((_, index) => ({ left, right, top: index * (rows + title + between) + title, height: rows })),
    xAxis: panels.map((_, index) => axis({
      gridIndex: index, type: "value", min: 0, max: end, splitNumber: narrow ? 4 : 10,
      axisLabel: { formatter: shortSeconds, showMaxLabel: false }, axisPointer: { show: false },
    })),
    yAxis: panels.map((_, index) => axis({
      gridIndex: index, type: "value", inverse: true, min: 0, max: rows, splitLine: { show: false }, axisTick: { show: false },
      axisLabel: {
        customValues: lanes.map((lane) => (lane.top + lane.bottom) / 2), hideOverlap: false,
        fontSize: 11,
        formatter: (value) => {
          const lane = lanes.find((one) => Math.abs((one.top + one.bottom) / 2 - value) < 0.5);
          if (!lane) return "";
          if (lane.link) return `{link|${lane.name.replace("rank ", "").replace(" to ", " → ")}}`;
          return narrow ? lane.name.replace("rank ", "r") : lane.name;
        },
        rich: { link: { color: colour("soft"), fontSize: 9.5 } },
      },
    })),
    dataZoom: [
      { type: "inside", xAxisIndex: panels.map((_, i) => i), filterMode: "weakFilter", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true, preventDefaultMouseMove: false, minSpan: 0.05 },
      {
        type: "slider", xAxisIndex: panels.map((_, i) => i), filterMode: "weakFilter", height: 22, bottom: 6, left, right, brushSelect: true, minSpan: 0.05,
        borderColor: colour("line"), fillerColor: colour("track"), backgroundColor: "transparent", showDetail: false,
        handleStyle: { color: colour("accent") }, moveHandleStyle: { color: colour("line") }, dataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
        selectedDataBackground: { lineStyle: { opacity: 0 }, areaStyle: { opacity: 0 } },
      },
    ],
    tooltip: tooltip({
      trigger: "item",
      formatter: (params) => {
        const bar = drawn[params.seriesIndex].bars[params.dataIndex];
        const lines = [["where", bar.lane.name + (devices.has(bar.lane.name) && devices.get(bar.lane.name) !== bar.lane.name.replace(" ", "") ? ` (${devices.get(bar.lane.name)})` : "")],
          ["time", seconds(bar.duration)], ["from", seconds(bar.start)], ["to", seconds(bar.start + bar.duration)]];
        const twin = twinOf(params.seriesIndex, bar);
        if (twin) {
          lines.push([twin.title, seconds(twin.bar.duration)]);
          lines.push(["difference", signed(bar.duration / twin.bar.duration - 1)]);
        }
        return tip(`${bar.name} · ${bar.what}`, lines);
      },
    }),
    series: drawn.map((one) => one.series),
  };
  return { option, twinOf, drawn, height: panels.length * (rows + title + between) + 36 };
}

function pipelineSection(run, runs) {
  const sources = panelSources(run, runs);
  if (!sources.length) {
    return [el("p", { class: "empty" }, "Neither a trace nor a profile is in the run's folder. Train with --trace and --profile to see the pipeline.")];
  }
  let lower = sources.length > 1 ? 1 : -1;
  let current = null;
  const panels = () => (lower < 0 ? [sources[0]] : [sources[0], sources[lower]]);
  const entry = addChart("pipeline-chart", "Pipeline chart: one row per rank and link, a bar per action", (width) => (current = pipelineOption(run, panels(), width)));
  const window_ = () => {
    const zoom = entry.chart.getOption().dataZoom[0];
    return [zoom.start ?? 0, zoom.end ?? 100];
  };
  const zoomTo = (start, end) => entry.chart.dispatchAction({ type: "dataZoom", dataZoomIndex: 0, start: Math.max(0, start), end: Math.min(100, end) });
  const zoomBy = (factor) => {
    const [start, end] = window_();
    const half = Math.min(50, Math.max(0.05, ((end - start) / 2) * factor)), middle = Math.min(100 - half, Math.max(half, (start + end) / 2));
    zoomTo(middle - half, middle + half);
  };
  entry.started = (chart) => {
    const light = (type) => (params) => {
      if (params.componentType !== "series") return;
      const twin = current.twinOf(params.seriesIndex, current.drawn[params.seriesIndex].bars[params.dataIndex]);
      if (twin) chart.dispatchAction({ type, seriesIndex: 1 - params.seriesIndex, dataIndex: twin.index });
    };
    chart.on("mouseover", light("highlight"));
    chart.on("mouseout", light("downplay"));
    chart.getZr().on("dblclick", () => zoomTo(0, 100));
  };
  const button = (text, label, action) => {
    const element = el("button", { type: "button", "aria-label": label, title: label }, text);
    element.addEventListener("click", action);
    return element;
  };
  const tools = el("div", { class: "tools" },
    button("+", "Zoom in", () => zoomBy(0.5)), button("−", "Zoom out", () => zoomBy(2)), button("Whole iteration", "Show the whole iteration", () => zoomTo(0, 100)));
  if (sources.length > 2) {
    const select = el("select", { "aria-label": "What the lower chart shows" }, ...sources.slice(1).map((source, i) => el("option", { value: i + 1 }, "below: " + source.title)));
    select.addEventListener("change", () => { lower = Number(select.value); redraw("pipeline-chart"); });
    tools.append(select);
  }
  const kinds = [["forward", "forward"], ["backward", "backward"], ["weight", "weight gradient"], ["update", "optimiser step"], ["wait", "waiting"], ["send-forward", "transfer up"], ["send-backward", "transfer down"]];
  const present = new Set(sources.flatMap((source) => source.events.map((event) => describe(event[1], event[2]).kind)).map((kind) => (kind === "input" ? "backward" : kind)));
  const key = el("div", { class: "legend" }, ...kinds.filter(([kind]) => present.has(kind)).map(([kind, text]) => el("span", {}, el("i", { style: `background:var(--${kind})` }), text)));
  const touch = el("p", { class: "soft by-touch" }, "Two fingers zoom, one moves; tap a bar for its action and time. The slider takes a range. Numbers in bars are micro-batches.");
  const hint = el("p", { class: "soft by-mouse" }, "Ctrl and the wheel zoom, dragging moves, a double click shows all; the slider below takes a range. Numbers in bars are micro-batches. A bar under the pointer is outlined in both charts.");
  return [tools, key, entry.element, hint, touch];
}
