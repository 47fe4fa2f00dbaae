#!/usr/bin/env python3
"""Checks data/mmlu_pro with the standard library alone.

check_mmlu_pro.py format DATA           the files are what their README promises
check_mmlu_pro.py source DATA SOURCE    they say what the source's CSV says; exit 77 (skipped) when SOURCE is absent
"""

import csv
import json
import math
import struct
import sys
import unittest
from array import array
from pathlib import Path

QUERIES, MODELS, WIDTH, CATEGORIES = 10810, 28, 384, 14
TRAIN, VALIDATION, TEST = 0, 1, 2
SKIPPED = 77
ARRAY_CODE = {"U8": "B", "U16": "H", "I32": "i"}
EMBEDDINGS = {"embeddings": ("F16", [QUERIES, WIDTH])}
OUTCOMES = {
    "answered": ("U8", [QUERIES, MODELS]),
    "category": ("U8", [QUERIES]),
    "correct": ("U8", [QUERIES, MODELS]),
    "input_chars": ("I32", [QUERIES]),
    "output_chars": ("U16", [QUERIES, MODELS]),
    "query_id": ("I32", [QUERIES]),
    "split": ("U8", [QUERIES]),
}


class Safetensors:
    """Eight bytes of header length, a JSON header, then the tensors' bytes (little-endian)."""

    def __init__(self, path):
        raw = path.read_bytes()
        (length,) = struct.unpack_from("<Q", raw)
        self.header = json.loads(raw[8 : 8 + length])
        self.header.pop("__metadata__", None)
        self.data = raw[8 + length :]

    def specs(self):
        return {name: (entry["dtype"], entry["shape"]) for name, entry in self.header.items()}

    def bytes_of(self, name):
        begin, end = self.header[name]["data_offsets"]
        return self.data[begin:end]

    def integers(self, name):
        values = array(ARRAY_CODE[self.header[name]["dtype"]], self.bytes_of(name))
        if sys.byteorder == "big":
            values.byteswap()
        return values


class Format(unittest.TestCase):
    data = None

    @classmethod
    def setUpClass(cls):
        cls.embeddings = Safetensors(cls.data / "embeddings.safetensors")
        cls.outcomes = Safetensors(cls.data / "outcomes.safetensors")
        cls.meta = json.loads((cls.data / "meta.json").read_text(encoding="utf-8"))

    def test_folder_is_at_most_ten_megabytes(self):
        self.assertLessEqual(sum(path.stat().st_size for path in self.data.iterdir()), 10_000_000)

    def test_tensors_have_the_promised_names_types_and_shapes(self):
        self.assertEqual(self.embeddings.specs(), EMBEDDINGS)
        self.assertEqual(self.outcomes.specs(), OUTCOMES)

    def test_tensors_fill_the_file_without_gap_or_overlap(self):
        size = {"F16": 2, **{kind: array(code).itemsize for kind, code in ARRAY_CODE.items()}}
        for file in (self.embeddings, self.outcomes):
            end = 0
            for entry in sorted(file.header.values(), key=lambda entry: entry["data_offsets"]):
                self.assertEqual(entry["data_offsets"][0], end)
                end += size[entry["dtype"]] * math.prod(entry["shape"])
                self.assertEqual(entry["data_offsets"][1], end)
            self.assertEqual(end, len(file.data))

    def test_ids_ascend_and_none_ends_in_seven(self):
        ids = self.outcomes.integers("query_id")
        self.assertTrue(all(a < b for a, b in zip(ids, ids[1:])))
        self.assertFalse([i for i in ids if i % 10 == 7])

    def test_split_follows_the_last_digit_of_the_id(self):
        expected = [TEST if i % 10 == 3 else VALIDATION if i % 10 == 1 else TRAIN
                    for i in self.outcomes.integers("query_id")]
        self.assertEqual(list(self.outcomes.integers("split")), expected)
        self.assertEqual(set(expected), {TRAIN, VALIDATION, TEST})

    def test_outcomes_are_bits_and_only_answers_are_correct(self):
        correct, answered = self.outcomes.integers("correct"), self.outcomes.integers("answered")
        self.assertLessEqual(set(correct), {0, 1})
        self.assertLessEqual(set(answered), {0, 1})
        self.assertTrue(all(c <= a for c, a in zip(correct, answered)))

    def test_embeddings_are_unit_vectors_one_a_text(self):
        raw = self.embeddings.bytes_of("embeddings")
        rows = [raw[i : i + 2 * WIDTH] for i in range(0, len(raw), 2 * WIDTH)]
        for row in rows:
            norm = math.sqrt(sum(value * value for value in struct.unpack(f"<{WIDTH}e", row)))
            self.assertAlmostEqual(norm, 1.0, delta=2e-3)
        # 183 queries repeat another one up to where the encoder's input is cut (README.md).
        self.assertEqual(len(set(rows)), QUERIES - 183)

    def test_meta_names_the_columns_of_the_tensors(self):
        with open(self.data / "models.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([row["model"] for row in rows], self.meta["models"])
        self.assertEqual(len(set(self.meta["models"])), MODELS)
        self.assertTrue(all(float(row[f"usd_per_mtok_{way}"]) > 0 for row in rows for way in ("in", "out")))
        self.assertEqual(len(set(self.meta["categories"])), CATEGORIES)
        self.assertEqual(set(self.outcomes.integers("category")), set(range(CATEGORIES)))
        self.assertEqual(self.meta["splits"], ["train", "validation", "test"])

    def test_every_query_has_input(self):
        self.assertGreater(min(self.outcomes.integers("input_chars")), 0)


class Source(unittest.TestCase):
    data = None
    source = None

    def test_outcomes_equal_the_source_csv(self):
        outcomes = Safetensors(self.data / "outcomes.safetensors")
        models = json.loads((self.data / "meta.json").read_text(encoding="utf-8"))["models"]
        ids = outcomes.integers("query_id")
        fields = ("correct", "answered", "output_chars")
        stored = {}
        for field in fields:
            values = iter(outcomes.integers(field))
            for i in ids:
                for model in models:
                    stored.setdefault((i, model), []).append(next(values))
        with open(self.source / "outcomes.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found = stored.pop((int(row["query_id"]), row["model"]))
                self.assertEqual(found, [int(row[field]) for field in fields], row)
        self.assertFalse(stored, "outcomes that the source does not have")

    def test_categories_equal_the_source(self):
        outcomes = Safetensors(self.data / "outcomes.safetensors")
        names = json.loads((self.data / "meta.json").read_text(encoding="utf-8"))["categories"]
        stored = {i: names[c] for i, c in zip(outcomes.integers("query_id"), outcomes.integers("category"))}
        with open(self.source / "queries.jsonl", encoding="utf-8") as file:
            queries = map(json.loads, file)
            self.assertEqual(stored, {query["query_id"]: query["category"] for query in queries})

    def test_models_equal_the_source(self):
        self.assertEqual((self.data / "models.csv").read_text(encoding="utf-8"),
                         (self.source / "models.csv").read_text(encoding="utf-8"))


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "format":
        Format.data, case = Path(arguments[1]), Format
    elif len(arguments) == 3 and arguments[0] == "source":
        Source.data, Source.source, case = Path(arguments[1]), Path(arguments[2]), Source
        if not Source.source.is_dir():
            print(f"SKIPPED: {Source.source} is absent, so nothing was compared with the source", file=sys.stderr)
            return SKIPPED
    else:
        print(__doc__, file=sys.stderr)
        return 2
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
