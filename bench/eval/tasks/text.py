"""Text: sentence similarity (STS-B) and a language model with a key-value cache."""

import json

import numpy as np

import metrics
from tasks.images import read_table


def pad(sentences):
    """Token ids and their mask, both int64 [batch, longest]."""
    longest = max(map(len, sentences))
    ids, mask = np.zeros((2, len(sentences), longest), np.int64)
    for i, sentence in enumerate(sentences):
        ids[i, : len(sentence)] = sentence
        mask[i, : len(sentence)] = 1
    return ids, mask


def sts(context, model):
    """Both sentences as one batch; the embeddings have unit length, so the dot product is the cosine."""
    scores, similarities = [], []
    for score, _, _, *ids in read_table(context.data / "stsb" / "sts-dev.tsv")[1:]:
        left, right = context.run(model, *pad([[int(t) for t in text.split()] for text in ids]))[0]
        scores.append(float(score))
        similarities.append(float(left @ right))
    return [metrics.spearman(scores, similarities), metrics.pearson(scores, similarities)]


class LanguageModel:
    """Keeps the cache between calls."""

    def __init__(self, session):
        self.session = session
        self.cache = {
            port.name: np.zeros((1, port.shape[1], 0, port.shape[3]), port.dtype)
            for port in session.inputs
            if port.name.startswith("past_key_values.")
        }

    def logits(self, ids):
        """Appends the tokens; returns f32 [len(ids), vocabulary]."""
        outputs = self.session.run({"input_ids": np.array([ids], np.int64), **self.cache})
        self.cache = {name: outputs[name.replace("past_key_values", "present")] for name in self.cache}
        return outputs["logits"][0]


def language_model(context, model):
    golden = json.loads((context.data / "lm" / "lm.json").read_text(encoding="utf-8"))
    session = context.session(model)

    text = golden["score_ids"]
    logits = LanguageModel(session).logits(text[:-1]).astype(np.float64)
    top = logits.max(1, keepdims=True)
    normaliser = top[:, 0] + np.log(np.exp(logits - top).sum(1))
    losses = normaliser - logits[np.arange(len(text) - 1), text[1:]]

    expected = golden["greedy_ids"]
    greedy, decoded = LanguageModel(session), expected[:1]
    while len(decoded) < len(expected):
        decoded.append(int(greedy.logits(decoded[-1:])[-1].argmax()))
    differs = [i for i, pair in enumerate(zip(decoded, expected, strict=True)) if pair[0] != pair[1]]
    same = differs[0] if differs else len(expected)
    return [
        metrics.mean("mean_nll", losses, "lower"),
        metrics.exact("greedy_tokens_equal", same / len(expected), len(expected)),
    ]


TASKS = {"use_lite": sts, "stories260k": language_model}
