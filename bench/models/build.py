"""Builds the models that the benchmarks run, with seeded random weights: the same bytes everywhere.

    .venv/bin/python bench/models/build.py [NAME...] [--output build/bench-models] [--list]

Each becomes NAME/model.onnx with its inputs in NAME/test_data_set_0, below the output folder. What is there and was
built by the same sources stays. About 1.7 GB in all, most of it VGG-19, BERT-base and the decoder.
"""

import argparse
import hashlib
import pathlib
import sys

import classifiers
import detectors
import graph
import onnx
import quantized
import transformers

BUILDERS = {
    build.__name__: build
    for build in (
        classifiers.resnet50,
        classifiers.mobilenetv2,
        classifiers.densenet121,
        classifiers.inception_v1,
        classifiers.squeezenet,
        classifiers.shufflenet,
        classifiers.vgg19,
        transformers.bert_base,
        transformers.decoder,
        detectors.yolo,
        quantized.resnet50_qdq,
        quantized.mobilenetv2_qdq,
        quantized.bert_base_dynamic,
        quantized.bert_base_qdq,
    )
}
HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_OUTPUT = HERE.parents[1] / "build" / "bench-models"


def stamp():
    """Changes with everything that decides what is written."""
    digest = hashlib.sha256(onnx.__version__.encode())
    for source in sorted(HERE.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def build(name, output):
    """Returns the folder of the model, built if it was not there."""
    folder, current = output / name, stamp()
    mark = folder / "built-by"
    if not mark.exists() or mark.read_text() != current:
        g = BUILDERS[name]()
        graph.save(g.model(), g.samples(), folder)
        mark.write_text(current)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--output", type=pathlib.Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--list", action="store_true", help="only print the names")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BUILDERS]
    if unknown:
        parser.error(f"no builder for {', '.join(unknown)}; there are {', '.join(BUILDERS)}")
    for name in options.names or BUILDERS:
        print(name if options.list else build(name, options.output) / "model.onnx")


if __name__ == "__main__":
    sys.exit(main())
