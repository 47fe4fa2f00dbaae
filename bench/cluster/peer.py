#!/usr/bin/env python3
"""One rank of the transformer of `csrc/workloads/transformer.h` under torch.distributed.pipelining, on a CPU over gloo.

Started under mpirun, rank r on the host of stage r. Weights and samples are those of `motley export`, so that its losses are
Motley's; optimiser is plain SGD. Each `--run SCHEDULE:MICRO_BATCHES` starts from the exported weights; after the first, which is
that of `--warm-up` steps, come `--steps` that count. Rank 0 writes a line of JSON to `--out` after each step and a summary at the
end of each run. `scripts/setup --peer` installs PyTorch where this finds it.

  mpirun -n 2 peer.py --export run/export --layers 3,3 --heads 4 --rate 0.1 --run 1f1b:8 --run gpipe:16 --out peer.jsonl
"""

import argparse
import json
import os
import resource
import struct
import sys
import time
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The wheel's CUDA libraries are empty here (scripts/setup): what is never called must not be bound.
sys.setdlopenflags(os.RTLD_LAZY)
sys.path.insert(0, str(ROOT / ".deps" / "peer"))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch.distributed import pipelining  # noqa: E402

SCHEDULES = {
    "1f1b": pipelining.Schedule1F1B,
    "gpipe": pipelining.ScheduleGPipe,
    "zero-bubble": pipelining.ScheduleInterleavedZeroBubble,
}
TYPES = {"F32": torch.float32, "I64": torch.int64}


def read_safetensors(file):
    """Tensors by name: eight bytes of header length, a JSON header, then the tensors' bytes (little-endian)."""
    raw = bytearray(file.read_bytes())
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        part = raw[8 + length + begin : 8 + length + end]
        tensors[name] = torch.frombuffer(part, dtype=TYPES[entry["dtype"]]).reshape(entry["shape"]).clone()
    return tensors


class Layer(torch.nn.Module):
    """Its parameters have Motley's names, with dots as underscores."""

    def __init__(self, weights):
        super().__init__()
        for name, value in weights.items():
            self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(value))


class Embedding(Layer):

    def forward(self, tokens):
        return F.embedding(tokens, self.tokens) + self.positions[: tokens.shape[1]]


