"""scripts/bench_cluster: Motley beside torch.distributed.pipelining on a test bed, in one run, interleaved.

  scripts/bench_cluster configs/testbeds/mixed4.toml --out run/bench-mixed4

Makes the bed (and removes it), profiles the transformer on it several times, plans, and times with fresh starts: PyTorch's
schedules on the uniform split and on the split and order of Motley's plan, Motley on the same, Motley with its plan, and one
process on the fastest host. Same weights, same data, one thread a rank. Every PyTorch schedule and number of micro-batches is
tried once; the best of each split is repeated. Needs root, build/motley and scripts/setup --peer. Takes an hour or more.
"""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
import types
from pathlib import Path

from testbed import bed
from testbed.config import read_config
from testbed.errors import Failed, Lacking, Wrong
from testbed.measure import in_words, measure

from . import report
from .profiles import merge, speeds, spread
from .rows import (MOTLEY, ROOT, Row, RowFailed, Setting, device_assignments, device_types, on_bed, run_motley, run_peer,
                   set_words)

SCHEDULES = ("1f1b", "gpipe", "zero-bubble")
PROFILES = 3
AGREEMENT = 1e-5  # relative, of losses


def tell(text):
    print(f"bench: {datetime.datetime.now():%H:%M:%S} {text}", file=sys.stderr, flush=True)


