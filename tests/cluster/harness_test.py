#!/usr/bin/env python3
"""What scripts/bench_cluster makes of what it measured, on made-up measurements: needs neither root nor PyTorch."""

import contextlib
import dataclasses
import io
import json
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench" / "cluster"))

from harness import bench, profiles, report  # noqa: E402
from harness.rows import Row, Setting  # noqa: E402
from testbed.errors import Wrong  # noqa: E402


def plan(stages, count, schedule="1f1b"):
    return {"motley": "plan", "version": 1, "schedule": schedule, "micro_batches": count, "micro_batch_size": 16 // count,
            "stages": [{"layers": [i, i + 1], "replicas": [{"device": device}], "warm_up": 1} for i, device in enumerate(stages)]}


def row(name, group, kind, count, times, losses=(4.0, 3.0), schedule="1f1b", predicted=None):
    runs = [{"iteration_s": time, "steps_s": [time], "losses": list(losses), "ranks": [], "watched": {}} for time in times]
    return Row(name, group, kind, plan([1, 0], count, schedule), f"{schedule}:{count}" if kind == "peer" else "", predicted, runs=runs)


HOSTS = [SimpleNamespace(name="fast"), SimpleNamespace(name="slow & old")]


def result_of(rows, setting):
    bed = {"bed": "two", "hosts": [{"host": "fast", "asked": 1.0, "alone": 1.0, "bursts": 1.0, "busy": 0.98}], "links":
           [{"from": "a", "to": "b", "asked": 200.0, "alone": 191.0, "busy": 190.0}]}
    return {"bed": bed, "batch": 16, "steps": 6, "repeats": 2, "command": "x", "speeds": {"fast": 12.0, "slow & old": 5.0},
            "machine": {"date": "d", "commit": "c", "cores": 2, "cpu": "p", "memory_gib": 4, "kernel": "k", "load_before": 0.1},
            "rows": [report.row_values(r, setting) for r in rows], "losses": report.compare_losses(rows),
            "ratios": report.ratios(rows, {}), "screened": {"uniform split": {"1f1b:8": 3.0}}, "failed": {},
            "refused": {"uniform split": {"zero-bubble:16": "a reason"}}}


class Profiles(unittest.TestCase):

    def test_numbers_become_medians_and_notes_may_differ(self):
        values = [{"a": [1.0, 2], "b": {"c": c}, "name": "x", "note": str(c)} for c in (3.0, 9.0, 5.0)]
        self.assertEqual(profiles.merge(values), {"a": [1.0, 2], "b": {"c": 5.0}, "name": "x", "note": "3.0"})

    def test_a_device_that_one_profile_says_gains_nothing_after_pauses_is_as_one_that_gains_nothing(self):
        quick = {"busy": 1.0, "burst": {"credit_s": 0.004, "speed_up": 1.5}}
        merged = profiles.merge([{"a": quick}, {"a": {"busy": 3.0}}])
        self.assertEqual(merged, {"a": {"busy": 2.0, "burst": {"credit_s": 0.002, "speed_up": 1.25}}})

    def test_messages_that_take_no_time_in_one_profile_count_as_such(self):
        costly = {"codecs": {"bfloat16": {"encode": [[8, 2.0]]}, "float32": {"encode": [[4, 0.5], [8, 1.0]]}}}
        free = {"codecs": {"bfloat16": {"encode": [[8, 4.0]]}}}
        self.assertEqual(profiles.merge([{"a": free}, {"a": costly}]),
                         {"a": {"codecs": {"bfloat16": {"encode": [[8, 3.0]]}, "float32": {"encode": [[4, 0.25], [8, 0.5]]}}}})
        self.assertEqual(profiles.merge([{}, {"codecs": {"float32": {"encode": [[4, 0.5]]}}}, {}]),
                         {"codecs": {"float32": {"encode": [[4, 0.0]]}}})

    def test_counts_stay_whole(self):
        self.assertEqual(profiles.merge([{"bytes": 1}, {"bytes": 2}]), {"bytes": 2})

    def test_profiles_of_different_things_are_refused_with_the_place(self):
        for other, where in (({"a": [1.0]}, "different keys"), ({"a": [1.0, 2.0], "b": "y"}, "profile.b: found 'x' and 'y'"),
                             ({"a": [1.0], "b": "x"}, r"profile.a: .* different lengths")):
            with self.assertRaisesRegex(ValueError, where):
                profiles.merge([{"a": [1.0, 2.0], "b": "x"}, other])

    def test_speed_is_that_of_the_best_micro_batch_with_the_update(self):
        times = {"by_size": [[{"forward_s": 1.0, "backward_s": 2.0}], [{"forward_s": 1.5, "backward_s": 2.5}]], "update_s": [4.0]}
        profile = {"model": {"micro_batch_sizes": [1, 2], "devices": {"t": {"busy": times}}},
                   "cluster": {"devices": [{"type": "t"}]}}
        self.assertEqual(profiles.speeds(profile, 8), [8 / (4 * 4.0 + 4.0)])


