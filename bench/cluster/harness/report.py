"""A benchmark's result as values, as Markdown and as a picture."""

import itertools
import statistics
from html import escape


def batches(batch, count):
    """"8 x 2": eight micro-batches of two samples."""
    return f"{count} x {batch // count}"


def slug(text):
    return "".join(c if c.isalnum() else "-" for c in text.lower()).strip("-")


def median_spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def micro_batches_of(row):
    return int(row.run.split(":")[1]) if row.kind == "peer" else row.plan["micro_batches"]


def row_values(row, setting):
    rates = [setting.batch / run["iteration_s"] for run in row.runs]
    watched = [run["watched"] for run in row.runs if run.get("watched")]
    value = {
        "name": row.name, "group": row.group, "kind": row.kind, "run": row.run, "micro_batches": micro_batches_of(row),
        "schedule": row.run.split(":")[0] if row.kind == "peer" else row.plan["schedule"],
        "stages": [[*stage["layers"], setting.hosts()[stage["replicas"][0]["device"]].name] for stage in row.plan["stages"]],
        "samples_per_s": median_spread(rates), "iteration_s": median_spread([run["iteration_s"] for run in row.runs]),
        "steps_s": [run["steps_s"] for run in row.runs], "ranks": [run["ranks"] for run in row.runs],
        "losses": row.runs[0]["losses"]}
    busy = [max(rank["busy_s"] for rank in run["ranks"]) for run in row.runs if run["ranks"]]
    if busy:
        value["idle_per_micro_batch_s"] = (row.iteration() - statistics.median(busy)) / value["micro_batches"]
    for again, predicted, bound in (("", row.predicted, row.bound), ("_again", row.predicted_again, row.bound_again)):
        if predicted is not None:
            value["predicted_iteration_s" + again] = predicted
            value["prediction_error" + again] = predicted / row.iteration() - 1
        if bound is not None:
            value["lower_bound_s" + again] = bound
            value["share_of_bound" + again] = bound / row.iteration()
    if all("predicted_s" in run for run in row.runs):
        value["predicted_iteration_s_beside"] = statistics.median(run["predicted_s"] for run in row.runs)
        value["prediction_error_beside"] = statistics.median(run["predicted_s"] / run["iteration_s"] - 1 for run in row.runs)
    if all("bound_s" in run for run in row.runs):
        value["lower_bound_s_beside"] = statistics.median(run["bound_s"] for run in row.runs)
        value["share_of_bound_beside"] = statistics.median(run["bound_s"] / run["iteration_s"] for run in row.runs)
    if watched:
        hosts = watched[0]["cpu_s"]
        value["cpu_s"] = {host: statistics.median(w["cpu_s"][host] for w in watched) for host in hosts}
        value["cpu_beside_main_thread_s"] = {
            host: statistics.median(w["cpu_s"][host] - w["main_thread_s"][host] for w in watched) for host in hosts}
        value["bytes"] = {link: statistics.median(w["bytes"].get(link, 0) for w in watched) for link in watched[0]["bytes"]}
        value["others_share"] = median_spread([w["others_share"] for w in watched])
    waits = [rank["busy_cpu_s"] for rank in row.runs[0]["ranks"] if "busy_cpu_s" in rank]
    if waits:  # of the peer: its own account
        value["cpu_beside_compute_s"] = statistics.median(
            sum(rank["cpu_s"] - rank["busy_cpu_s"] for rank in run["ranks"]) for run in row.runs)
    return value


def lossy(row):
    """Whether what it sends is rounded on the way."""
    return any(stage.get("wire", "float32") != "float32" for stage in row.plan["stages"])


