"""Scores queries with a router that Motley trained: python3 score_router.py ROUTER QUERIES.safetensors
ROUTER: what `motley export CONFIG --trained RUN --out ROUTER` wrote. Needs numpy and safetensors. Prints each query's LLM."""
import json
import math
import sys

import numpy as np
from safetensors.numpy import load_file


def norm(x, gain, bias):
    return (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5) * gain + bias


def score(weights, model, embeddings):
    """Log-odds of a right answer, [queries, LLMs], and standardised lengths, for unit embeddings [queries, width]."""
    w = lambda layer, name: weights[f"{layer['name']}.{name}"]
    linear = lambda x, layer, name: x @ w(layer, name + "weight").T + w(layer, name + "bias")
    first, *blocks, head = model["layers"]
    x = linear(embeddings.astype(np.float32) * math.sqrt(embeddings.shape[1]), first, "")
    for block in blocks:
        y = linear(norm(x, w(block, "norm.gain"), w(block, "norm.bias")), block, "up.")
        x = x + linear(y * (1 + np.vectorize(math.erf)(y / math.sqrt(2))) / 2, block, "down.")  # GELU
    x = norm(x, w(head, "norm.gain"), w(head, "norm.bias"))
    return linear(x, head, "correctness."), linear(x, head, "length.")


if __name__ == "__main__":
    model = json.load(open(f"{sys.argv[1]}/model.json"))
    odds, _ = score(load_file(f"{sys.argv[1]}/model.safetensors"), model, load_file(sys.argv[2])["embeddings"])
    print("\n".join(model["llms"][best]["name"] for best in odds.argmax(axis=1)))
