// Balance, predictions, links, memory, and the course of training.

const kBarRow = 26;

/** Names of ranks in pipeline order, with their stages. */
const rankLabel = (rank) => `rank ${rank.rank}`;
const stageText = (rank) => (rank.stages.length > 1 ? "stages " : "stage ") + rank.stages.join(", ");

function barGrid(count, perRow, narrow, more = {}) {
  return { grid: { left: narrow ? 52 : 64, right: narrow ? 12 : 24, top: 34, bottom: 44, ...more }, height: count * perRow + 34 + 44 };
}

function balanceChart(run) {
  return addChart("balance-chart", "Busy, waiting and transfer time of each rank", (width) => {
    const narrow = width < 560;
    const ranks = run.ranks;
    const iteration = run.iteration.measured, predicted = run.iteration.predicted;
    const { grid, height } = barGrid(ranks.length, 56, narrow);
    const rest = (rank) => Math.max(0, iteration - rank.share.busy - rank.share.waiting);
    const bars = (name, stack, tone, values, opacity = 1) => ({
      type: "bar", name, stack, data: values, itemStyle: { color: tone, opacity }, barWidth: stack === "transfer" ? 7 : 15, barGap: "18%",
    });
    const measured = ranks.every((rank) => rank.share);
    const series = [];
    if (measured) {
      series.push(bars("busy", "measured", colour("forward"), ranks.map((rank) => rank.share.busy)),
        bars("waiting", "measured", colour("wait"), ranks.map((rank) => rank.share.waiting), 0.6),
        bars("engine", "measured", colour("weight"), ranks.map(rest)));
    }
    if (ranks.every((rank) => known(rank.busy.predicted))) {
      series.push(bars("busy, simulated", "simulated", colour("backward"), ranks.map((rank) => rank.busy.predicted)),
        bars("idle, simulated", "simulated", colour("track"), ranks.map((rank) => Math.max(0, predicted - rank.busy.predicted))));
    }
    if (measured && ranks.length > 1) series.push(bars("its messages on the links", "transfer", colour("send-forward"), ranks.map((rank) => rank.share.transfer)));
    return {
      height,
      option: {
        grid, series, legend: legend(),
        xAxis: axis({ type: "value", axisLabel: { formatter: shortSeconds }, splitNumber: narrow ? 3 : 6 }),
        yAxis: axis({ type: "category", inverse: true, data: ranks.map(rankLabel), splitLine: { show: false } }),
        tooltip: tooltip({
          trigger: "axis", axisPointer: { type: "shadow", shadowStyle: { color: colour("shade"), opacity: 0.6 } },
          formatter: (items) => {
            const rank = ranks[items[0].dataIndex];
            const lines = [["has", stageText(rank)]];
            for (const item of items) {
              const whole = item.seriesName.includes("simulated") ? predicted : iteration;
              lines.push([item.seriesName, `${seconds(item.value)} (${percent(item.value / whole)})`]);
            }
            return tip(rankLabel(rank), lines);
          },
        }),
      },
    };
  }).element;
}

/** Every pair of a predicted and a measured time, on logarithmic axes around the diagonal. */
function predictionChart(run) {
  const groups = [
    ["rank, an iteration", run.ranks.map((rank) => ({ name: `rank ${rank.rank} busy`, pair: rank.busy }))],
    ["pass of a stage", run.passes.map((pass) => ({ name: `stage ${pass.stage} ${pass.pass}`, pair: pass.time }))],
    ["edge, a micro-batch", run.edges.map((edge) => ({ name: `edge ${edge.from} → ${edge.to}`, pair: edge.time }))],
    ["iteration", [{ name: "iteration", pair: run.iteration }]],
  ].map(([name, points]) => [name, points.filter(({ pair }) => pair.predicted > 0 && pair.measured > 0)]);
  const all = groups.flatMap(([, points]) => points.flatMap(({ pair }) => [pair.predicted, pair.measured]));
  if (!all.length) return null;
  const low = 10 ** Math.floor(Math.log10(Math.min(...all))), high = 10 ** Math.ceil(Math.log10(Math.max(...all)));
  return addChart("prediction-chart", "Predicted against measured times", (width) => {
    const narrow = width < 480;
    const line = (factor, type) => ({
      type: "line", silent: true, showSymbol: false, data: [[low, low * factor], [high, high * factor]], tooltip: { show: false },
      lineStyle: { color: colour("soft"), width: 1, type, opacity: type === "solid" ? 0.9 : 0.5 },
    });
    return {
      height: narrow ? 300 : 340,
      option: {
        grid: { left: 62, right: 18, top: 38, bottom: 48 }, legend: legend({ data: groups.map(([name]) => name) }),
        xAxis: axis({ type: "log", min: low, max: high, name: "predicted", nameLocation: "middle", nameGap: 30, axisLabel: { formatter: shortSeconds } }),
        yAxis: axis({ type: "log", min: low, max: high, name: "measured", nameLocation: "middle", nameGap: 46, axisLabel: { formatter: shortSeconds } }),
        tooltip: tooltip({
          trigger: "item",
          formatter: ({ data }) => tip(data.name, [["measured", seconds(data.value[1])], ["predicted", seconds(data.value[0])], ["error", signed(data.value[0] / data.value[1] - 1)]]),
        }),
        series: [
          ...groups.map(([name, points], i) => ({
            type: "scatter", name, symbol: ["circle", "rect", "triangle", "diamond"][i], symbolSize: 11, itemStyle: { opacity: 0.85 },
            data: points.map((point) => ({ name: point.name, value: [point.pair.predicted, point.pair.measured] })),
          })),
          line(1, "solid"), line(1.1, "dashed"), line(1 / 1.1, "dashed"),
        ],
      },
    };
  }).element;
}