class Losses(unittest.TestCase):

    def test_motley_agrees_bit_for_bit_and_pytorch_within_a_hundred_thousandth(self):
        close = (4.0 * (1 + 0.9e-5), 3.0)
        rows = [row("a", "uniform", "motley", 8, [1]), row("b", "plan", "motley", 8, [1]), row("p", "uniform", "peer", 8, [1], close)]
        result = report.compare_losses(rows)
        self.assertTrue(result["agree"])
        self.assertEqual(result["bit_equal_rows"], 2)
        self.assertAlmostEqual(result["worst_relative"], 0.9e-5)

    def test_differences_are_found_by_name(self):
        for kind, losses in (("motley", (4.0, 3.0000000000000004)), ("peer", (4.0 * (1 + 1.1e-5), 3.0)), ("peer", (float("nan"), 3.0))):
            result = report.compare_losses([row("a", "uniform", "motley", 8, [1]), row("odd", "plan", kind, 8, [1], losses)])
            self.assertFalse(result["agree"])
            self.assertIn("odd", result["faults"][0])

    def test_what_is_rounded_on_the_wire_is_told_and_no_fault(self):
        rounded = row("int8", "also", "motley", 8, [1], (4.004, 3.0))
        rounded.plan["stages"][0]["wire"] = "int8"
        for rows in ([rounded, row("a", "uniform", "motley", 8, [1])], [row("a", "uniform", "motley", 8, [1]), rounded]):
            result = report.compare_losses(rows)
            self.assertTrue(result["agree"])
            self.assertEqual(result["bit_equal_rows"], 1)
            self.assertAlmostEqual(result["lossy"]["int8"], 1e-3)

    def test_other_micro_batches_are_not_compared(self):
        result = report.compare_losses([row("a", "uniform", "motley", 8, [1]), row("b", "plan", "motley", 4, [1], (5.0, 3.0))])
        self.assertTrue(result["agree"])


