"""Every bad input of the table: how to make it, the command that meets it, the exit code it must end with."""

import json
import os
import signal
from dataclasses import dataclass, field
from typing import Callable

import files
from jobs import wait_until


@dataclass
class Case:
    what: str
    command: str  # as a person would type it; "motley" is the program under test, "on N:" means under mpirun
    spoil: Callable = lambda folder: None  # changes the folder of sound files before
    code: int = 2
    harm: Callable = None  # what happens to the job while it runs
    disk: str = ""  # "full" or "read-only": run/ is such a file system
    varies: list = field(default_factory=list)  # patterns whose match is not the same every time
    trained: bool = False  # run/ is the folder of a run that ended
    result: bool = False  # said on stdout, as a result: it is none of the input's faults
    after: str = ""  # a command that must go well afterwards, "run" being "kept" where run/ is a disk of its own


def edit(name, change):
    """Changes the JSON of a file: `change` is handed its value and alters it."""
    def spoil(folder):
        value = json.loads((folder / name).read_text())
        change(value)
        (folder / name).write_text(json.dumps(value))
    return spoil


def write(name, content):
    def spoil(folder):
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).write_text(content)
    return spoil


def replace(name, old, new):
    def spoil(folder):
        text = (folder / name).read_text()
        assert old in text, f"{name} has no {old}"
        (folder / name).write_text(text.replace(old, new, 1))
    return spoil


def cut(name, size):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def flip(name, offset):
    def spoil(folder):
        content = bytearray((folder / name).read_bytes())
        content[offset] ^= 1
        (folder / name).write_bytes(bytes(content))
    return spoil


def times_of(value):
    return value["model"]["devices"]["cpu"]["alone"]["by_size"][0][2]


PLAN = "motley plan --profile profile.json --batch 64"
SIMULATE = "motley simulate --profile profile.json --plan plan.json"
TRAIN = "on 2: motley train job.toml --plan plan.json --quiet"
RESUME = TRAIN + " --resume run/checkpoints"
GO_ON = RESUME + " --set train.steps=9 --allow-changes"
STEP = "run/checkpoints/step-000004/"

