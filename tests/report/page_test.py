#!/usr/bin/env python3
"""The page of `motley report`, made of a real run and opened in headless Chromium.

Usage: page_test.py --program MOTLEY --source FOLDER [--pictures FOLDER]   (the last keeps screenshots to look at)
Exit code 77 without a browser, which ctest shows as skipped; with CI in the environment that is a failure.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from browser import Browser, find_browser

ARGUMENTS = BROWSER = None

CONFIG = """
run_directory = "{run}"
workload = "router"
[workload_options]
data = "data/mmlu_pro"
width = 32
blocks = 4
hidden = 32
[train]
steps = 30
global_batch = 64
[checkpoint]
every = 10
[profile]
micro_batch_sizes = [8, 16]
repeats = 3
[devices]
ranks = 2
speeds = [0.8, 0.4]
[plan]
planner = "uniform"  # two stages, whatever the machine does
[compare]
planners = ["single", "exact"]
steps = 6
"""

CHARTS = ["pipeline-chart", "balance-chart", "prediction-chart", "links-chart", "memory-chart", "loss-chart", "speed-chart",
          "norm-chart", "busy-chart", "frontier-chart", "calibration-chart"]

# How many colours a canvas has: a chart that was not drawn has one.
COLOURS = """(() => {
  const canvas = document.querySelector('#%s canvas');
  const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return new Set(data).size;
})()"""


def motley(*words):
    done = subprocess.run([ARGUMENTS.program, *map(str, words)], cwd=ARGUMENTS.source, capture_output=True, text=True,
                          timeout=200, check=False)
    if done.returncode != 0:
        raise AssertionError(f"motley {' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def with_long_trace(run, bars):
    """Repeats the measured iteration of a run's trace until it has at least so many events."""
    file = run / "trace.json"
    events = json.loads(file.read_text())["traceEvents"]
    named = [event for event in events if event["ph"] == "M"]
    timed = [event for event in events if event["ph"] == "X"]
    end = max(event["ts"] + event["dur"] for event in timed)
    copies = -(-bars // len(timed))
    longer = [{**event, "ts": event["ts"] + copy * end} for copy in range(copies) for event in timed]
    file.write_text(json.dumps({"traceEvents": named + longer}))
    return len(longer)


class Page(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="motley-page-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.run_folder = cls.folder / "small"
        (cls.folder / "job.toml").write_text(CONFIG.format(run=cls.run_folder))
        cls.said = motley("run", cls.folder / "job.toml")
        cls.page = cls.run_folder / "report.html"
        cls.browser = Browser(BROWSER)
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.console.clear()
        self.browser.requests.clear()

    def tearDown(self):
        self.assertEqual(self.browser.console, [], "the console is not clean")
        outside = [url for url in self.browser.requests if not url.startswith((self.folder.as_uri(), "data:"))]
        self.assertEqual(outside, [], "the page asked for more than itself")

    def open(self, page=None, width=1280, height=900, theme="light", phone=False):
        self.browser.view(width, height, theme, phone)
        self.browser.open((page or self.page).as_uri())

    def keep_picture(self, name):
        if ARGUMENTS.pictures:
            Path(ARGUMENTS.pictures).mkdir(parents=True, exist_ok=True)
            self.browser.screenshot(Path(ARGUMENTS.pictures) / f"{name}.png")

    def text_of(self, selector):
        return self.browser.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def test_every_chart_is_drawn_in_both_themes_on_a_desk_and_on_a_phone(self):
        for theme in ("light", "dark"):
            for name, width, phone in (("desk", 1280, False), ("phone", 390, True)):
                with self.subTest(theme=theme, on=name):
                    self.browser.run("try { localStorage.clear() } catch {}")
                    self.open(width=width, theme=theme, phone=phone)
                    self.keep_picture(f"{theme}-{name}")
                    self.assertEqual(self.browser.run("document.documentElement.dataset.theme"), theme)
                    self.assertEqual(self.browser.run("[...document.querySelectorAll('.chart')].map((one) => one.id)"), CHARTS)
                    for chart in CHARTS:
                        self.assertGreater(self.browser.run(COLOURS % chart), 3, chart)
                    self.assertLessEqual(self.browser.run("document.documentElement.scrollWidth"), width, "wider than the screen")
                    dark = self.browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((c) => c < 60)")
                    self.assertEqual(dark, theme == "dark")

    def test_the_figures_are_those_of_the_record(self):
        self.open()
        record = [json.loads(line) for line in (self.run_folder / "record.jsonl").read_text().splitlines()]
        summary = record[-1]
        data = json.loads(self.browser.run("document.getElementById('data').textContent"))
        run = data["runs"][0]
        self.assertEqual([one["name"] for one in data["runs"]], ["small", "exact", "single"])
        self.assertEqual(run["iteration"]["measured"], summary["iteration_s"])
        self.assertEqual(run["steps"]["loss"], summary["losses"])
        self.assertEqual([step for step, _ in run["checkpoints"]], [10, 20, 30])
        self.assertIn(f"{summary['samples_per_s']:,.0f}\nsamples a second", self.text_of(".tiles"))
        self.assertIn(f"{summary['samples_per_s']:.0f} samples/s", self.text_of("#paragraph"))
        self.assertEqual(run["evaluation"], json.loads((self.run_folder / "evaluation.json").read_text()))
        self.assertIn("of 1203 held-out queries", self.text_of("#paragraph"))
        for name in ("single", "exact"):
            self.assertIn(name, self.text_of("#summary table"))
        for section in ("predictions", "links", "router"):
            self.assertGreater(self.browser.run(f"document.querySelectorAll('#{section} tbody tr').length"), 0, section)
        self.assertIn(f"report: {self.page}", self.said)

    def bar_pixel(self, name, series=0):
        """Where on the screen the middle of a bar is."""
        return self.browser.run("""(() => {
          const element = document.getElementById('pipeline-chart');
          element.scrollIntoView({ block: 'start' });
          const entry = charts.get('pipeline-chart');
          const bar = current_bar(%s, %d);
          const [x, y] = entry.chart.convertToPixel({ seriesIndex: %d }, [bar.start + bar.duration / 2, (bar.lane.top + bar.lane.bottom) / 2]);
          const box = element.getBoundingClientRect();
          return { x: box.left + x, y: box.top + y, time: seconds(bar.duration) };
        })()""".replace("current_bar(%s, %d)", "entry.build(element.clientWidth).drawn[%d].bars.find((one) => one.name === %s)")
            % (series, json.dumps(name), series))

    def test_hovering_a_bar_names_its_action_and_time(self):
        self.open()
        for series, title in ((0, "simulated"), (1, "measured")):
            at = self.bar_pixel("0F1", series)
            self.browser.mouse("mouseMoved", at["x"] + 200, at["y"] + 300)
            self.browser.mouse("mouseMoved", at["x"], at["y"])
            self.browser.settle()
            shown = self.text_of("#pipeline-chart .tip")
            self.assertIn("0F1 · forward of micro-batch 1 in stage 0", shown)
            self.assertIn(f"time\t{at['time']}", shown)
            self.assertIn(title, shown)  # the same action in the other chart

    def test_zooming_moves_both_charts(self):
        self.open()
        window = "(({start, end}) => [start, end])(charts.get('pipeline-chart').chart.getOption().dataZoom[0])"
        press = "document.querySelector('#pipeline button[aria-label=\"%s\"]').click()"
        self.assertEqual(self.browser.run(window), [0, 100])
        self.browser.run(press % "Zoom in")
        self.assertEqual(self.browser.run(window), [25, 75])
        for axis in (0, 1):
            shown = self.browser.run("charts.get('pipeline-chart').chart.getModel().getComponent('xAxis', %d).axis.scale.getExtent()" % axis)
            whole = self.browser.run("charts.get('pipeline-chart').chart.getOption().xAxis[%d].max" % axis)
            self.assertAlmostEqual(shown[0], 0.25 * whole, delta=0.02 * whole)
            self.assertAlmostEqual(shown[1], 0.75 * whole, delta=0.02 * whole)
        self.browser.run(press % "Show the whole iteration")
        at = self.bar_pixel("0F1")
        self.browser.mouse("mouseWheel", at["x"], at["y"], deltaX=0, deltaY=-240, modifiers=2)
        self.browser.settle()
        start, end = self.browser.run(window)
        self.assertLess(end - start, 100)
        # Without the key the wheel scrolls the page.
        self.browser.mouse("mouseWheel", at["x"], at["y"], deltaX=0, deltaY=-240)
        self.browser.settle()
        self.assertEqual(self.browser.run(window), [start, end])

    def test_the_switch_changes_the_theme_and_is_remembered(self):
        self.open(theme="light")
        self.browser.run("document.getElementById('theme').click()")
        self.assertEqual(self.browser.run("document.documentElement.dataset.theme"), "dark")
        self.open(theme="light")
        self.assertEqual(self.browser.run("document.documentElement.dataset.theme"), "dark")
        self.browser.run("localStorage.clear()")

    def test_another_run_can_be_shown_and_compared(self):
        self.open()
        self.browser.run("document.querySelectorAll('.runs button')[2].click()")
        self.browser.settle()
        self.assertEqual(self.browser.run("document.querySelector('.runs [aria-pressed=true]').textContent"), "single")
        self.assertGreater(self.browser.run(COLOURS % "pipeline-chart"), 3)
        self.browser.run("""(() => {
          const select = document.querySelector('#pipeline select');
          select.value = [...select.options].find((one) => one.textContent.includes('small')).value;
          select.dispatchEvent(new Event('change'));
        })()""")
        titles = self.browser.run("charts.get('pipeline-chart').chart.getOption().title.map((one) => one.text)")
        self.assertRegex(titles[0], "^measured: ")
        self.assertRegex(titles[1], "^small, measured: ")

    def test_thousands_of_bars_are_drawn(self):
        run = self.folder / "long"
        shutil.copytree(self.run_folder, run)
        bars = with_long_trace(run, 8000)
        motley("report", run, "--out", self.folder / "long.html")
        self.open(self.folder / "long.html")
        self.assertGreater(self.browser.run(COLOURS % "pipeline-chart"), 3)
        self.assertGreater(self.browser.run("charts.get('pipeline-chart').build(1200).drawn[0].bars.length"), bars // 3)
        frame = self.browser.run("""(() => {
          const { chart } = charts.get('pipeline-chart');
          const times = [];
          for (let i = 0; i < 20; ++i) {
            const begin = performance.now();
            chart.dispatchAction({ type: 'dataZoom', start: i, end: 100 - i });
            chart.getZr().flush();
            times.push(performance.now() - begin);
          }
          return times.sort((a, b) => a - b)[10];
        })()""")
        print(f"a zoom over {bars} events takes {frame:.0f} ms (median of 20, {os.getloadavg()[0]:.0f} processes want a core)")
        self.keep_picture("long")

    def test_a_run_without_trace_profile_and_evaluation_still_has_a_page(self):
        run = self.folder / "bare"
        run.mkdir()
        lines = (self.run_folder / "record.jsonl").read_text().splitlines()
        (run / "record.jsonl").write_text("\n".join(lines[:12]) + "\n")
        motley("report", run)
        self.open(run / "report.html")
        self.assertIn("no profile.json", self.text_of("#pipeline"))
        self.assertIn("The record ends after", self.text_of(".findings"))
        self.assertGreater(self.browser.run(COLOURS % "loss-chart"), 3)
        self.keep_picture("bare")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    ARGUMENTS, rest = parser.parse_known_args()
    BROWSER = find_browser()
    if BROWSER is None:
        print("NO BROWSER: the report's page is not tested. scripts/setup --tests installs Debian's chromium.", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 77)
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