def compare_losses(rows):
    """Motley's rows bit for bit, PyTorch's within a relative difference, where micro-batches are as large."""
    from .bench import AGREEMENT
    result = {"agree": True, "bit_equal_rows": 0, "worst_relative": 0.0, "lossy": {}, "faults": []}
    done = [row for row in rows if row.runs]
    for count in sorted({micro_batches_of(row) for row in done}):
        same = [(row, run) for row in done if micro_batches_of(row) == count for run in row.runs]
        ours = [run["losses"] for row, run in same if row.kind == "motley" and not lossy(row)]
        if not ours:
            continue
        for row, run in same:
            worst = max(abs(a - b) / abs(b) for a, b in zip(run["losses"], ours[0]))
            if lossy(row):
                result["lossy"][row.name] = max(worst, result["lossy"].get(row.name, 0.0))
                continue
            if row.kind == "motley":
                result["bit_equal_rows"] += run["losses"] == ours[0]
                if run["losses"] != ours[0]:
                    result["faults"].append(f"{row.name}: losses differ from those of Motley's other rows")
                continue
            result["worst_relative"] = max(result["worst_relative"], worst)
            if not worst <= AGREEMENT:
                result["faults"].append(f"{row.name}: a loss differs by {worst:.1e} of it from Motley's")
    result["agree"] = not result["faults"]
    return result


def quickest(rows):
    return min(rows, key=lambda row: row.iteration()) if rows else None


def ratios(rows, result):
    """How many times as quick one row is as another, repeat by repeat."""
    done = [row for row in rows if row.runs]

    def pick(group, kind, **more):
        return [row for row in done if row.group == group and row.kind == kind
                and all((micro_batches_of(row), row.run.split(":")[0])[key == "schedule"] == want
                        for key, want in more.items())]

    found = []

    def add(what, quick, slow):
        if quick is None or slow is None:
            return
        pairs = [b["iteration_s"] / a["iteration_s"] for a, b in zip(quick.runs, slow.runs)]
        found.append({"what": what, "of": quick.name, "over": slow.name, **median_spread(pairs)})

    plan, single = quickest(pick("plan", "motley")), quickest([row for row in done if row.group == "single"])
    uniform, given = quickest(pick("uniform", "peer")), quickest(pick("split", "peer"))
    add("Motley's plan over PyTorch's uniform split", plan, uniform)
    add("Motley's plan over one process on the fastest host", plan, single)
    add("PyTorch's uniform split over one process on the fastest host", uniform, single)
    add("Motley's plan over PyTorch on Motley's split", plan, given)
    for group, title in (("uniform", "uniform split"), ("split", "Motley's split")):
        for row in pick(group, "motley"):
            for other in pick(group, "peer", schedule="1f1b"):
                if micro_batches_of(other) == micro_batches_of(row):
                    add(f"Motley over PyTorch, {title}, both 1F1B with {micro_batches_of(row)} micro-batches", row, other)
    return found


def kendall(pairs):
    """Kendall's tau-a of (predicted, measured)."""
    signs = [((a[0] > b[0]) - (a[0] < b[0])) * ((a[1] > b[1]) - (a[1] < b[1])) for a, b in itertools.combinations(pairs, 2)]
    return sum(signs) / len(signs) if signs else None


def shares(result):
    """Lines about the quickest plan against what is possible, and about predictions."""
    lines = []
    total = sum(result["speeds"].values())
    ours = [row for row in result["rows"] if row["kind"] == "motley"]
    plan = next((row for row in ours if row["group"] == "plan"), None)
    if plan is not None:
        rate = plan["samples_per_s"]["median"]
        lines.append(f"Motley's plan reaches {rate / total:.3f} of the sum of the hosts' speeds ({total:.2f} samples/s, all busy).")
    for again, which in (("", "By the profiles that plans were made with"),
                         ("_again", "By all profiles, those between the repeats too (the machine drifts)"),
                         ("_beside", "Each run by the profiles just before and after its repeat (medians of the runs)")):
        said = []
        if plan is not None and "lower_bound_s" + again in plan:
            bound = plan["lower_bound_s" + again]
            said.append(f"Motley's plan reaches {plan['share_of_bound' + again]:.3f} of the planner's bound "
                        f"({result['batch'] / bound:.2f} samples/s)")
        if plan is not None and "prediction_error" + again in plan:
            said.append(f"it takes {1 / (1 + plan['prediction_error' + again]):.3f} times what `motley simulate` says")
        priced = [row for row in ours if "prediction_error" + again in row]
        if priced:
            errors = [abs(row["prediction_error" + again]) for row in priced]
            said.append(f"prediction error of {len(errors)} plans: median {statistics.median(errors):.1%}, worst {max(errors):.1%}")
        if len(priced) > 1:
            tau = kendall([(row["predicted_iteration_s" + again], row["iteration_s"]["median"]) for row in priced])
            said.append(f"Kendall's tau of predicted and measured {tau:.2f}")
        if said:
            lines += ["", f"{which}: {'; '.join(said)}."]
    return lines


