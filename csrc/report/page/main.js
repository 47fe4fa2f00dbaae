// The page: sections in the order in which a person who tunes a pipeline asks.

const report = JSON.parse(document.getElementById("data").textContent);
const runs = report.runs;

function section(id, title, ...children) {
  document.getElementById("nav").append(el("a", { href: "#" + id }, title));
  const element = el("section", { id }, el("h2", {}, title), ...children);
  document.getElementById("main").append(element);
  return element;
}

/** A section whose content follows the chosen run. */
const ofRun = [];
function runSection(id, title, content) {
  const body = el("div");
  section(id, title, body);
  ofRun.push((run) => {
    for (const old of body.querySelectorAll(".chart")) {
      charts.get(old.id)?.chart?.dispose();
      charts.delete(old.id);
    }
    body.replaceChildren(...content(run));
  });
}

/** Keeps a number and its percent sign on one line. */
const prose = (text) => text.replace(/ %/g, "\u00a0%");

const empty = (text) => [el("p", { class: "empty" }, text)];

function samplesPerSecond(run) {
  return run.iteration.measured ? run.samples / run.iteration.measured : null;
}

function tiles(run) {
  const tile = (value, name, more) => el("div", { class: "tile" }, el("b", {}, value), el("span", {}, name), more ? el("span", {}, more) : null);
  const list = [tile(count(samplesPerSecond(run)), "samples a second", run.iteration.measured ? `median of ${run.settled_steps} steps` : null),
    tile(seconds(run.iteration.measured), "an iteration", known(run.iteration.predicted) ? `predicted ${seconds(run.iteration.predicted)} (${signed(errorOf(run.iteration))})` : null)];
  if (known(run.idle_share) && run.ranks.length > 1) {
    const busiest = run.ranks.reduce((a, b) => (a.share.busy > b.share.busy ? a : b));
    list.push(tile(percent(Math.max(0, run.idle_share)), "of device time idle", `${run.stages.length} stages, ${run.micro_batches} micro-batches`),
      tile(rankLabel(busiest), "is busiest", `${percent(busiest.share.busy / run.iteration.measured)} of the iteration`));
  }
  const memory = run.ranks.filter((rank) => known(rank.memory.measured));
  if (memory.length) {
    const most = memory.reduce((a, b) => (a.memory.measured > b.memory.measured ? a : b));
    list.push(tile(bytes(most.memory.measured), "highest memory peak", `rank ${most.rank}` + (most.limit > 0 ? `, ${percent(most.memory.measured / most.limit)} of its limit` : "")));
  }
  const { loss } = run.steps;
  if (loss.length) list.push(tile(digits(loss.at(-1), 4), "loss at the end", `${digits(loss[0], 4)} at the start`));
  const router = run.evaluation?.rows?.[0];
  if (router) list.push(tile(percent(router.accuracy, 1), "of queries routed right", `AIQ ${router.aiq?.toFixed(3) ?? kNone}`));
  return el("div", { class: "tiles" }, ...list);
}

function comparisonTable() {
  const first = samplesPerSecond(runs[0]);
  return table(["run", "planner", "stages", "micro-batches", "samples/s", "ratio", "iteration", "predicted", "error", "idle", "highest peak", "loss", "after steps"], runs.map((run) => {
    const error = errorOf(run.iteration);
    const speed = samplesPerSecond(run);
    const peaks = run.ranks.map((rank) => rank.memory.measured).filter(known);
    return [run.name, run.planner, run.stages.length, `${run.micro_batches} × ${run.micro_batch_size}`, count(speed), first && speed ? digits(speed / first) + "×" : kNone,
      seconds(run.iteration.measured), seconds(run.iteration.predicted), { text: signed(error), class: errorClass(error) },
      known(run.idle_share) ? percent(Math.max(0, run.idle_share)) : kNone, peaks.length ? bytes(Math.max(...peaks)) : kNone,
      run.steps.loss.length ? digits(run.steps.loss.at(-1), 4) : kNone, run.steps.step.length];
  }));
}

function summary() {
  const run = runs[0];
  const element = el("section", { id: "summary" },
    el("h1", {}, run.name, run.emulated ? el("span", { class: "badge", title: "Speeds were kept by pacing, so no figure here is that of a real device" }, "emulated devices") : null),
    el("p", { class: "lead", id: "paragraph" }, prose(report.paragraph)), tiles(run));
  if (run.findings.length) {
    element.append(el("h3", {}, "What stands out"), el("ul", { class: "findings" }, ...run.findings.map((text) => el("li", {}, prose(text)))));
  }
  if (runs.length > 1) element.append(el("h3", {}, "Runs side by side"), comparisonTable());
  document.getElementById("nav").append(el("a", { href: "#summary" }, "Summary"));
  document.getElementById("main").append(element);
}

