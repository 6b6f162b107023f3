"""Tests of the Python tools of bench/eval: .venv/bin/python tests/bench/eval_test.py"""

import pathlib
import sys
import unittest

import numpy as np

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bench" / "eval"))

import compare_ort
import inputs
import metrics
import models
import session
from tasks import audio, detection, images, ocr


class Metrics(unittest.TestCase):
    def test_equal_values_share_their_ranks(self):
        np.testing.assert_array_equal(metrics.ranks([10, 30, 20, 20]), [1, 4, 2.5, 2.5])

    def test_spearman_sees_order_only(self):
        x = np.arange(1, 20)
        self.assertAlmostEqual(metrics.spearman(x, np.exp(x / 3)).value, 1)
        self.assertLess(metrics.pearson(x, np.exp(x / 3)).value, 0.9)

    def test_edit_distance(self):
        self.assertEqual(metrics.edit_distance("kitten", "sitting"), 3)
        self.assertEqual(metrics.edit_distance("", "abc"), 3)

    def test_noise_decides_and_only_on_the_worse_side(self):
        accuracy = metrics.proportion("top1", 80, 100)
        self.assertTrue(accuracy.meets(0.85))
        self.assertFalse(accuracy.meets(0.95))
        self.assertTrue(accuracy.meets(0.5))
        self.assertFalse(metrics.proportion("share", 80, 100, "equal").meets(0.5))
        self.assertFalse(metrics.proportion("errors", 80, 100, "lower").meets(0.5))

    def test_average_precision(self):
        truth = {"a": np.array([[0, 0, 10, 10.0]]), "b": np.array([[0, 0, 10, 10.0]])}
        good, bad = np.array([0, 0, 10, 9.0]), np.array([20, 20, 30, 30.0])
        both = [(0.9, "a", good), (0.8, "b", good)]
        self.assertAlmostEqual(metrics.average_precision(both, truth), 1)
        self.assertAlmostEqual(metrics.average_precision([], truth), 0)
        # A second box on the same object is a mistake: precision 1 up to recall 0.5, then 2/3.
        twice = [(0.9, "a", good), (0.85, "a", good), (0.8, "b", good)]
        self.assertAlmostEqual(metrics.average_precision(twice, truth), (51 + 50 * 2 / 3) / 101)
        self.assertAlmostEqual(metrics.average_precision([(0.9, "a", bad)], truth), 0)

    def test_suppression_keeps_the_best_of_each_cluster(self):
        boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60.0]])
        self.assertEqual(list(metrics.non_maximum_suppression(boxes, np.array([0.5, 0.9, 0.1]), 0.65)), [1, 2])


class Tasks(unittest.TestCase):
    def test_ties_share_the_credit(self):
        scores = np.array([1, 3, 3.0])
        self.assertEqual([images.credit(scores, i) for i in range(3)], [0, 0.5, 0.5])

    def test_ctc_merges_repetitions_but_not_across_blanks(self):
        best = [0, 1, 1, 0, 1, 2, 2, 0]
        self.assertEqual(ocr.decode(np.eye(3)[best], ["", "a", "b"]), "aab")

    def test_decoding_puts_boxes_on_the_grid(self):
        output = np.zeros((3549, 85))
        boxes, _ = detection.decode(output, scale=0.5)
        np.testing.assert_allclose(boxes[1], [8, -8, 24, 8])  # second cell of stride 8: centre (8, 0), size 8

    def test_every_task_has_a_seeded_input(self):
        for module in (images, detection, ocr, audio):
            self.assertLessEqual(set(module.TASKS), set(inputs.CASES))


class Comparison(unittest.TestCase):
    def compare(self, found, expected, kind="f32", step=None, scale=0.0):
        return compare_ort.compare(kind, step, scale, np.float32(found), np.float32(expected))["equal"]

    def test_f32_allows_rounding_only(self):
        self.assertTrue(self.compare([1, 1000.0001], [1.0001, 1000]))
        self.assertFalse(self.compare([0, 1.002], [0, 1]))
        self.assertFalse(self.compare([0.001, 1], [0, 1]))

    def test_nan_and_infinity_equal_only_themselves(self):
        self.assertTrue(self.compare([np.nan, np.inf], [np.nan, np.inf]))
        self.assertFalse(self.compare([np.nan, 1], [1, 1]))
        self.assertFalse(self.compare([np.inf, 1], [-np.inf, 1]))
        self.assertFalse(self.compare([1, 1], [np.nan, 1]))
        self.assertFalse(self.compare([1, 1], [np.inf, 1]))

    def test_shape_and_dtype_count(self):
        self.assertFalse(self.compare([[1, 2]], [1, 2]))
        self.assertFalse(compare_ort.compare("f32", None, 0.0, np.ones(2), np.ones(2, np.float32))["equal"])

    def test_integer_models_may_be_one_step_off(self):
        self.assertTrue(self.compare([0.5, 2], [0.75, 2], "int8", 0.25))
        self.assertFalse(self.compare([0.5, 2], [1, 2], "int8", 0.25))

    def test_seeds_repeat(self):
        ports = [session.Port("x", np.dtype(np.float32), (None, 1, 16, 16))]
        first, again = (list(inputs.random_feeds("digits", ports, 7)) for _ in range(2))
        other = list(inputs.random_feeds("digits", ports, 8))
        np.testing.assert_array_equal(first[0][1]["x"], again[0][1]["x"])
        self.assertFalse(np.array_equal(first[0][1]["x"], other[0][1]["x"]))
        self.assertEqual([case[1]["x"].shape[0] for case in first], [1, 5])


class Digits(unittest.TestCase):
    def test_files_agree_with_each_other(self):
        pictures, labels = np.load(models.DIGITS / "test_images.npy"), np.load(models.DIGITS / "test_labels.npy")
        self.assertEqual((pictures.shape, pictures.dtype), ((797, 1, 16, 16), np.uint8))
        self.assertEqual((labels.shape, labels.dtype), ((797,), np.uint8))
        feeds = models.sample_feeds(models.DIGITS, [session.Port("images", np.dtype(np.float32), (None, 1, 16, 16))])
        np.testing.assert_array_equal(feeds["images"], pictures[:4].astype(np.float32) / 255)


if __name__ == "__main__":
    unittest.main()