def motley(*words):
    """stdout of build/motley. Raises RowFailed."""
    done = subprocess.run([MOTLEY, *map(str, words)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        raise RowFailed(f"motley {' '.join(map(str, words))}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def profile_bed(setting, counts, found):
    """One start more, in `found`."""
    folder = setting.folder / "profiles"
    hosts = [host.name for host in setting.hosts()]
    sizes = sorted({setting.batch // count for count in counts})
    assignments = setting.assignments + device_assignments(device_types(setting.hosts())) + [
        f"profile.micro_batch_sizes={json.dumps(sizes)}"]
    tell(f"profile {len(found) + 1}")
    file = folder / f"profile-{len(found)}.json"
    on_bed(setting, hosts, [str(MOTLEY), "profile", setting.model, "--out", str(file), *set_words(assignments)],
           file.with_suffix(".log"), 1800)
    found.append(json.loads(file.read_text()))


def merged(found, file):
    """Their medians, in a file too: a limited host is not equally fast after each start."""
    profile = merge(found)
    profile["cluster"]["note"] = f"median of {len(found)} profiles"
    file.write_text(json.dumps(profile))
    return profile


def price_again(setting, arguments, rows, found):
    """The rows' predictions and bounds by all profiles, those between the repeats too, and each run's by the profiles
    just before and after its repeat: without what the machine changed."""
    def bound(of):
        plan = plan_by(of, arguments.planner, None, *arguments.plan_arguments.split())
        return plan.get("certificate", {}).get("lower_bound_s")

    again = dataclasses.replace(setting, profile=setting.folder / "profile-of-all.json")
    beside = dataclasses.replace(setting, profile=setting.folder / "profile-beside.json")
    for repeat in range(len(found) - PROFILES):
        merged(found[PROFILES - 1 + repeat:PROFILES + 1 + repeat], beside.profile)
        for row, run in ((row, run) for row in rows for run in row.runs if row.kind == "motley" and run["repeat"] == repeat):
            run["predicted_s"] = simulated(beside, row.plan)
            if row.bound is not None:
                run["bound_s"] = bound(beside)
    merged(found, again.profile)
    for row in rows:
        if row.kind == "motley":
            row.predicted_again = simulated(again, row.plan)
        if row.bound is not None:
            row.bound_again = bound(again)


def plan_by(setting, planner, size, *more):
    words = ["plan", "--profile", setting.profile, "--batch", setting.batch, "--planner", planner, "--json", *more]
    if size is not None:
        words += ["--micro-batch-size", size]
    plan = json.loads(motley(*words))
    if "infeasible" in plan:
        raise RowFailed(f"planner {planner}: {plan['infeasible']}")
    plan.pop("solve_s", None)
    return plan


def with_split(plan, count, batch):
    """The split and order of `plan` under 1F1B of textbook depth with `count` micro-batches."""
    stages = [{"layers": layers, "replicas": [{"device": device}], "warm_up": len(plan["stages"]) - i}
              for i, (layers, device) in enumerate(splits_of(plan))]
    return {"motley": "plan", "version": plan["version"], "planner": "given split", "schedule": "1f1b",
            "micro_batches": count, "micro_batch_size": batch // count, "stages": stages}


def uniform(layers, devices):
    """Cuts that give each device as many blocks as a person would: layers named "block3.attention" and "block3.mlp" are
    one. The first devices take the remainder."""
    units = []
    for index, layer in enumerate(layers):
        name = layer["name"].split(".")[0]
        if units and units[-1][0] == name:
            units[-1][1] = index + 1
        else:
            units.append([name, index + 1])
    ends, taken = [], 0
    for device in range(min(devices, len(units))):
        taken += len(units) // devices + (device < len(units) % devices)
        ends.append(units[taken - 1][1])
    return [{"layers": [first, end], "replicas": [{"device": device}]}
            for device, (first, end) in enumerate(zip([0, *ends], ends))]


def simulated(setting, plan):
    """What a run of the plan is expected to take, in seconds."""
    file = setting.folder / "simulated-plan.json"
    file.write_text(json.dumps(plan))
    return json.loads(motley("simulate", "--profile", setting.profile, "--plan", file, "--json"))["expected_s"]


def splits_of(plan):
    return [(stage["layers"], stage["replicas"][0]["device"]) for stage in plan["stages"]]


def further_plan(entry):
    """Name, planner and further words of what --also says."""
    name, _, words = entry.partition("=")
    words = words.split()
    if "--planner" not in words[:-1]:
        return name, "exact", words
    at = words.index("--planner")
    return name, words[at + 1], words[:at] + words[at + 2:]


def rows_of_motley(setting, arguments, counts):
    """[Row] of Motley, and the plan whose split PyTorch is given."""
    rows = []
    first = counts[0]
    profile = json.loads(setting.profile.read_text())
    even = {"version": 1, "stages": uniform(profile["model"]["layers"], len(profile["cluster"]["devices"]))}
    for count in counts:
        plan = with_split(even, count, setting.batch)
        rows.append(Row(f"Motley, uniform split, 1f1b {report.batches(setting.batch, count)}", "uniform", "motley", plan))
    best = plan_by(setting, arguments.planner, None, *arguments.plan_arguments.split())
    chain = best if len({device for _, device in splits_of(best)}) == len(best["stages"]) else \
        plan_by(setting, "exact", setting.batch // first, "--schedule", "1f1b")
    if len(chain["stages"]) > 1:
        for count in counts:
            plan = with_split(chain, count, setting.batch)
            rows.append(Row(f"Motley, its split, 1f1b {report.batches(setting.batch, count)}", "split", "motley", plan))
    rows.append(Row(f"Motley, its plan: {best['schedule']} {report.batches(setting.batch, best['micro_batches'])}", "plan",
                    "motley", best, bound=best.get("certificate", {}).get("lower_bound_s")))
    for entry in arguments.also:
        name, planner, words = further_plan(entry)
        plan = plan_by(setting, planner, None, *words)
        rows.append(Row(f"Motley, {name}: {plan['schedule']} {report.batches(setting.batch, plan['micro_batches'])}", "also",
                        "motley", plan))
    single = plan_by(setting, "single", None)
    rows.append(Row(f"Motley, one process on the fastest host, {report.batches(setting.batch, single['micro_batches'])}",
                    "single", "motley", single))
    for row in rows:
        row.predicted = simulated(setting, row.plan)
    return rows, chain, single


def impossible(run, stages):
    """Why PyTorch refuses this schedule with so many micro-batches, or None."""
    schedule, count = run.split(":")
    rounds = max(1, int(count) // stages)
    if schedule == "1f1b" and int(count) < stages:
        return f"1F1B needs as many micro-batches as stages ({stages})"
    if schedule == "zero-bubble" and int(count) % rounds:
        return f"its zero-bubble needs a multiple of {rounds} micro-batches on {stages} stages"
    return None


def screen_peer(setting, plan, group, counts, title):
    """Every schedule once; a row for the best and one for each count under 1F1B, which Motley's rows are compared with."""
    runs = [f"{schedule}:{count}" for schedule in SCHEDULES for count in counts] if len(plan["stages"]) > 1 else [
        f"1f1b:{count}" for count in (1, *counts)]
    found, failed, refused = {}, {}, {}
    for run in runs:
        if why := impossible(run, len(plan["stages"])):
            refused[run] = why
            continue
        tell(f"PyTorch, {title}, {run}")
        try:
            found.update(run_peer(setting, plan, [run], f"screen-{group}-{run.replace(':', '-')}"))
        except RowFailed as error:
            failed[run] = str(error)
            tell(f"failed: {error}")
    if not found:
        raise RowFailed(f"PyTorch did not run on the {title}: {next(iter(failed.values()))}")
    best = min(found, key=lambda run: found[run]["iteration_s"])
    kept = [best] + [run for run in found if run.startswith("1f1b:") and run != best and len(plan["stages"]) > 1]
    rows = []
    for run in kept:
        schedule, count = run.split(":")
        schedule = schedule + " " if len(plan["stages"]) > 1 else ""
        rows.append(Row(f"PyTorch, {title}, {schedule}{report.batches(setting.batch, int(count))}", group, "peer", plan, run))
    return rows, {run: entry["iteration_s"] for run, entry in found.items()}, failed, refused


def settle(arguments, state):
    model = {entry["key"]: entry["value"] for entry in json.loads(motley("config", arguments.model, "--json"))}
    batch = arguments.batch or int(model["train.global_batch"])
    folder = arguments.out.resolve()
    return Setting(state, arguments.model, batch, int(model["workload_options.heads"]), float(model["train.learning_rate"]),
                   arguments.warm_up, arguments.steps, folder, folder / "profile.json",
                   [f"train.global_batch={batch}", f"run_directory=\"{folder}\""])


def keep(setting, rows, result):
    """What the rows have come to so far, in the record too."""
    result["rows"] = [report.row_values(row, setting) for row in rows if row.runs]
    result["losses"] = report.compare_losses(rows)
    result["ratios"] = report.ratios(rows, result)
    (setting.folder / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    (setting.folder / "rows.json").write_text(json.dumps([dataclasses.asdict(row) for row in rows]) + "\n")


def finish(setting, arguments, rows, profiles, result):
    """Prices again, writes the record; the exit code."""
    price_again(setting, arguments, rows, profiles)
    keep(setting, rows, result)
    text = report.markdown(result)
    (setting.folder / "bench.md").write_text(text)
    (setting.folder / "bench.svg").write_text(report.plot(result))
    print(text)
    tell(f"wrote {setting.folder}/bench.json, bench.md, bench.svg")
    return 0 if result["losses"]["agree"] and not any(result["failed"].values()) else 1


def retell(arguments, config):
    """finish() with what an earlier run left; the exit code. A repeat without a profile after it does not count."""
    setting = settle(arguments, types.SimpleNamespace(config=lambda: config))
    folder = setting.folder
    for needed in ("bench.json", "rows.json"):
        if not (folder / needed).exists():
            raise Wrong(f"--retell: {folder / needed} is not there: no run of this folder has come through a repeat")
    result = json.loads((folder / "bench.json").read_text())
    if result["bed"]["bed"] != config.name or result["batch"] != setting.batch:
        raise Wrong(f"--retell: found a bench of bed {result['bed']['bed']} with batches of {result['batch']} in {folder}, "
                    f"expected {config.name} and {setting.batch}")
    files = sorted((folder / "profiles").glob("profile-*.json"), key=lambda file: int(file.stem.split("-")[1]))
    profiles = [json.loads(file.read_text()) for file in files]
    rows = [Row(**row) for row in json.loads((folder / "rows.json").read_text())]
    result["repeats"] = min(result["repeats"], len(profiles) - PROFILES)
    if result["repeats"] < 1:
        raise Wrong(f"--retell: found {len(profiles)} profiles in {folder / 'profiles'}, expected {PROFILES} and one after "
                    "each repeat")
    for row in rows:
        row.runs = [run for run in row.runs if run["repeat"] < result["repeats"]]
    return finish(setting, arguments, rows, profiles, result)


def keep_off_the_fast_hosts_core(hosts):
    """This process only watches; let it do so beside the slow hosts, where there is room."""
    owned = {host.cores[0] for host in hosts if host.speed > 1 - 1e-9 and len(host.cores) == 1}
    if rest := os.sched_getaffinity(0) - owned:
        os.sched_setaffinity(0, rest)


def run(arguments, state):
    setting = settle(arguments, state)
    keep_off_the_fast_hosts_core(setting.hosts())
    setting.folder.mkdir(parents=True, exist_ok=True)
    for earlier in (setting.folder / "profiles").glob("profile-*"):
        earlier.unlink()
    counts = [count for count in arguments.micro_batches if setting.batch % count == 0]
    result = {"machine": machine(), "bed": measure(state, tell=lambda phase: tell(f"bed: {phase}")), "batch": setting.batch,
              "steps": setting.steps, "repeats": arguments.repeats, "command": " ".join(sys.argv)}
    print(in_words(result["bed"]), flush=True)
    motley("export", setting.model, "--out", setting.folder / "export", "--steps", setting.warm_up + setting.steps,
           *set_words(setting.assignments))
    profiles = []
    for _ in range(PROFILES):
        profile_bed(setting, counts, profiles)
    profile, result["profile_spread"] = merged(profiles, setting.profile), spread(profiles)
    result["speeds"] = dict(zip([host.name for host in setting.hosts()], speeds(profile, setting.batch)))
    rows, chain, single = rows_of_motley(setting, arguments, counts)
    uniform = next(row.plan for row in rows if row.group == "uniform")
    result["screened"], result["failed"], result["refused"] = {}, {}, {}
    screens = [(uniform, "uniform", "uniform split"), (single, "single", "one process on the fastest host")]
    if len(chain["stages"]) > 1:
        screens.insert(1, (chain, "split", "Motley's split"))
    for plan, group, title in screens:
        more, screened, failed, refused = screen_peer(setting, plan, group, counts, title)
        result["screened"][title], result["failed"][title], result["refused"][title] = screened, failed, refused
        rows = more + rows
    for repeat in range(arguments.repeats):
        # The order turns round, so that a drift of the machine does not fall on one side.
        for row in rows if repeat % 2 == 0 else reversed(rows):
            tell(f"repeat {repeat + 1} of {arguments.repeats}: {row.name}")
            name = f"{repeat}-{report.slug(row.name)}"
            try:
                if row.kind == "peer":
                    row.runs.append(run_peer(setting, row.plan, [row.run], name)[row.run])
                else:
                    row.runs.append(run_motley(setting, row.plan, name, trace=arguments.trace))
            except RowFailed as error:
                result["failed"].setdefault(row.name, str(error))
                tell(f"failed: {error}")
            else:
                row.runs[-1]["repeat"] = repeat
                tell(f"  {row.runs[-1]['iteration_s']:.3f} s")
        keep(setting, rows, result)
        profile_bed(setting, counts, profiles)
    return finish(setting, arguments, rows, profiles, result)


def machine():
    def words(*command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        return done.stdout.strip()

    cpu = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    memory = int(next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()
                      if line.startswith("MemTotal"))) / 2**20
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1),
            "kernel": f"Linux {platform.release().split('-')[0]}", "date": datetime.date.today().isoformat(),
            "commit": words("git", "describe", "--always", "--dirty"), "motley": words(str(MOTLEY), "--version"),
            "python": platform.python_version(), "load_before": os.getloadavg()[0]}


def main(words=None):
    parser = argparse.ArgumentParser(prog="bench_cluster", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="test bed: a file of configs/testbeds")
    parser.add_argument("--model", default="configs/transformer.toml", help="what is trained")
    parser.add_argument("--batch", type=int, help="samples an iteration (default: as the model's file says)")
    parser.add_argument("--micro-batches", type=lambda text: [int(word) for word in text.split(",")], default=[8, 16, 4],
                        help="numbers of micro-batches that are tried (default: 8,16,4)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2, help="steps of each start that do not count")
    parser.add_argument("--steps", type=int, default=6, help="steps that do")
    parser.add_argument("--planner", default="tailored", help="who makes Motley's plan (default: tailored)")
    parser.add_argument("--plan-arguments", default="", help="further words for motley plan, e.g. '--schedule 1f1b gpipe'")
    parser.add_argument("--also", action="append", default=[], metavar="NAME=WORDS",
                        help="a further plan as a row of its own, by these words for motley plan, e.g. 'int8=--allow int8' "
                        "or 'greedy=--planner greedy'")
    parser.add_argument("--trace", action="store_true", help="keep a trace of the last step of every run of Motley")
    parser.add_argument("--first", action="store_true", help="the bed goes before all else that runs on this machine")
    parser.add_argument("--retell", action="store_true", help="run nothing: tell what a run with these words left in --out, if "
                        "it broke off after a repeat")
    parser.add_argument("--out", type=Path, required=True, help="folder for the record and all that led to it")
    arguments = parser.parse_args(words)
    try:
        for needed, advice in ((MOTLEY, "scripts/build motley"), (ROOT / ".deps" / "peer", "scripts/setup --peer")):
            if not needed.exists():
                raise Wrong(f"{needed.relative_to(ROOT)} is not there: {advice} makes it")
        if unnamed := [entry for entry in arguments.also if not entry.split("=", 1)[0] or "=" not in entry]:
            raise Wrong(f"--also: found {unnamed[0]!r}, expected NAME=WORDS")
        if min(arguments.warm_up, arguments.steps, arguments.repeats) < 1:
            raise Wrong("--warm-up, --steps and --repeats: expected at least 1 each")
        config = read_config(arguments.config)
        if arguments.retell:
            return retell(arguments, config)
        outcome = []
        bed.up(config, arguments.first, lambda state: outcome.append(run(arguments, state)))
        with bed.lock():
            bed.down(bed.State.read(config.name))
        return outcome[0]
    except Wrong as error:
        tell(str(error))
        return 2
    except Lacking as error:
        tell(f"this machine cannot carry a test bed: {error}")
        return 77
    except (Failed, RowFailed, OSError) as error:
        tell(str(error))
        return 1
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
