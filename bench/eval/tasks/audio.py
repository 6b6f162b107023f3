"""Audio: keyword spotting, voice activity, wake words."""

import wave

import numpy as np

import metrics
from tasks.images import read_table

RATE = 16000
CHUNK, OVERLAP = 512, 64  # samples of a step of the voice activity models


def read_wave(path):
    """Mono f32 in -1..1."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise ValueError(f"{path}: expected 16 kHz, mono, 16 bits")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def keywords(context, model):
    records = np.fromfile(context.data / "kws01" / "kws01_500.bin", np.uint8).reshape(-1, 1 + 490)
    correct = 0
    for record in records:
        x = (record[1:].view(np.int8).astype(np.float32) - 83) * np.float32(0.5847029089927673)
        correct += int(context.run(model, x.reshape(1, 49, 10, 1))[0].argmax()) == int(record[0])
    return [metrics.proportion("acc", correct, len(records))]


def speech_probabilities(context, model, samples):
    """Probability of speech in every whole chunk; the model sees the end of the chunk before as well."""
    session = context.session(model)
    state = np.zeros((2, 1, 128), np.float32)
    padded = np.concatenate([np.zeros(OVERLAP, np.float32), samples])
    probabilities = []
    for i in range(0, len(samples) - CHUNK + 1, CHUNK):
        x = padded[i : i + OVERLAP + CHUNK][None]
        outputs = session.run({"input": x, "state": state, "sr": np.array(RATE, np.int64)})
        state = outputs["stateN"]
        probabilities.append(float(outputs["output"].reshape(-1)[0]))
    return np.array(probabilities)


def voice_activity(context, model):
    folder = context.data / "vad"
    samples = read_wave(folder / "synth.wav")
    spoken = np.zeros(len(samples), bool)
    for start, end in read_table(folder / "synth_segments.tsv"):
        spoken[int(start) : int(end)] = True
    frames = len(samples) // CHUNK
    truth = spoken[: frames * CHUNK].reshape(frames, CHUNK).mean(1) > 0.5
    synthetic = speech_probabilities(context, model, samples)
    natural = speech_probabilities(context, model, read_wave(folder / "silero_test_60s.wav"))
    difference = 0.0
    for found, name in ((synthetic, "synth"), (natural, "silero_test_60s")):
        reference = np.loadtxt(folder / f"ort_probs_{name}_{model}.txt")
        difference = max(difference, float(np.abs(found - reference).max()))
    return [
        metrics.proportion("frame_acc_at_0p5", int(((synthetic > 0.5) == truth).sum()), frames),
        metrics.proportion("speech_fraction_60s", int((natural > 0.5).sum()), len(natural), "equal"),
        # The state carries rounding from step to step; the files hold six decimals.
        metrics.exact("probability_difference", difference, frames + len(natural), 1e-3),
    ]


def embeddings(context, samples):
    """Speech embeddings [n,96] of the sound with two seconds of silence before it and one after."""
    padded = np.concatenate([np.zeros(2 * RATE), samples * 32768, np.zeros(RATE)]).astype(np.float32)
    spectrum = context.run("oww_melspectrogram", padded[None])[0].reshape(-1, 32) / 10 + 2
    windows = [spectrum[i : i + 76] for i in range(0, len(spectrum) - 75, 8)]
    stacked = [context.run("oww_embedding", w.reshape(1, 76, 32, 1).astype(np.float32))[0] for w in windows]
    return np.concatenate(stacked).reshape(-1, 96)


def wake_word(context, model):
    """A recording triggers when any window of 16 embeddings scores over 0.5."""
    word = model.removeprefix("oww_").replace("_", " ")
    folder = context.data / "wakeword"
    rows = read_table(folder / "labels.tsv")
    correct = 0
    for file, label in rows:
        features = embeddings(context, read_wave(folder / file))
        scores = [context.run(model, features[None, i : i + 16])[0].item() for i in range(len(features) - 15)]
        correct += (max(scores) > 0.5) == (label == word)
    return [metrics.proportion("triggers_right", correct, len(rows))]


TASKS = {
    "kws_dscnn_fp32": keywords,
    "kws_dscnn_qdq": keywords,
    "silero_vad_v5": voice_activity,
    "silero_vad_op18_ifless": voice_activity,
    "oww_alexa": wake_word,
    "oww_hey_jarvis": wake_word,
}