def quietness(rows):
    """What others used of the machine."""
    others = [row["others_share"]["most"] for row in rows if "others_share" in row]
    if not others:
        return []
    return [f"Beside the bed, the machine used at most {max(others):.1%} of its cores during a run"
            + (" (the links' own work is among it)." if max(others) < 0.05 else
               ": it was NOT quiet, these figures are no record."), ""]


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(row) + " |" for row in rows]


def markdown(result):
    m = result["machine"]
    lines = [f"# Motley and PyTorch's pipelines on test bed {result['bed']['bed']}, {result['batch']} samples an iteration", "",
             f"`{result['command']}`", "",
             f"{m['date']}, commit {m['commit']}; {m['cores']} cores of {m['cpu']}, {m['memory_gib']} GiB, {m['kernel']}; load "
             f"before {m['load_before']:.2f}. {result['repeats']} repeats with fresh starts, interleaved; {result['steps']} steps of "
             "each count. Median [least, most] of the repeats. float32 on the wire, one thread a rank.", ""]
    lines += table(["host", "asked", "reached alone", "in bursts", "all busy", "samples/s of the whole model, all busy"],
                   [[h["host"], f"{h['asked']:g}", f"{h['alone']:.3f}", f"{h['bursts']:.3f}", f"{h['busy']:.3f}", f"{result['speeds'][h['host']]:.2f}"]
                    for h in result["bed"]["hosts"]]) + [""]
    reached = {}
    for link in result["bed"]["links"]:
        reached.setdefault(link["asked"], []).append(link)
    lines += [f"- {len(links)} links of {asked:g} Mbit/s carry {min(x['alone'] for x in links):.0f} to "
              f"{max(x['alone'] for x in links):.0f} Mbit/s of payload alone, {min(x['busy'] for x in links):.0f} to "
              f"{max(x['busy'] for x in links):.0f} with all busy." for asked, links in sorted(reached.items())] + [""]

    def cells(row):
        rate, took = row["samples_per_s"], row["iteration_s"]
        errors = [f"{row[error]:+.1%}" for error in ("prediction_error", "prediction_error_beside") if error in row]
        predicted = f"{row['predicted_iteration_s']:.3f} ({', '.join(errors)})" if errors else ""
        cpu = f"{sum(row['cpu_s'].values()):.2f}" if "cpu_s" in row else ""
        beside = f"{sum(row['cpu_beside_main_thread_s'].values()):.3f}" if "cpu_s" in row else ""
        idle = f"{row['idle_per_micro_batch_s'] * 1e3:.2f}" if "idle_per_micro_batch_s" in row else ""
        return [row["name"], f"{rate['median']:.2f} [{rate['least']:.2f}, {rate['most']:.2f}]", f"{took['median']:.3f}", predicted,
                f"{rate['median'] / sum(result['speeds'].values()):.3f}", idle, cpu, beside]

    lines += table(["row", "samples/s", "iteration, s", "predicted, s (error, and by profiles beside)", "share of all speeds",
                    "busiest rank idle, ms a micro-batch", "CPU s an iteration", "of it beside the main threads"],
                   [cells(row) for row in sorted(result["rows"], key=lambda row: row["samples_per_s"]["median"])]) + [""]
    lines += table(["ratio", "median", "least", "most", "of", "over"],
                   [[r["what"], f"{r['median']:.2f}x", f"{r['least']:.2f}x", f"{r['most']:.2f}x", r["of"], r["over"]]
                    for r in result["ratios"]]) + [""]
    lines += shares(result) + [""]
    plan = next((row for row in result["rows"] if row["group"] == "plan"), None)
    if plan is not None:
        split = ", ".join(f"layers {first} to {end - 1} on {host}" for first, end, host in plan["stages"])
        lines += [f"Motley's plan: {split}.", ""]
        if "bytes" in plan:
            lines += ["Bytes a link and iteration, all that the wire carries: "
                      + ", ".join(f"{link} {count / 1e6:.2f} MB" for link, count in plan["bytes"].items() if count > 1e4) + ".", ""]
    lines += quietness(result["rows"])
    losses = result["losses"]
    lines += [f"Losses: {losses['bit_equal_rows']} runs of Motley agree bit for bit where micro-batches are as large; PyTorch's differ by at "
              f"most {losses['worst_relative']:.1e} of the loss." if losses["agree"] else "LOSSES DISAGREE: " + "; ".join(losses["faults"]), ""]
    if losses["lossy"]:
        lines += ["Rounded on the wire, so that losses may differ, by at most: "
                  + ", ".join(f"{name}: {worst:.1e}" for name, worst in losses["lossy"].items()) + ".", ""]
    lines += ["PyTorch's schedules, each tried once (s an iteration): " + "; ".join(
        f"{title}: " + ", ".join(f"{run} {took:.3f}" for run, took in sorted(found.items(), key=lambda item: item[1]))
        for title, found in result["screened"].items()) + ".", ""]
    refused = {f"{run}: {why}" for each in result["refused"].values() for run, why in each.items()}
    if refused:
        lines += ["Not possible with PyTorch: " + "; ".join(sorted(refused)) + ".", ""]
    for where, what in result["failed"].items():
        for run, why in what.items() if isinstance(what, dict) else [("", what)]:
            lines.append(f"FAILED: {where} {run}: {why}")
    return "\n".join(lines).rstrip() + "\n"