COMMAND_LINE = [
    Case("a command that does not exist", "motley trian job.toml"),
    Case("an option that does not exist", "motley plan --profil profile.json --batch 64"),
    Case("a required option left out", "motley plan --batch 64"),
    Case("an option without its value", "motley plan --profile profile.json --batch"),
    Case("text where a number belongs", "motley plan --profile profile.json --batch many"),
    Case("a planner that does not exist", PLAN + " --planner exakt"),
    Case("a kind of import that does not exist", "motley import pipdream graph.txt"),
    Case("an objective that does not exist", PLAN + " --objective botleneck"),
    Case("a feature that does not exist", PLAN + " --allow replica"),
    Case("a schedule that does not exist", SIMULATE + " --schedule 1f1c"),
    Case("a schedule that cannot be searched", PLAN + " --schedule listed"),
    Case("a schedule that cannot be made", "motley schedule 1f1c --stages 2 --micro-batches 4"),
    Case("a form of schedule that does not exist", "motley schedule 1f1b --stages 2 --micro-batches 4 --to lower"),
    Case("more micro-batches than a number holds", "motley schedule 1f1b --stages 4 --micro-batches 2147483648"),
    Case("a schedule that no memory holds", "motley schedule 1f1b --stages 100000 --micro-batches 1000000000"),
    Case("a benchmark that no memory holds", "motley bench planner --layers 1000000000 --devices 8 --types 2 --hosts 2"),
    Case("a benchmark that does not exist", "motley bench plan"),
    Case("a shell without completion", "motley completion fish"),
]
CONFIGS = [
    Case("a configuration that does not exist", "motley run nowhere.toml"),
    Case("a folder in its place", "motley run data"),
    Case("text that is not TOML", "motley run job.toml", write("job.toml", "[train\nsteps = 4\n")),
    Case("a key that does not exist", "motley run job.toml", replace("job.toml", "steps = 4", "stepps = 4")),
    Case("a value of another type", "motley run job.toml", replace("job.toml", "steps = 4", 'steps = "four"')),
    Case("a number out of range", "motley run job.toml --set train.steps=-1"),
    Case("a number that is none", "motley run job.toml --set train.learning_rate=nan"),
    Case("an infinite number", "motley run job.toml --set train.learning_rate=inf"),
    Case("a workload that does not exist", "motley run job.toml --set workload=roter"),
    Case("a planner that does not exist", "motley run job.toml --set plan.planner=exakt"),
    Case("no micro-batch sizes", "motley run job.toml --set profile.micro_batch_sizes=[]"),
    Case("an override without a value", "motley run job.toml --set train.steps"),
    Case("speeds for another number of ranks", "motley run job.toml --set devices.speeds=[1.0]"),
]
PROFILES = [
    Case("a profile that does not exist", "motley plan --profile nowhere.json --batch 64"),
    Case("a profile cut off", PLAN, cut("profile.json", 1000)),
    Case("an empty file", PLAN, cut("profile.json", 0)),
    Case("a version of the future", PLAN, edit("profile.json", lambda v: v.update(version=2))),
    Case("another kind of file", "motley plan --profile plan.json --batch 64"),
    Case("a field that is missing", PLAN, edit("profile.json", lambda v: v["model"].pop("layers"))),
    Case("a field that does not exist", PLAN, edit("profile.json", lambda v: v["model"].update(colour=1))),
    Case("NaN as a time", PLAN, edit("profile.json", lambda v: times_of(v).update(forward_s=float("nan")))),
    Case("null as a time", PLAN, edit("profile.json", lambda v: times_of(v).update(forward_s=None))),
    Case("a negative time", PLAN, edit("profile.json", lambda v: times_of(v).update(forward_s=-0.001))),
    Case("an infinite time", PLAN, replace("profile.json", '"forward_s": 0.001', '"forward_s": 1e999')),
    Case("a time that is not of this world", PLAN, edit("profile.json", lambda v: times_of(v).update(forward_s=1e300))),
    Case("a layer that takes no time", PLAN, edit("profile.json", lambda v: times_of(v).update(forward_s=0.0))),
    Case("bytes whose sum overflows", PLAN,
         edit("profile.json", lambda v: v["model"]["layers"][1].update(parameter_bytes=9 * 10**18))),
    Case("no layers", PLAN, edit("profile.json", lambda v: v["model"].update(layers=[]))),
    Case("no devices", PLAN, edit("profile.json", lambda v: v["cluster"].update(devices=[]))),
    Case("a device that stands there twice", PLAN,
         edit("profile.json", lambda v: v["cluster"]["devices"][1].update(name="rank0"))),
    Case("a device of an unmeasured type", PLAN,
         edit("profile.json", lambda v: v["cluster"]["devices"][1].update(type="gpu"))),
    Case("a link that was not measured", PLAN, edit("profile.json", lambda v: v["cluster"]["links"][0].__setitem__(1, []))),
    Case("times for fewer layers", PLAN,
         edit("profile.json", lambda v: v["model"]["devices"]["cpu"]["alone"]["by_size"][0].pop())),
    Case("a batch that no micro-batch size divides", "motley plan --profile profile.json --batch 70"),
    Case("a batch that no machine trains", "motley plan --profile profile.json --batch 9223372036854775807"),
    Case("an empty batch", "motley plan --profile profile.json --batch 0"),
    Case("a model that fits in no memory", PLAN,
         edit("profile.json", lambda v: [d.update(memory_bytes=1000) for d in v["cluster"]["devices"]]), result=True),
]
PLANS = [
    Case("a plan cut off", SIMULATE, cut("plan.json", 200)),
    Case("a version of the future", SIMULATE, edit("plan.json", lambda v: v.update(version=2))),
    Case("more stages than layers", SIMULATE,
         edit("plan.json", lambda v: v.update(files.plan(tuple(range(8)))))),
    Case("a stage without layers", SIMULATE, edit("plan.json", lambda v: v["stages"][0].update(layers=[0, 0]))),
    Case("a layer that no stage has", SIMULATE, edit("plan.json", lambda v: v["stages"][1].update(layers=[4, 6]))),
    Case("no stages", SIMULATE, edit("plan.json", lambda v: v.update(stages=[]))),
    Case("no micro-batches", SIMULATE, edit("plan.json", lambda v: v.update(micro_batches=0))),
    Case("more micro-batches than anybody simulates", SIMULATE, edit("plan.json", lambda v: v.update(micro_batches=10**9))),
    Case("a device twice", SIMULATE, edit("plan.json", lambda v: v["stages"][1]["replicas"][0].update(device=0))),
    Case("a device that the profile lacks", SIMULATE,
         edit("plan.json", lambda v: v["stages"][1]["replicas"][0].update(device=7))),
    Case("samples that nobody owns", SIMULATE,
         edit("plan.json", lambda v: v["stages"][1]["replicas"][0].update(samples=[0, 9]))),
    Case("a plan for fewer layers", SIMULATE, edit("plan.json", lambda v: v.update(files.plan((0, 2, 5))))),
    Case("a wire format that does not exist", SIMULATE, edit("plan.json", lambda v: v["stages"][0].update(wire="int4"))),
    Case("a schedule that misses an action", SIMULATE + " --schedule schedule.csv",
         write("schedule.csv", "0F0,0B1\n1F0,1B0\n")),
    Case("a schedule of other stages", SIMULATE + " --schedule schedule.csv", write("schedule.csv", "0F0,0B0\n")),
    Case("an action that does not exist", "motley show schedule.csv", write("schedule.csv", "0F0,0X0\n")),
    Case("an empty schedule", "motley show schedule.csv", write("schedule.csv", "")),
]
JOBS = [
    Case("more ranks than the configuration has", "on 3: motley train job.toml --plan plan.json --quiet"),
    Case("fewer ranks than the plan has", "on 1: motley train job.toml --plan plan.json --quiet --set devices.ranks=1"),
    Case("a plan for another batch", TRAIN, edit("plan.json", lambda v: v.update(micro_batches=2))),
    Case("a plan for another model", TRAIN, edit("plan.json", lambda v: v.update(files.plan((0, 3, 9))))),
    Case("a plan for another profile", TRAIN + " --profile profile.json",
         edit("plan.json", lambda v: v.update(profile_fingerprint="0123456789abcdef")), varies=[r"(?<=profile.json is )\w+"]),
    Case("a layer whose output does not fit the next", "on 2: misfit train job.toml --plan plan.json --quiet",
         lambda folder: (replace("job.toml", 'workload = "router"', 'workload = "misfit"')(folder),
                         write("plan.json", json.dumps(files.plan((0, 1, 3))))(folder))),
    Case("a model without a loss", "on 2: misfit train job.toml --plan plan.json --quiet",
         lambda folder: (replace("job.toml", 'workload = "router"', 'workload = "headless"')(folder),
                         write("plan.json", json.dumps(files.plan((0, 1, 2))))(folder))),
    Case("a loss that becomes NaN", TRAIN + " --set train.optimizer=sgd --set train.learning_rate=1000 "
         "--set train.clip_norm=0 --set train.weight_decay=1000 --set train.steps=200 --set checkpoint.every=1", code=1,
         varies=[r"step \d+"], after="show run/checkpoints"),
    Case("mpirun that is not installed", "PATH=/nowhere motley run job.toml", code=1),
]
DATA = "motley config --set workload_options.data=data"
EVALUATE = "motley evaluate run --data data"
ROUTING = [
    Case("a folder that does not exist", "motley config --set workload_options.data=nowhere"),
    Case("a configuration to be shown", "motley show job.toml"),
    Case("a file of another format", "motley show weights.safetensors", write("weights.safetensors", b"GIF89a" * 40)),
    Case("tensors cut off", "motley show weights.safetensors", cut("weights.safetensors", 70)),
    Case("tensors that overlap", "motley show weights.safetensors",
         write("weights.safetensors", files.safetensors({"a": ("U8", [2], b"xx"), "b": ("U8", [2], b"yy")})
               .replace(b"[2, 4]", b"[1, 3]"))),
    Case("an embedding that is not finite", DATA,
         lambda folder: write("data/embeddings.safetensors", files.embeddings(float("nan")))(folder)),
    Case("a query that stands twice", DATA, write("data/outcomes.safetensors", files.outcomes(query_id=(70, 70, 72, 73)))),
    Case("a query to train and to test with", DATA,
         write("data/outcomes.safetensors", files.outcomes(query_id=(70, 71, 72, 71)))),
    Case("a split without queries", DATA, write("data/outcomes.safetensors", files.outcomes(split=(0, 0, 1, 1)))),
    Case("an answer that is neither right nor wrong", DATA,
         write("data/outcomes.safetensors", files.outcomes(correct=(1, 0, 0, 1, 1, 2, 0, 0)))),
    Case("outcomes of a model without a price", EVALUATE, replace("data/models.csv", "large,", "huge,")),
    Case("a price that is no number", EVALUATE, replace("data/models.csv", "0.9,0.9", "cheap,0.9")),
    Case("a run that was not trained", EVALUATE),
]
IMPORTS = [
    Case("a PipeDream graph without figures", "motley import pipedream graph.txt",
         write("graph.txt", "node1 -- Linear\n")),
    Case("an edge to a node that does not exist", "motley import pipedream graph.txt",
         replace("graph.txt", "node1 -- node2", "node1 -- node9")),
    Case("a node that stands twice", "motley import pipedream graph.txt", replace("graph.txt", "node2 -- L", "node1 -- L")),
    Case("a graph in two pieces", "motley import pipedream graph.txt", replace("graph.txt", "\tnode1 -- node2\n", "")),
    Case("a negative time", "motley import pipedream graph.txt", replace("graph.txt", "_time=1.0", "_time=-1.0")),
    Case("a graph that takes no time", "motley import pipedream graph.txt",
         write("graph.txt", files.GRAPH.replace("_time=1.0", "_time=0").replace("_time=2.0", "_time=0"))),
    Case("a node of dnn-partitioning's that stands twice", "motley import dnn-partitioning graph.json",
         edit("graph.json", lambda v: v["nodes"][1].update(id=0))),
    Case("a node of dnn-partitioning's beyond all memory", "motley import dnn-partitioning graph.json",
         edit("graph.json", lambda v: v["nodes"][1].update(size=1e30))),
    Case("an edge of dnn-partitioning's to nowhere", "motley import dnn-partitioning graph.json",
         edit("graph.json", lambda v: v["edges"][0].update(destId=9))),
    Case("a graph with a cycle", "motley import dnn-partitioning graph.json",
         edit("graph.json", lambda v: v["edges"].append({"sourceId": 2, "destId": 0, "cost": 0.5}))),
    Case("Sailor's layers with a gap", "motley import sailor data --plan sailor.json",
         edit("sailor.json", lambda v: v["pipeline_list"][0].update(layers_per_stage=[[0, 1], [3]]))),
    Case("Sailor's plan without its tables", "motley import sailor data --plan sailor.json"),
]
# The weights, and so their checksums, are those of a CPU's vector instructions.
WEIGHTS = [r"(?<=checksum )\w+", r"(?<=says 3280 with )\w+"]
CHECKPOINTS = [
    Case("no checkpoint to go on from", RESUME),
    Case("one bit of a layer flipped", GO_ON, flip(STEP + "layer-002.safetensors", 400), trained=True, varies=WEIGHTS),
    Case("a layer cut off", GO_ON, cut(STEP + "layer-002.safetensors", 400), trained=True, varies=WEIGHTS),
    Case("a layer's file removed", GO_ON, lambda folder: (folder / STEP / "layer-002.safetensors").unlink(),
         trained=True),
    Case("one bit of the manifest flipped", RESUME, flip(STEP + "manifest.json", 40), trained=True),
    Case("the manifest cut off", RESUME, cut(STEP + "manifest.json", 100), trained=True),
    Case("other settings than before", RESUME + " --set train.steps=9 --set train.seed=5", trained=True),
    Case("nothing left to do", RESUME, trained=True),
    Case("a fresh run over checkpoints of another", TRAIN, trained=True),
]
DISKS = [
    Case("a full disk while a checkpoint is saved", TRAIN + " --set workload_options.width=64 --no-evaluation", code=1,
         disk="full", varies=[r"(?<=step-000004/)\S+(?=: cannot)"], after="show kept/checkpoints/step-000002"),
    Case("a read-only folder for the run", TRAIN, code=1, disk="read-only"),
    Case("a read-only folder for a report", "motley report run", code=1, disk="read-only", trained=True),
    Case("a read-only folder for a plan", PLAN + " --out run/plan.json", code=1, disk="read-only"),
]


def kill(rank, number):
    """Harms `rank` once training has saved a checkpoint."""
    def harm(job, folder):
        pid = job.pid_of(rank)
        assert wait_until(lambda: list(folder.glob("run/checkpoints/step-*/manifest.json")), 60), "no checkpoint"
        os.kill(pid, number)
    return harm


LONG = TRAIN + " --set train.steps=1000000 --set checkpoint.every=20"
SIGNALS = [Case(f"{signal.Signals(number).name} to rank {rank}", LONG + " --set comm.deadline_s=5", code=137 if number == signal.SIGKILL else 1,
                after="show run/checkpoints", harm=kill(rank, number), varies=[r"(?<=last seen )in .*", r"(?<=silent for )[\d.]+"])
           for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGSTOP) for rank in (0, 1)]

SECTIONS = [("Command line", COMMAND_LINE), ("Configurations", CONFIGS), ("Profiles", PROFILES),
            ("Plans and schedules", PLANS), ("Jobs", JOBS), ("Routing data and tensors", ROUTING),
            ("Files of other planners", IMPORTS), ("Checkpoints", CHECKPOINTS), ("Disks", DISKS),
            ("Signals while training", SIGNALS)]