/** The plan as a table: who has which layers. */
function planDetails(run) {
  const rows = run.stages.map((stage, i) => [i, stage.ranks.map((rank) => "rank " + rank).join(", "), `${stage.first_layer} … ${stage.end_layer - 1}`,
    stage.first_name ? (stage.first_name === stage.last_name ? stage.first_name : `${stage.first_name} … ${stage.last_name}`) : kNone, stage.warm_up || "textbook"]);
  const children = [el("summary", {}, "The plan"), table(["stage", "on", "layers", "names", "warm-up"], rows)];
  if (run.certificate) {
    children.push(el("p", { class: "soft" }, `No plan is faster than ${seconds(run.certificate.lower_bound)} (gap ${percent(run.certificate.gap, 2)}) among: ${run.certificate.space}.`));
  }
  return el("details", {}, ...children);
}

function settingsDetails(run) {
  return run.settings ? el("details", {}, el("summary", {}, "The settings"), table(["key", "value"], Object.entries(run.settings))) : null;
}

function chosenRunBar() {
  const buttons = runs.map((run, i) => {
    const button = el("button", { type: "button", "aria-pressed": i === 0 }, run.name);
    button.addEventListener("click", () => choose(i));
    return button;
  });
  const choose = (index) => {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === index));
    for (const fill of ofRun) fill(runs[index]);
  };
  if (runs.length > 1) {
    document.getElementById("main").append(el("div", { class: "runs", role: "group", "aria-label": "Run shown below" }, el("span", { class: "soft" }, "Shown below:"), ...buttons));
  }
  return choose;
}

function trainingSection() {
  const line = (values) => runs.map((run) => ({ name: run.name, steps: run.steps.step, values: values(run) }));
  const marks = runs[0].checkpoints.map(([step]) => step);
  section("training", "Training",
    el("p", { class: "soft" }, "A faint line is every step, a strong one the median around it." + (marks.length ? " Dotted: checkpoints of the first run." : "")),
    el("div", { class: "two" },
      el("div", {}, el("h3", {}, "Loss"), stepsChart("loss-chart", "Loss over steps", line((run) => run.steps.loss), (value) => digits(value, 4))),
      el("div", {}, el("h3", {}, "Samples a second"), stepsChart("speed-chart", "Samples a second over steps", line((run) => run.steps.wall_s.map((wall) => run.samples / wall)), (value) => digits(value), marks)),
      el("div", {}, el("h3", {}, "Gradient norm"), stepsChart("norm-chart", "Gradient norm over steps", line((run) => run.steps.gradient_norm), (value) => digits(value))),
      el("div", {}, el("h3", {}, "Busy time by rank, " + runs[0].name), stepsChart("busy-chart", "Busy time of each rank over steps",
        runs[0].ranks.map((rank) => ({ name: rankLabel(rank), steps: runs[0].steps.step, values: runs[0].steps.busy_s.map((all) => all[rank.rank] ?? null) })), seconds))));
}

function build() {
  document.title = `Motley report: ${runs.map((run) => run.name).join(", ")}`;
  summary();
  const choose = chosenRunBar();
  runSection("pipeline", "Pipeline", (run) => [
    el("p", { class: "soft" }, run.measured.length
      ? `The last step of the run as it was measured (${seconds(run.traced_iteration)}; the median step took ${seconds(run.iteration.measured)}), and the plan as the simulator replays it.`
      : "The run has no trace (train with --trace), so only the simulated iteration can be shown."),
    run.note ? el("p", { class: "soft" }, run.note) : null, ...pipelineSection(run, runs), planDetails(run), settingsDetails(run)].filter((child) => child));
  runSection("balance", "Stage balance", (run) => (run.ranks.some((rank) => rank.share || known(rank.busy.predicted))
    ? [el("p", { class: "soft" }, "Where each rank's time goes in an iteration, medians over the run. Engine: neither computing nor waiting. Transfers overlap with the rest."), balanceChart(run)]
    : empty("The record has no times of ranks yet.")));
  runSection("predictions", "Predicted and measured", (run) => {
    const chart = predictionChart(run);
    const rows = predictionTable(run);
    return chart ? [el("p", { class: "soft" }, "A point on the line was predicted exactly, above it took longer; dashed lines are 10 % off. Error: predicted over measured, less one."),
      el("div", { class: "two beside" }, el("div", {}, chart), el("div", {}, rows))] : [rows];
  });
  runSection("links", "Links", (run) => (run.links.length
    ? [el("p", { class: "soft" }, "Bytes over the time that a message was under way, beside what the profile promises for messages of that size."), linksChart(run), linksTable(run)]
    : empty(run.ranks.length > 1 ? "Sends are told when a run ends; this record has none." : "One device, no links.")));
  runSection("memory", "Memory", (run) => (run.ranks.some((rank) => known(rank.memory.measured) || known(rank.memory.predicted)) ? [memoryChart(run)] : empty("Peaks are told when a run ends; this record has none.")));
  trainingSection();
  const routed = runs.filter((run) => run.evaluation?.rows);
  routed.forEach((run, i) => section(i ? "router-" + i : "router", routed.length > 1 ? "Router, " + run.name : "Router", ...routerSection(run.evaluation)));
  choose(0);
  document.getElementById("main").append(el("footer", {}, `Made by motley report; charts by Apache ECharts ${echarts.version}. One file, nothing is loaded from elsewhere.`));
}

build();
startThemes();