function predictionTable(run) {
  const row = (name, detail, pair, format) => {
    const error = errorOf(pair);
    return [name, detail, format(pair.measured), format(pair.predicted), { text: signed(error), class: errorClass(error) }];
  };
  const rows = [row("iteration", "", run.iteration, seconds)];
  for (const rank of run.ranks) rows.push(row(`rank ${rank.rank} busy`, stageText(rank), rank.busy, seconds));
  for (const pass of run.passes) rows.push(row(`stage ${pass.stage} ${pass.pass}`, pass.count > 1 ? `median of ${pass.count}` : "once", pass.time, seconds));
  for (const edge of run.edges) rows.push(row(`edge ${edge.stage} ↔ ${edge.stage + 1}`, `rank ${edge.from} → ${edge.to} and back`, edge.time, seconds));
  for (const rank of run.ranks) rows.push(row(`rank ${rank.rank} memory`, "peak", rank.memory, bytes));
  return table(["what", "", "measured", "predicted", "error"], rows);
}

function linksChart(run) {
  return addChart("links-chart", "Measured and profiled rate of each link", (width) => {
    const narrow = width < 560;
    const links = run.links;
    const rate = (link, time) => (time ? link.bytes / time : null);
    const { grid, height } = barGrid(links.length, 38, narrow);
    return {
      height,
      option: {
        grid, legend: legend(),
        xAxis: axis({ type: "value", splitNumber: narrow ? 3 : 6, axisLabel: { formatter: (value) => shortBytes(value) + "/s" } }),
        yAxis: axis({ type: "category", inverse: true, data: links.map((link) => `${link.from} → ${link.to}`), splitLine: { show: false } }),
        series: [
          { type: "bar", name: "profiled rate", data: links.map((link) => rate(link, link.time.predicted)), itemStyle: { color: colour("track"), borderColor: colour("soft"), borderWidth: 1 }, barWidth: 12, barGap: "15%" },
          { type: "bar", name: "measured rate", data: links.map((link) => rate(link, link.time.measured)), itemStyle: { color: colour("send-forward") }, barWidth: 12 },
        ],
        tooltip: tooltip({
          trigger: "axis", axisPointer: { type: "shadow", shadowStyle: { color: colour("shade"), opacity: 0.6 } },
          formatter: (items) => {
            const link = links[items[0].dataIndex];
            return tip(`rank ${link.from} to ${link.to}`, [["messages", count(link.messages)], ["bytes", bytes(link.bytes)], ["in use", seconds(link.time.measured)],
              ...items.map((item) => [item.seriesName, known(item.value) ? bytes(item.value) + "/s" : kNone])]);
          },
        }),
      },
    };
  }).element;
}

function linksTable(run) {
  return table(["link", "messages", "bytes", "in use", "of iteration", "measured rate", "profiled rate", "of profiled"], run.links.map((link) => {
    const { measured, predicted } = link.time;
    const share = measured / run.iteration.measured;
    const ratio = known(predicted) && measured ? predicted / measured : null;
    return [`${link.from} → ${link.to}`, count(link.messages), bytes(link.bytes), seconds(measured), { text: el("span", {}, percent(share, 1), meter(share)) },
      measured ? bytes(link.bytes / measured) + "/s" : kNone, predicted ? bytes(link.bytes / predicted) + "/s" : kNone,
      { text: percent(ratio), class: errorClass(ratio === null ? null : Math.log(ratio) / 3) }];
  }));
}

