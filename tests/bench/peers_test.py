"""Tests of the summaries of bench/peers: .venv/bin/python tests/bench/peers_test.py"""

import json
import pathlib
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(REPOSITORY / "bench" / part) for part in ("peers", "eval")]

import compare_speed
import numpy as np
import summary


def model(kind="f32", footprint=None, **threads):
    """threads: t1={"skyline": 1.0, "ort": 2.0}"""
    result = {"kind": kind, "threads": {t[1:]: {"p50_ms": times} for t, times in threads.items()}}
    return result | ({"footprint": footprint} if footprint else {})


class Summary(unittest.TestCase):
    def test_ratios_are_the_peers_time_over_ours(self):
        times = {"skyline": 2.0, "ort": 4.0, "openvino": 3.0}
        self.assertEqual(summary.ratio(times, "ort"), 2)
        self.assertEqual(summary.best_peer(times), 1.5)
        self.assertIsNone(summary.ratio(times, "ncnn"))
        self.assertIsNone(summary.best_peer({"skyline": 1.0}))

    def test_geometric_means_keep_f32_and_int8_apart(self):
        results = {
            "a": model(t1={"skyline": 1.0, "ort": 2.0}),
            "b": model(t1={"skyline": 1.0, "ort": 8.0}),
            "c": model(kind="qdq", t1={"skyline": 1.0, "ort": 0.5}),
            "d": {"error": "crashed"},
        }
        means = summary.summarise(results)
        self.assertAlmostEqual(means["1"]["f32"]["ort"], 4)
        self.assertAlmostEqual(means["1"]["int8"]["ort"], 0.5)

    def bars(self, results):
        return {bar.what: bar for bar in summary.speed_bars(results, summary.summarise(results))}

    def test_each_model_has_the_bar_of_its_kind(self):
        bars = self.bars(
            {
                "tiny": model(t1={"skyline": 0.1, "ort": 0.2}, t2={"skyline": 0.1, "ort": 0.4}),
                "bert_base": model(t1={"skyline": 100.0, "ort": 140.0}, t2={"skyline": 50.0, "ort": 80.0}),
                "vgg19": model(t1={"skyline": 100.0, "ort": 101.0}, t2={"skyline": 60.0, "ort": 61.0}),
            }
        )
        self.assertFalse(bars["1T tiny over ort"].passed)
        self.assertTrue(bars["2T tiny over ort"].passed)
        self.assertFalse(bars["1T bert_base over ort"].passed)
        self.assertTrue(bars["2T bert_base over ort"].passed)
        self.assertTrue(bars["1T vgg19 over ort"].passed)
        self.assertTrue(bars["bert_base: two threads over one"].passed)
        self.assertFalse(bars["vgg19: two threads over one"].passed)

    def test_footprints_have_upper_limits(self):
        ours = {"load_ms": 1, "prepare_ms": 4, "rss_mb": 95, "model_mb": 90}
        theirs = {"load_ms": 1, "prepare_ms": 10, "rss_mb": 100, "model_mb": 90}
        load, memory = summary.footprint_bars({"a": model(footprint={"skyline": ours, "ort": theirs})})
        self.assertTrue(load.passed)
        self.assertFalse(memory.passed)


class Tools(unittest.TestCase):
    def test_disagreement_is_relative_to_the_scale_and_sees_nan(self):
        expected = {"y": np.array([1, 100], np.float32)}
        self.assertAlmostEqual(compare_speed.disagreement({"y": np.array([[1, 101]], np.float32)}, expected), 0.01)
        self.assertEqual(compare_speed.disagreement({"y": np.array([1, np.nan], np.float32)}, expected), float("inf"))
        self.assertEqual(compare_speed.disagreement({"y": np.zeros(3, np.float32)}, expected), float("inf"))

    def test_results_of_several_runs_are_merged(self):
        runs = [
            {"a": model(t1={"skyline": 1.0}), "b": {"error": "busy"}},
            {"a": model(t2={"skyline": 0.5}, footprint={"ort": {}}), "b": model(t1={"skyline": 3.0})},
        ]
        with tempfile.TemporaryDirectory() as folder:
            files = [pathlib.Path(folder) / str(i) for i in range(2)]
            for file, models in zip(files, runs, strict=True):
                file.write_text(json.dumps({"machine": {"cores": 2}, "models": models}))
            machine, merged = compare_speed.merge(files)
        self.assertEqual(machine, {"cores": 2})
        self.assertEqual(sorted(merged["a"]["threads"]), ["1", "2"])
        self.assertIn("ort", merged["a"]["footprint"])
        self.assertEqual(merged["b"]["threads"]["1"]["p50_ms"], {"skyline": 3.0})

    def test_runs_are_timed_often_enough(self):
        statistics = compare_speed.time_runs(lambda: None, 0.001)
        self.assertGreaterEqual(statistics["n"], 5)
        self.assertLessEqual(statistics["min"], statistics["p90"])


if __name__ == "__main__":
    unittest.main()
