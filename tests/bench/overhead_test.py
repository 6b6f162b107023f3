"""Tests of bench/overhead: .venv/bin/python tests/bench/overhead_test.py"""

import pathlib
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bench" / "overhead"))

import numpy as np
import onnx
import onnxruntime
import overhead


class Chain(unittest.TestCase):
    def test_a_chain_is_valid_and_has_a_node_for_each_step(self):
        model = overhead.chain(5)
        onnx.checker.check_model(model)
        self.assertEqual(len(model.graph.node), 5)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        self.assertEqual(session.run(None, {"v0": np.array([1])})[0].tolist(), [((1 + 3) * 5 + 3) * 5 + 3])

    def test_a_step_costs_something(self):
        with tempfile.TemporaryDirectory() as folder:
            for steps in (overhead.SHORT, overhead.LONG):
                onnx.save(overhead.chain(steps), pathlib.Path(folder) / f"{steps}.onnx")
            found = overhead.measure("ort", pathlib.Path(folder), rounds=1, seconds=0.01)
        self.assertGreater(found["step_ns"], 0)


if __name__ == "__main__":
    unittest.main()
