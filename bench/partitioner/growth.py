#!/usr/bin/env python3
"""Growth of the planner `parametric`: time and gap on synthetic clusters from 4 to 1,024 devices, as a table and a plot.

Usage: growth.py [--program build/motley] [--seeds 20]. Writes growth.csv and growth.svg beside itself and prints the table.
Every line is `motley bench planner --layers L --devices D --types T --hosts H --seeds N --json`.
"""

import argparse
import csv
import json
import statistics
import subprocess
from pathlib import Path

SIZES = [(12, 4, 2, 2), (24, 16, 2, 4), (48, 32, 4, 8), (96, 64, 4, 8), (192, 128, 4, 16), (384, 256, 8, 32),
         (576, 512, 8, 64), (1000, 1024, 8, 128)]
COLUMNS = ["layers", "devices", "types", "hosts", "seeds", "solve_s", "cpu_s", "longest_solve_s", "median_gap", "worst_gap",
           "seeds_above_2_percent", "memory_bound_share"]


def measure(program, size, seeds):
    layers, devices, types, hosts = map(str, size)
    done = subprocess.run([program, "bench", "planner", "-q", "--layers", layers, "--devices", devices, "--types", types,
                           "--hosts", hosts, "--seeds", str(seeds), "--json"], capture_output=True, text=True, check=True)
    runs = json.loads(done.stdout).get("runs")
    gaps = [run.get("gap", float("inf")) for run in runs]
    solved = [run for run in runs if "solve_s" in run]
    return dict(zip(COLUMNS, [
        *size, seeds, f"{statistics.median(run['solve_s'] for run in solved):.3f}",
        f"{statistics.median(run['cpu_s'] for run in solved):.3f}", f"{max(run['solve_s'] for run in solved):.3f}",
        f"{statistics.median(gaps):.5f}", f"{max(gaps):.5f}", sum(gap > 0.02 for gap in gaps),
        f"{min(run['memory_bound_share'] for run in solved):.3f}"]))


def plot(rows, file):
    """Two panels over the devices, both axes of the first logarithmic: processor seconds, then gaps."""
    from math import log2, log10
    width, height, left, top = 380, 260, 60, 30

    def x(row):
        return left + (log2(int(row["devices"])) - 2) / 8 * width

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * (width + 100)} {height + 90}" '
             'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']

    def panel(shift, title, lines, y, ticks):
        parts.append(f'<g transform="translate({shift},0)"><text x="{left}" y="18">{title}</text>'
                     f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#888"/>')
        for value, label in ticks:
            parts.append(f'<line x1="{left}" x2="{left + width}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
                         f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{label}</text>')
        for row in rows:
            parts.append(f'<text x="{x(row):.1f}" y="{top + height + 18}" text-anchor="middle">{row["devices"]}</text>')
        parts.append(f'<text x="{left + width / 2}" y="{top + height + 36}" text-anchor="middle">devices</text>')
        for at, (key, colour, label) in enumerate(lines):
            points = " ".join(f"{x(row):.1f},{y(float(row[key])):.1f}" for row in rows)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
                         f'<text x="{left + 10 + 150 * at}" y="{top + height + 54}" fill="{colour}">{label}</text>')
        parts.append("</g>")

    panel(0, "seconds of one solve", [("cpu_s", "#1f77b4", "processor, all threads"), ("solve_s", "#888", "clock")],
          lambda value: top + height - (log10(max(value, 1e-3)) + 3) / 4 * height,
          [(1e-3, "0.001"), (1e-2, "0.01"), (0.1, "0.1"), (1, "1"), (10, "10")])
    # A seed that no plan was found for has no gap: beyond the top.
    most = max(0.02, max(float(row["worst_gap"]) for row in rows if float(row["worst_gap"]) < 10)) * 1.1
    panel(width + 100, "gap, %", [("median_gap", "#1f77b4", "median"), ("worst_gap", "#d62728", "worst seed")],
          lambda value: top + height - min(value / most, 1.0) * height, [(0, "0"), (0.02, "2")] + [(most / 1.1, f"{most / 0.011:.1f}")])
    parts.append("</svg>")
    file.write_text("\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="build/motley")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    folder = Path(__file__).resolve().parent
    rows = []
    print(" ".join(f"{column:>21}" for column in COLUMNS))
    for size in SIZES:
        rows.append(measure(arguments.program, size, arguments.seeds))
        print(" ".join(f"{rows[-1][column]:>21}" for column in COLUMNS), flush=True)
    with open(folder / "growth.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, folder / "growth.svg")


if __name__ == "__main__":
    main()