COLOURS = {"motley": "#1f77b4", "peer": "#d98c2b"}


def plot(result):
    """Bars of samples/s with their spread, and lines where all speeds add up and where the planner's bound is: SVG."""
    rows = sorted(result["rows"], key=lambda row: -row["samples_per_s"]["median"])
    total = sum(result["speeds"].values())
    bounds = [(total, "all speeds")] + [
        (result["batch"] / row.get("lower_bound_s_beside", row["lower_bound_s"]), "bound") for row in rows if "lower_bound_s" in row]
    left, wide, high, top = 430, 520, 24, 54
    scale = wide / (1.05 * max([value for value, _ in bounds] + [row["samples_per_s"]["most"] for row in rows]))
    bottom = top + high * len(rows)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + wide + 60}" height="{bottom + 40}" '
             'font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="white"/>',
             f'<text x="12" y="20" font-size="15">Samples/s on test bed {escape(result["bed"]["bed"])}, {result["batch"]} samples an '
             'iteration; bars are medians, lines the least and the most</text>']
    for i, row in enumerate(rows):
        rate, y = row["samples_per_s"], top + high * i
        parts += [f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{escape(row["name"])}</text>',
                  f'<rect x="{left}" y="{y + 4}" width="{rate["median"] * scale:.1f}" height="{high - 8}" '
                  f'fill="{COLOURS[row["kind"]]}"/>',
                  f'<line x1="{left + rate["least"] * scale:.1f}" x2="{left + rate["most"] * scale:.1f}" y1="{y + high / 2}" '
                  f'y2="{y + high / 2}" stroke="black"/>',
                  f'<text x="{left + rate["most"] * scale + 6:.1f}" y="{y + 16}">{rate["median"]:.2f}</text>']
    for i, (value, name) in enumerate(bounds):
        x = left + value * scale
        parts += [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{bottom + 4}" stroke="#555" stroke-dasharray="4 3"/>',
                  f'<text x="{x:.1f}" y="{bottom + 18 + 14 * (i % 2)}" text-anchor="middle" fill="#555">{name} {value:.2f}</text>']
    return "\n".join(parts + ["</svg>"]) + "\n"
