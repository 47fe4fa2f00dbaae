"""Small sound files of Motley's that the cases spoil: always the same, so that what is said of them is."""

import json
import struct

LAYERS = 6
CONFIG = """run_directory = "run"
workload = "router"
[workload_options]
data = "synthetic"
embedding = 8
models = 3
samples = 200
width = 8
hidden = 8
blocks = 4
[train]
steps = 4
global_batch = 64
[profile]
micro_batch_sizes = [16]
repeats = 3
[checkpoint]
every = 2
[devices]
ranks = 2
"""
PRICES = "model,params_billion,usd_per_mtok_in,usd_per_mtok_out\nsmall,1,0.1,0.1\nlarge,70,0.9,0.9\n"
SCHEDULE = "0F0,0F1,0B0,0B1\n1F0,1B0,1F1,1B1\n"
GRAPH = ("node1 -- Linear -- forward_compute_time=1.0, backward_compute_time=2.0, activation_size=100, parameter_size=40\n"
         "node2 -- Linear -- forward_compute_time=1.0, backward_compute_time=2.0, activation_size=100, parameter_size=40\n"
         "\tnode1 -- node2\n")


def profile():
    """Two devices, six layers, each 1 ms forward and 2 ms backward for 16 samples."""
    layer = {"parameter_bytes": 288, "optimizer_bytes": 576,
             "output": [{"name": "hidden", "shape": [8], "dtype": "float32", "has_gradient": True}],
             "memory": [{"saved_bytes": 4096, "queued_bytes": 512, "forward_peak_bytes": 1024,
                         "backward_input_peak_bytes": 1024, "backward_weight_peak_bytes": 1024,
                         "backward_peak_bytes": 2048}]}
    times = {"by_size": [[{"forward_s": 0.001, "backward_s": 0.002, "backward_input_s": 0.001,
                           "backward_weight_s": 0.001, "spread": 0.01} for _ in range(LAYERS)]],
             "update_s": [1e-4] * LAYERS}
    link = [[0, 1e-5], [1000000, 1e-3]]
    names = ["input", "block0", "block1", "block2", "block3", "head"]
    layers = [dict(layer, name=name) for name in names]
    layers[-1]["output"] = []
    return {"motley": "profile", "version": 1,
            "model": {"name": "router", "layers": layers, "base_bytes": 0, "micro_batch_sizes": [16],
                      "devices": {"cpu": {"alone": times, "busy": times}}},
            "cluster": {"devices": [{"name": f"rank{rank}", "host": "here", "type": "cpu", "memory_bytes": 2048000000,
                                     "usd_per_hour": 0.0} for rank in range(2)],
                        "links": [[[], link], [link, []]], "action_overhead_s": 0.0, "norm_exchange_s": 0.0}}


def plan(cuts=(0, 3, LAYERS)):
    stages = [{"layers": [first, end], "replicas": [{"device": rank}], "warm_up": len(cuts) - 1 - rank}
              for rank, (first, end) in enumerate(zip(cuts, cuts[1:]))]
    return {"motley": "plan", "version": 1, "micro_batch_size": 16, "micro_batches": 4, "schedule": "1f1b",
            "stages": stages}


def dnn_graph():
    node = {"supportedOnFpga": 1, "cpuLatency": 9.0, "fpgaLatency": 1.0, "isBackwardNode": 0, "size": 10.0}
    return {"maxFPGAs": 2, "maxSizePerFPGA": 100.0, "maxCPUs": 1,
            "nodes": [dict(node, id=number, name=f"n{number}", colorClass=number) for number in range(3)],
            "edges": [{"sourceId": 0, "destId": 1, "cost": 0.5}, {"sourceId": 1, "destId": 2, "cost": 0.5}]}


def sailor_plan():
    replica = [[["V100", 4, "zone"]], 4]
    return {"pipeline_list": [{"layers_per_stage": [[0, 1], [2, 3]], "tmp_per_stage": [[replica], [replica]]}],
            "mbs": 1, "gbs": 4}


def safetensors(tensors):
    """The bytes of a file with these tensors, name to (type, shape, bytes)."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def outcomes(query_id=(70, 71, 72, 73), split=(0, 0, 1, 2), correct=(1, 0, 0, 1, 1, 1, 0, 0)):
    """Four queries, two LLMs."""
    queries = len(query_id)
    return safetensors({"correct": ("U8", [queries, 2], bytes(correct)),
                        "answered": ("U8", [queries, 2], bytes([1] * 2 * queries)),
                        "output_chars": ("U16", [queries, 2], struct.pack(f"<{2 * queries}H", *[100] * 2 * queries)),
                        "input_chars": ("I32", [queries], struct.pack(f"<{queries}i", *[50] * queries)),
                        "category": ("U8", [queries], bytes(queries)),
                        "query_id": ("I32", [queries], struct.pack(f"<{queries}i", *query_id)),
                        "split": ("U8", [queries], bytes(split))})


def embeddings(first=0.5):
    return safetensors({"embeddings": ("F16", [4, 3], struct.pack("<12e", first, *[0.5] * 11))})


def write_routing_data(folder):
    folder.mkdir()
    (folder / "models.csv").write_text(PRICES)
    (folder / "meta.json").write_text(json.dumps({"models": ["small", "large"], "categories": ["all"]}))
    (folder / "embeddings.safetensors").write_bytes(embeddings())
    (folder / "outcomes.safetensors").write_bytes(outcomes())


def write_all(folder):
    """One of each."""
    (folder / "job.toml").write_text(CONFIG)
    (folder / "profile.json").write_text(json.dumps(profile(), indent=1))
    (folder / "plan.json").write_text(json.dumps(plan(), indent=1))
    (folder / "schedule.csv").write_text(SCHEDULE)
    (folder / "graph.txt").write_text(GRAPH)
    (folder / "graph.json").write_text(json.dumps(dnn_graph()))
    (folder / "sailor.json").write_text(json.dumps(sailor_plan()))
    (folder / "weights.safetensors").write_bytes(embeddings())
    write_routing_data(folder / "data")