function memoryChart(run) {
  const ranks = run.ranks.filter((rank) => known(rank.memory.measured) || known(rank.memory.predicted));
  return addChart("memory-chart", "Peak memory of each rank, predicted peak and limit", (width) => {
    const narrow = width < 560;
    const { grid, height } = barGrid(ranks.length, 44, narrow, { right: narrow ? 14 : 24 });
    const most = Math.max(...ranks.map((rank) => Math.max(rank.memory.measured ?? 0, rank.memory.predicted ?? 0)));
    const limits = ranks.map((rank) => rank.limit).filter((limit) => limit > 0);
    // A limit far away would leave nothing to see of the peaks; then the labels tell it.
    const far = !limits.length || Math.max(...limits) > 3 * most;
    const max = far ? most * (narrow ? 1.75 : 1.3) : Math.max(...limits) * 1.05;
    const label = {
      show: true, position: "right", color: colour("soft"), fontSize: 12,
      formatter: ({ dataIndex }) => {
        const { memory, limit } = ranks[dataIndex];
        return limit > 0 && known(memory.measured) ? `${percent(memory.measured / limit)} of ${bytes(limit)}` : "";
      },
    };
    return {
      height,
      option: {
        grid, legend: legend(),
        xAxis: axis({ type: "value", max, splitNumber: narrow ? 3 : 6, axisLabel: { formatter: (value) => (value === max ? "" : shortBytes(value)) } }),
        yAxis: axis({ type: "category", inverse: true, data: ranks.map(rankLabel), splitLine: { show: false } }),
        series: [
          { type: "bar", name: "measured peak", data: ranks.map((rank) => rank.memory.measured), itemStyle: { color: colour("forward") }, barWidth: 14, barGap: "18%", label },
          { type: "bar", name: "predicted peak", data: ranks.map((rank) => rank.memory.predicted), itemStyle: { color: colour("backward") }, barWidth: 14 },
          ...(far ? [] : [{
            type: "scatter", name: "limit", data: ranks.map((rank, i) => [rank.limit, i]), symbol: "rect", symbolSize: [3, 40], itemStyle: { color: colour("bad") },
          }]),
        ],
        tooltip: tooltip({
          trigger: "axis", axisPointer: { type: "shadow", shadowStyle: { color: colour("shade"), opacity: 0.6 } },
          formatter: (items) => {
            const rank = ranks[items[0].dataIndex];
            return tip(rankLabel(rank), [["measured peak", bytes(rank.memory.measured)], ["predicted peak", bytes(rank.memory.predicted)], ["error", signed(errorOf(rank.memory))], ["limit", bytes(rank.limit)]]);
          },
        }),
      },
    };
  }).element;
}

/** Median of the values around each place. */
function smooth(values, reach) {
  return values.map((_, i) => {
    const around = values.slice(Math.max(0, i - reach), i + reach + 1).filter(known).sort((a, b) => a - b);
    return around[Math.floor(around.length / 2)];
  });
}

/** One line a run over its steps; long ones as a faint line below their moving median. */
function stepsChart(id, label, lines, format, marks = []) {
  return addChart(id, label, (width) => {
    const narrow = width < 480;
    const palette = seriesColours();
    const series = [];
    lines.forEach((line, index) => {
      const tone = palette[index % palette.length];
      const reach = Math.floor(line.values.length / 40);
      const points = (values) => values.map((value, i) => [line.steps[i], value]);
      if (reach > 0) {
        series.push({ type: "line", name: line.name, data: points(line.values), showSymbol: false, silent: true, tooltip: { show: false }, lineStyle: { color: tone, width: 1, opacity: 0.3 }, itemStyle: { color: tone } });
      }
      series.push({
        type: "line", name: line.name, data: points(reach > 0 ? smooth(line.values, reach) : line.values), showSymbol: line.values.length < 12, symbolSize: 5,
        lineStyle: { color: tone, width: 2 }, itemStyle: { color: tone },
        markLine: index === 0 && marks.length ? {
          silent: true, symbol: "none", label: { show: false }, lineStyle: { color: colour("soft"), type: "dotted", width: 1 }, data: marks.map((step) => ({ xAxis: step })),
        } : undefined,
      });
    });
    return {
      height: narrow ? 230 : 260,
      option: {
        grid: { left: 58, right: 16, top: 34, bottom: 40 }, series, legend: legend({ data: [...new Set(lines.map((line) => line.name))] }),
        xAxis: axis({ type: "value", name: "step", nameLocation: "middle", nameGap: 24, minInterval: 1, min: "dataMin", max: "dataMax", splitLine: { show: false } }),
        yAxis: axis({ type: "value", scale: true, axisLabel: { formatter: format } }),
        tooltip: tooltip({
          trigger: "axis",
          formatter: (items) => {
            const step = items[0].value[0];
            const seen = lines.map((line) => [line.name, line.values[line.steps.indexOf(step)]]).filter(([, value]) => known(value));
            return tip("step " + step, seen.map(([name, value]) => [name, format(value)]));
          },
        }),
      },
    };
  }).element;
}
