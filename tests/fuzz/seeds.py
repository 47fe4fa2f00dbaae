"""Small sound inputs of each kind for the fuzzers to start from: what the bad-input cases spoil, and a few more."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bad_input"))
import files  # noqa: E402

SEPARATOR = b"\n=====\n"


def text(value):
    return json.dumps(value).encode()


def small_profile():
    """Two layers: the fuzzer's inputs are short."""
    profile = files.profile()
    model = profile["model"]
    model["layers"] = [model["layers"][0], model["layers"][-1]]
    for times in model["devices"]["cpu"].values():
        times["by_size"] = [times["by_size"][0][:2]]
        times["update_s"] = times["update_s"][:2]
    return profile


def rich_plan():
    """Replicas, recomputation, a wire format, a prediction and a certificate."""
    plan = files.plan((0, 1, 2))
    plan["stages"][1].update(replicas=[{"device": 1, "samples": [0, 4]}, {"device": 2, "samples": [4, 16]}], recompute=True)
    plan["stages"][0]["wire"] = "int8"
    plan["prediction"] = {"iteration_s": 0.5, "bubble_share": 0.1, "stage_busy_s": [0.1, 0.2], "edge_time_s": [0.01],
                          "stage_memory_bytes": [100, 200]}
    plan["certificate"] = {"lower_bound_s": 0.4, "gap": 0.2, "space": "1f1b"}
    return plan


def listed_plan():
    plan = files.plan((0, 1, 2))
    plan.update(schedule="listed", micro_batches=2, actions=["0F0,0F1,0B0,0B1", "1F0,1B0,1F1,1B1"])
    return plan


def sailor_tables():
    layers = {str(number): [0.01, 0.02, 0.001] for number in range(4)}
    sizes = {str(number): {"params_floats": 1e6, "act_output_floats": 1e4, "act_mem_floats": 1e5} for number in range(4)}
    curve = [[0.1, 0.5, 1.0], 1e9]
    links = {"zone": {"V100": {count: {"zone": {"V100": {count: curve}}} for count in ("1", "4")}}}
    return [text({"OPT": {"V100": {"1": {"4": layers}}}}), text({"OPT": {"4": sizes}}), text(links)]


def routing_data():
    return SEPARATOR.join([files.PRICES.encode(), text({"models": ["small", "large"], "categories": ["all"]}),
                           files.embeddings(), files.outcomes()])


def all_seeds():
    """Target to name to bytes."""
    values = [1, -1.5e3, True, None, "\u00e9\n", [1, [2, {"a": []}]], {"s": {"t": 1e-9}}]
    graph = {"motley": "model", "version": 1, "name": "g",
             "nodes": [{"name": "a", "group": 0, "backward": False, "compute_s": 0.1, "host_compute_s": 0.0,
                        "memory_bytes": 10, "parameter_bytes": 4, "output_bytes": 4},
                       {"name": "b", "group": 1, "backward": False, "compute_s": 0.1, "host_compute_s": 0.0,
                        "memory_bytes": 10, "parameter_bytes": 4, "output_bytes": 4}],
             "edges": [{"from": 0, "to": 1, "transfer_s": 0.0}]}
    event = {"name": "0F0", "cat": "compute", "ph": "X", "pid": 0, "tid": 0, "ts": 0, "dur": 5}
    names = [{"name": "process_name", "ph": "M", "pid": 0, "args": {"name": "measured"}},
             {"name": "thread_name", "ph": "M", "pid": 0, "tid": 0, "args": {"name": "rank 0"}}]
    return {
        "json": {f"value-{number}": text(value) for number, value in enumerate(values)},
        "config": {"job": files.CONFIG.encode(), "set": files.CONFIG.encode() + SEPARATOR + b"train.steps = 7",
                   "text": b'workload = "x"' + SEPARATOR + b"run_directory=some where"},
        "schedule": {"one-f-one-b": files.SCHEDULE.encode(),
                     "zero-bubble": b"0F0,0F1,0I0,0W0,0I1,0W1\n1F0,1I0,1F1,1I1,1W0,1W1\n",
                     "lowered": b"0F0,0SEND_F0,0RECV_B0,0B0,0NORM,0UPDATE\n1RECV_F0,1F0,1B0,1SEND_B0,1NORM,1UPDATE\n",
                     "replicas": b"0F0,0SEND_F0[0:4]@1,0SEND_F0[4:8]@2\n1RECV_F0[0:4]@0,1F0\n1RECV_F0[4:8]@0,1F0\n",
                     "overlap": b"0F0,,(0F1;0B0)OVERLAP_F_B,0B1,0RECOMPUTE0,0REDUCE_GRAD\n"},
        "safetensors": {"embeddings": files.embeddings(), "outcomes": files.outcomes(),
                        "empty": files.safetensors({"none": ("F32", [0, 3], b"")})},
        "record": {"both": b'{"kind":"run","steps":4}\n{"kind":"step","step":0,"loss":0.5}\n' + SEPARATOR
                           + text({"traceEvents": [*names, event]})},
        "profile": {"small": text(small_profile())},
        "plan": {"two-stages": text(files.plan((0, 1, 2))), "rich": text(rich_plan()), "listed": text(listed_plan()),
                 "interleaved": text({**files.plan((0, 1, 2)), "schedule": "interleaved-1f1b"})},
        "model_graph": {"two": text(graph)},
        "pipedream": {"two": files.GRAPH.encode(),
                      "list": files.GRAPH.replace("activation_size=100", "activation_size=[50; 50]").encode()},
        "dnn_partitioning": {"three": text(files.dnn_graph())},
        "sailor": {"all": SEPARATOR.join([text(files.sailor_plan()), *sailor_tables()])},
        "routing_data": {"all": routing_data()},
    }
