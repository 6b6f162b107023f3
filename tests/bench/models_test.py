"""Tests of the model builders of bench/models: .venv/bin/python tests/bench/models_test.py"""

import pathlib
import sys
import tempfile
import unittest

import numpy as np
import onnx

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "bench" / "models"))

import build
import detectors
import graph
import transformers


def small_decoder():
    return transformers.decoder(past=3, width=16, heads=2, layers=2, vocabulary=32)


def inferred(g):
    """Names and shapes of the outputs, as ONNX infers them strictly."""
    model = onnx.shape_inference.infer_shapes(g.model(), strict_mode=True)
    onnx.checker.check_model(model)
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in model.graph.output
    }


class Builders(unittest.TestCase):
    def test_every_model_has_a_builder_of_its_name(self):
        for name, builder in build.BUILDERS.items():
            self.assertEqual(name, builder.__name__)
        self.assertGreaterEqual(len(build.BUILDERS), 10)

    def test_convolutional_networks_are_valid(self):
        self.assertEqual(inferred(build.BUILDERS["squeezenet"]()), {"probabilities": [1, 1000]})
        self.assertEqual(inferred(build.BUILDERS["shufflenet"]()), {"probabilities": [1, 1000]})
        self.assertEqual(inferred(detectors.yolo(side=64, classes=3)), {"detections": [1, 7, 84]})

    def test_a_quantized_network_is_valid_and_wholly_quantized(self):
        g = build.BUILDERS["mobilenetv2_qdq"]()
        self.assertEqual(inferred(g), {"logits": [1, 1000]})
        nodes = g.model().graph.node
        made_by = {name: node.op_type for node in nodes for name in node.output}
        for node in nodes:
            if node.op_type in ("Conv", "Gemm"):
                self.assertEqual({made_by[name] for name in node.input}, {"DequantizeLinear"})

    def test_an_encoder_is_valid(self):
        g = transformers.bert_base(length=8, width=16, heads=2, layers=2, vocabulary=32)
        self.assertEqual(inferred(g), {"last_hidden_state": [1, 8, 16], "pooler_output": [1, 16]})

    def test_the_decoder_names_its_symbolic_extents(self):
        outputs = inferred(small_decoder())
        self.assertEqual(outputs["logits"], [1, 1, 32])
        self.assertEqual(outputs["present_1_value"], [1, 2, "past+1", 8])

    def test_same_bytes_every_time(self):
        self.assertEqual(small_decoder().model().SerializeToString(), small_decoder().model().SerializeToString())

    def test_samples_lie_beside_the_model(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            g = small_decoder()
            graph.save(g.model(), g.samples(), folder)
            for i, value in enumerate(onnx.load(folder / "model.onnx").graph.input):
                tensor = onnx.load_tensor(folder / "test_data_set_0" / f"input_{i}.pb")
                self.assertEqual(tensor.name, value.name)
            self.assertEqual(onnx.numpy_helper.to_array(tensor).dtype, np.float32)

    def test_what_is_built_already_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            path = build.build("squeezenet", pathlib.Path(folder)) / "model.onnx"
            before = path.stat().st_mtime_ns
            build.build("squeezenet", pathlib.Path(folder))
            self.assertEqual(path.stat().st_mtime_ns, before)


if __name__ == "__main__":
    unittest.main()
