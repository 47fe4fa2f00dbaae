// What the trained router is worth: the cost-quality frontier, calibration, and the table of methods.

function frontierChart(evaluation) {
  const rows = evaluation.rows;
  return addChart("frontier-chart", "Share of right answers against price, for the router, its baselines and each LLM", (width) => {
    const narrow = width < 480;
    const palette = seriesColours();
    const price = (usd) => usd * 1000;
    const curves = rows.filter((row) => (row.frontier ?? []).length > 1);
    const points = rows.filter((row) => (row.frontier ?? []).length <= 1 && row.name !== "oracle");
    const oracle = rows.find((row) => row.name === "oracle");
    const series = curves.map((row, i) => ({
      type: "line", name: row.name === "best single LLM" ? "mix of single LLMs" : row.name, data: row.frontier.map(([usd, right]) => [price(usd), right]), symbolSize: 5, showSymbol: false,
      lineStyle: { width: i === 0 ? 3 : 1.8, color: palette[i % palette.length], type: i < 2 ? "solid" : "dashed" }, itemStyle: { color: palette[i % palette.length] },
    }));
    series.push({
      type: "scatter", name: "single LLM", symbolSize: 8, itemStyle: { color: "transparent", borderColor: colour("soft"), borderWidth: 1.4 },
      data: (evaluation.single_models ?? []).map((model) => ({ name: model.name, value: [price(model.usd_per_query), model.accuracy] })),
    });
    series.push({
      type: "scatter", name: "other", symbol: "diamond", symbolSize: 11, itemStyle: { color: colour("soft") },
      data: points.map((row) => ({ name: row.name, value: [price(row.usd_per_query), row.accuracy] })),
    });
    if (oracle) series[0].markLine = { silent: true, symbol: "none", data: [{ yAxis: oracle.accuracy }], lineStyle: { color: colour("soft"), type: "dotted" }, label: { formatter: `oracle ${percent(oracle.accuracy, 1)}`, position: "insideEndTop", color: colour("soft") } };
    return {
      height: narrow ? 340 : 380,
      option: {
        grid: { left: 62, right: 18, top: 40, bottom: 48 }, series, legend: legend(),
        xAxis: axis({ type: "log", name: "USD per 1000 queries", nameLocation: "middle", nameGap: 30, axisLabel: { formatter: (value) => digits(value, 2) }, splitLine: { show: false } }),
        yAxis: axis({ type: "value", name: "right answers", nameLocation: "middle", nameGap: 42, scale: true, min: (value) => Math.floor(value.min * 20) / 20, max: oracle ? (value) => Math.max(value.max, oracle.accuracy) + 0.02 : null, axisLabel: { formatter: (value) => percent(value) } }),
        tooltip: tooltip({
          trigger: "item",
          formatter: (params) => tip(params.data.name ?? params.seriesName, [["right", percent(params.value[1], 1)], ["USD per 1000", digits(params.value[0])]]),
        }),
      },
    };
  }).element;
}

/** Expected calibration error: mean gap between predicted and right, weighted by pairs. */
function calibrationError(bins) {
  const pairs = bins.reduce((sum, bin) => sum + bin.pairs, 0);
  return bins.reduce((sum, bin) => sum + bin.pairs * Math.abs(bin.predicted - bin.right), 0) / pairs;
}

function calibrationChart(evaluation) {
  const rows = evaluation.rows.filter((row) => (row.calibration ?? []).length).slice(0, 3);
  return addChart("calibration-chart", "Reliability diagram: share of right answers against the predicted probability", (width) => {
    const narrow = width < 480;
    const most = Math.max(...rows.flatMap((row) => row.calibration.map((bin) => bin.pairs)));
    return {
      height: narrow ? 320 : 380,
      option: {
        grid: { left: 62, right: 18, top: 40, bottom: 48 }, legend: legend({ data: rows.map((row) => row.name) }),
        xAxis: axis({ type: "value", min: 0, max: 1, name: "predicted probability", nameLocation: "middle", nameGap: 30, axisLabel: { formatter: (value) => percent(value) } }),
        yAxis: axis({ type: "value", min: 0, max: 1, name: "right answers", nameLocation: "middle", nameGap: 42, axisLabel: { formatter: (value) => percent(value) } }),
        series: [
          ...rows.map((row) => ({
            type: "line", name: row.name, lineStyle: { width: 1.8 }, data: row.calibration.map((bin) => ({ value: [bin.predicted, bin.right], pairs: bin.pairs, symbolSize: 5 + 15 * Math.sqrt(bin.pairs / most) })),
            symbol: "circle",
          })),
          { type: "line", name: "perfect", silent: true, showSymbol: false, data: [[0, 0], [1, 1]], tooltip: { show: false }, lineStyle: { color: colour("soft"), type: "dotted", width: 1.4 } },
        ],
        tooltip: tooltip({
          trigger: "item",
          formatter: (params) => tip(params.seriesName, [["predicted", percent(params.value[0], 1)], ["right", percent(params.value[1], 1)], ["pairs of query and LLM", count(params.data.pairs)]]),
        }),
      },
    };
  }).element;
}

function routerTable(evaluation) {
  const cell = (value) => (known(value) ? value.toFixed(4) : kNone);
  return table(["method", "right", "macro AUC", "Brier", "calibration error", "USD per 1000", "AIQ"], evaluation.rows.map((row) =>
    [row.name, percent(row.accuracy, 1), cell(row.macro_auc), cell(row.brier), (row.calibration ?? []).length ? cell(calibrationError(row.calibration)) : kNone, digits(row.usd_per_query * 1000), cell(row.aiq)]));
}

function routerSection(evaluation) {
  return [
    el("p", { class: "soft" }, `${count(evaluation.queries)} held-out queries, ${count(evaluation.models)} LLMs. A curve is what a method reaches as it weighs price against quality; up and to the left is better. In the other chart points on the diagonal mean what they say; their size is the number of pairs of query and LLM.`),
    el("div", { class: "two" }, el("div", {}, frontierChart(evaluation)), el("div", {}, calibrationChart(evaluation))),
    routerTable(evaluation),
  ];
}