class Block(Layer):
    """Attention and MLP, or the one of them that it has weights for."""

    def __init__(self, weights, heads):
        super().__init__(weights)
        self.heads = heads
        self.parts = [part for part, name in ((self.attention, "attention.weight"), (self.mlp, "up.weight")) if name in weights]

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x

    def attention(self, x):
        samples, length, width = x.shape
        normed = F.layer_norm(x, (width,), self.norm1_gain, self.norm1_bias, 1e-5)
        qkv = F.linear(normed, self.attention_weight, self.attention_bias)
        q, k, v = qkv.view(samples, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(samples, length, width)
        return x + F.linear(mixed, self.projection_weight, self.projection_bias)

    def mlp(self, x):
        width = x.shape[-1]
        normed = F.layer_norm(x, (width,), self.norm2_gain, self.norm2_bias, 1e-5)
        up = F.gelu(F.linear(normed, self.up_weight, self.up_bias))
        return x + F.linear(up, self.down_weight, self.down_bias)


class Head(Layer):

    def forward(self, x):
        return F.linear(F.layer_norm(x, x.shape[-1:], self.norm_gain, self.norm_bias, 1e-5), self.weight)


def loss_of(logits, targets):
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def build(folder, first, end, heads):
    """Layers [first, end), and no others."""
    last = len(list(folder.glob("layer-*.safetensors"))) - 1
    layers = []
    for index in range(first, end):
        weights = read_safetensors(folder / f"layer-{index:03d}.safetensors")
        layers.append(Embedding(weights) if index == 0 else Head(weights) if index == last else Block(weights, heads))
    return torch.nn.Sequential(*layers)


class Meter:
    """Wall time and CPU time of what runs within it."""

    def __init__(self):
        self.wall = self.cpu = 0.0

    def around(self, function):
        def timed(*arguments, **named):
            wall, cpu = time.monotonic(), time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                self.wall += time.monotonic() - wall
                self.cpu += time.thread_time() - cpu
        return timed


def process_cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Whole:
    """The model in one process: micro-batches one after another."""

    def __init__(self, module, micro_batches, meter):
        self.module, self.micro_batches, self.meter = module, micro_batches, meter

    def step(self, tokens, targets, losses):
        for x, y in zip(tokens.chunk(self.micro_batches), targets.chunk(self.micro_batches)):
            losses.append(self.meter.around(self.one)(x, y))

    def one(self, x, y):
        loss = loss_of(self.module(x), y)
        (loss / self.micro_batches).backward()
        return loss.detach()


class Pipeline:
    """This rank's stage of it."""

    def __init__(self, module, schedule, micro_batches, samples, sequence, width, vocabulary, meter):
        self.rank, self.ranks = dist.get_rank(), dist.get_world_size()
        size = samples // micro_batches
        hidden = torch.zeros(size, sequence, width)
        given = torch.zeros(size, sequence, dtype=torch.int64) if self.rank == 0 else hidden
        made = torch.zeros(size, sequence, vocabulary) if self.rank == self.ranks - 1 else hidden
        stage = pipelining.PipelineStage(module, self.rank, self.ranks, torch.device("cpu"), input_args=(given,),
                                         output_args=(made,))
        for name in ("forward_one_chunk", "backward_one_chunk", "backward_weight_one_chunk"):
            setattr(stage, name, meter.around(getattr(stage, name)))
        several = issubclass(SCHEDULES[schedule], pipelining.schedules.PipelineScheduleMulti)
        self.schedule = SCHEDULES[schedule]([stage] if several else stage, micro_batches, loss_fn=loss_of)

    def step(self, tokens, targets, losses):
        given = (tokens,) if self.rank == 0 else ()
        wanted = {"target": targets, "losses": losses} if self.rank == self.ranks - 1 else {}
        self.schedule.step(*given, **wanted, return_outputs=False)


def train(arguments, run, out):
    """One run from the exported weights."""
    schedule, micro_batches = run.rsplit(":", 1)
    micro_batches = int(micro_batches)
    rank, ranks = dist.get_rank(), dist.get_world_size()
    first = sum(arguments.layers[:rank])
    module = build(arguments.export / "weights", first, first + arguments.layers[rank], arguments.heads)
    total = arguments.warm_up + arguments.steps
    data = [read_safetensors(arguments.export / f"step-{step:06d}.safetensors") for step in range(total)]
    samples, sequence = data[0]["tokens"].shape
    shapes = read_safetensors(arguments.export / "weights" / "layer-000.safetensors")["tokens"].shape
    meter = Meter()
    if ranks == 1:
        engine = Whole(module, micro_batches, meter)
    else:
        engine = Pipeline(module, schedule, micro_batches, samples, sequence, shapes[1], shapes[0], meter)
    optimizer = torch.optim.SGD(module.parameters(), lr=arguments.rate)
    losses_of_steps, walls = [], []
    dist.barrier()
    begin = time.monotonic()
    for step in range(total):
        if step == arguments.warm_up:
            meter.wall = meter.cpu = 0.0
            cpu_before, counted_from = process_cpu(), time.monotonic()
        losses = []
        engine.step(data[step]["tokens"], data[step]["targets"], losses)
        meter.around(optimizer.step)()
        optimizer.zero_grad()
        walls.append(time.monotonic() - begin)
        begin += walls[-1]
        losses_of_steps.append(sum(loss.item() for loss in losses) / micro_batches if rank == ranks - 1 else 0.0)
        if rank == 0:
            out(kind="step", run=run, step=step, wall_s=walls[-1])
    mine = torch.tensor([meter.wall / arguments.steps, meter.cpu / arguments.steps,
                         (process_cpu() - cpu_before) / arguments.steps,
                         (time.monotonic() - counted_from) / arguments.steps, *losses_of_steps], dtype=torch.float64)
    everyone = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(everyone, mine)
    if rank == 0:
        names = ("busy_s", "busy_cpu_s", "cpu_s", "wall_s")
        out(kind="summary", run=run, samples=samples, iterations_s=walls[arguments.warm_up:],
            losses=everyone[-1][len(names):].tolist(), ranks=[dict(zip(names, each.tolist())) for each in everyone])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="folder that motley export wrote")
    parser.add_argument("--layers", required=True, help="layers of each stage: 4,4,3,3",
                        type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--heads", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="learning rate")
    parser.add_argument("--run", action="append", required=True, help="SCHEDULE:MICRO_BATCHES, may be repeated")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--port", type=int, default=29500)
    arguments = parser.parse_args()
    rank, ranks = int(os.environ.get("OMPI_COMM_WORLD_RANK", 0)), int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1))
    if len(arguments.layers) != ranks:
        parser.error(f"--layers: found {len(arguments.layers)} stages, mpirun started {ranks} ranks")
    unknown = [run for run in arguments.run if run.rsplit(":", 1)[0] not in SCHEDULES]
    if unknown:
        parser.error(f"--run: found {unknown[0]}, expected SCHEDULE:MICRO_BATCHES with one of {', '.join(SCHEDULES)}")
    torch.set_num_threads(1)
    master = os.environ.get("PEER_MASTER", "127.0.0.1")
    dist.init_process_group("gloo", init_method=f"tcp://{master}:{arguments.port}", rank=rank, world_size=ranks,
                            timeout=timedelta(minutes=5))
    file = open(arguments.out, "w") if rank == 0 else None

    def out(**values):
        file.write(json.dumps(values) + "\n")
        file.flush()

    for run in arguments.run:
        train(arguments, run, out)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