class Ratios(unittest.TestCase):

    def rows(self):
        return [row("M plan", "plan", "motley", 16, [1.0, 1.25], predicted=1.0),
                row("M uniform", "uniform", "motley", 8, [2.0, 2.0], predicted=1.9),
                row("M split 8", "split", "motley", 8, [1.5, 1.5], predicted=1.5),
                row("P uniform gpipe", "uniform", "peer", 8, [2.5, 2.5], schedule="gpipe"),
                row("P uniform 1f1b", "uniform", "peer", 8, [3.0, 3.0]),
                row("P split 1f1b", "split", "peer", 8, [1.8, 1.8]),
                row("M single", "single", "motley", 4, [1.6, 1.6], predicted=1.6)]

    def test_each_ratio_is_taken_repeat_by_repeat_over_the_quickest_of_the_other_kind(self):
        found = {r["what"]: r for r in report.ratios(self.rows(), {})}
        best = found["Motley's plan over PyTorch's uniform split"]
        self.assertEqual((best["of"], best["over"], best["least"], best["most"]), ("M plan", "P uniform gpipe", 2.0, 2.5))
        equal = found["Motley over PyTorch, uniform split, both 1F1B with 8 micro-batches"]
        self.assertEqual((equal["over"], equal["median"]), ("P uniform 1f1b", 1.5))
        self.assertAlmostEqual(found["Motley over PyTorch, Motley's split, both 1F1B with 8 micro-batches"]["median"], 1.2)
        self.assertAlmostEqual(found["PyTorch's uniform split over one process on the fastest host"]["median"], 0.64)

    def test_a_machine_that_others_use_makes_no_record(self):
        def watched(*shares):
            return {"others_share": report.median_spread(shares)}

        self.assertIn("at most 4.9% of its cores during a run (", report.quietness([watched(0.01, 0.049), watched(0.02)])[0])
        self.assertIn("at most 5.0% of its cores during a run: it was NOT quiet", report.quietness([watched(0.01, 0.05)])[0])
        self.assertEqual(report.quietness([{}]), [])

    def test_kendalls_tau(self):
        self.assertEqual(report.kendall([(1, 1), (2, 2), (3, 3)]), 1)
        self.assertEqual(report.kendall([(1, 3), (2, 2), (3, 1)]), -1)
        self.assertAlmostEqual(report.kendall([(1, 1), (2, 3), (3, 2)]), 1 / 3)
        self.assertIsNone(report.kendall([(1, 1)]))

    def test_a_result_becomes_markdown_and_a_picture(self):
        rows = self.rows()
        rows[0].bound = 0.95
        for of_motley in (r for r in rows if r.kind == "motley"):
            of_motley.predicted_again = of_motley.iteration()
            for run, error in zip(of_motley.runs, (0.01, 0.03)):
                run["predicted_s"] = run["iteration_s"] * (1 + error)
        rows[0].bound_again = rows[0].iteration() / 2
        for run in rows[0].runs:
            run["bound_s"] = run["iteration_s"] * 0.75
        result = result_of(rows, SimpleNamespace(batch=16, hosts=lambda: HOSTS))
        text = report.markdown(result)
        for words in ("M plan | 14.40 [12.80, 16.00]", "layers 0 to 0 on slow & old, layers 1 to 1 on fast", "of the planner's bound",
                      "Kendall's tau of predicted and measured 1.00", "plans were made with: Motley's plan reaches 0.844 of the planner's bound",
                      "between the repeats too (the machine drifts): Motley's plan reaches 0.500 of the planner's bound (28.44 samples/s); "
                      "it takes 1.000 times what `motley simulate` says; prediction error of 4 plans: median 0.0%, worst 0.0%; ", "M uniform | 8.00 [8.00, 8.00] | 2.000 | 1.900 (-5.0%, +2.0%)",
                      "before and after its repeat (medians of the runs): Motley's plan reaches 0.750 of the planner's bound (18.96 samples/s); "
                      "it takes 0.980 times what `motley simulate` says; prediction error of 4 plans: median 2.0%, worst 2.0%; Kendall's tau",
                      "Not possible with PyTorch: zero-bubble:16: a reason."):
            self.assertIn(words, text)
        self.assertNotIn("FAILED", text)
        picture = ElementTree.fromstring(report.plot(result))
        bars = [element for element in picture.iter() if element.tag.endswith("rect") and element.get("height") != "100%"]
        self.assertEqual(len(bars), len(rows))
        widths = [float(bar.get("width")) for bar in bars]
        self.assertEqual(widths, sorted(widths, reverse=True))


class Retelling(unittest.TestCase):

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.config = SimpleNamespace(name="two", hosts=HOSTS)
        setting = Setting(SimpleNamespace(config=lambda: self.config), "m.toml", 16, 4, 0.1, 1, 6, self.folder,
                          self.folder / "profile.json", [])
        self.enterContext(mock.patch.object(bench, "settle", lambda *_: setting))
        self.enterContext(mock.patch.object(bench, "motley", lambda command, *_: json.dumps(
            {"expected_s": 1.1} if command == "simulate" else {"certificate": {"lower_bound_s": 0.9}})))
        self.arguments = SimpleNamespace(planner="tailored", plan_arguments="")
        self.setting = setting

    def leave(self, profiles):
        rows = [row("M plan", "plan", "motley", 8, [1.0, 5.0], predicted=1.0), row("P", "uniform", "peer", 8, [2.0, 7.0])]
        rows[0].bound = 0.9
        for each in rows:
            for repeat, run in enumerate(each.runs):
                run["repeat"] = repeat
        bench.keep(self.setting, rows, result_of(rows, self.setting))
        (self.folder / "profiles").mkdir()
        for i in range(profiles):
            (self.folder / "profiles" / f"profile-{i}.json").write_text(json.dumps({"cluster": {"note": str(i)}, "x": float(i)}))

    def test_a_bench_that_broke_off_is_told_as_far_as_its_profiles_go(self):
        self.leave(bench.PROFILES + 1)  # the first repeat has one before and one after it
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(bench.retell(self.arguments, self.config), 0)
        told = json.loads((self.folder / "bench.json").read_text())
        self.assertEqual(told["repeats"], 1)
        (mine,) = [each for each in told["rows"] if each["kind"] == "motley"]
        self.assertEqual(mine["steps_s"], [[1.0]])
        self.assertAlmostEqual(mine["prediction_error_beside"], 0.1)
        self.assertAlmostEqual(mine["share_of_bound_again"], 0.9)
        self.assertIn("M plan | 16.00 [16.00, 16.00]", (self.folder / "bench.md").read_text())
        self.assertIn("M plan", (self.folder / "bench.svg").read_text())
        self.assertEqual(json.loads((self.folder / "profile-beside.json").read_text())["x"], bench.PROFILES - 0.5)

    def test_a_bench_without_a_profile_after_its_first_repeat_is_refused(self):
        self.leave(bench.PROFILES)
        with self.assertRaisesRegex(Wrong, "found 3 profiles in .*profiles, expected 3 and one after each repeat"):
            bench.retell(self.arguments, self.config)

    def test_what_is_not_there_or_of_another_bench_is_named(self):
        with self.assertRaisesRegex(Wrong, "bench.json is not there"):
            bench.retell(self.arguments, self.config)
        self.leave(bench.PROFILES + 2)
        for batch, name in ((32, "two"), (16, "three")):
            other = dataclasses.replace(self.setting, batch=batch)
            with mock.patch.object(bench, "settle", lambda *_, other=other: other), self.assertRaisesRegex(
                    Wrong, f"bed two with batches of 16 .* expected {name} and {batch}"):
                bench.retell(self.arguments, SimpleNamespace(name=name))


class Plans(unittest.TestCase):

    def test_what_pytorch_refuses_is_known_beforehand(self):
        self.assertIsNone(bench.impossible("zero-bubble:16", 4))
        self.assertIn("multiple of 5", bench.impossible("zero-bubble:16", 3))
        self.assertIn("as many micro-batches as stages (8)", bench.impossible("1f1b:4", 8))
        self.assertIsNone(bench.impossible("gpipe:4", 8))

    def test_a_uniform_split_counts_blocks_not_their_halves(self):
        names = ["embedding", *(f"block{i}.{half}" for i in range(12) for half in ("attention", "mlp")), "head"]
        cuts = [stage["layers"] for stage in bench.uniform([{"name": name} for name in names], 4)]
        self.assertEqual(cuts, [[0, 7], [7, 15], [15, 21], [21, 26]])
        whole = [stage["layers"] for stage in bench.uniform([{"name": str(i)} for i in range(14)], 4)]
        self.assertEqual(whole, [[0, 4], [4, 8], [8, 11], [11, 14]])
        few = bench.uniform([{"name": "a"}, {"name": "b"}], 3)
        self.assertEqual([stage["layers"] for stage in few], [[0, 1], [1, 2]])

    def test_a_further_plan_is_the_exact_search_s_unless_a_planner_is_named(self):
        self.assertEqual(bench.further_plan("int8=--allow int8"), ("int8", "exact", ["--allow", "int8"]))
        self.assertEqual(bench.further_plan("g=--schedule gpipe --planner greedy --max-stages 2"),
                         ("g", "greedy", ["--schedule", "gpipe", "--max-stages", "2"]))

    def test_a_given_split_keeps_layers_and_order_and_nothing_else(self):
        made = bench.with_split({**plan([2, 0, 1], 16, "gpipe"), "prediction": {}, "actions": ["0F0"]}, 8, 16)
        self.assertEqual(bench.splits_of(made), [([0, 1], 2), ([1, 2], 0), ([2, 3], 1)])
        self.assertEqual([stage["warm_up"] for stage in made["stages"]], [3, 2, 1])
        self.assertEqual((made["schedule"], made["micro_batches"], made["micro_batch_size"]), ("1f1b", 8, 2))
        self.assertNotIn("prediction", made)
        self.assertNotIn("actions", made)


if __name__ == "__main__":
    unittest.main(verbosity=2)
