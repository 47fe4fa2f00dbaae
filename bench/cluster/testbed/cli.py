"""scripts/testbed: a mixed cluster on one machine, in network namespaces with links and CPU shares of their own.

  scripts/testbed up configs/testbeds/mixed4.toml     make it, measure it, print what it reaches
  scripts/testbed exec fast -- ip address             run a program on one of its hosts
  scripts/testbed mpirun build/motley profile x.toml  run a program on all of them, a rank a host
  scripts/testbed status                              hosts, links, what runs there
  scripts/testbed measure                             measure it again
  scripts/testbed down                                end all that runs there and remove it
  scripts/testbed check                               what this machine lacks for a test bed

Needs root on Linux. Exit codes: 0 done, 1 something failed, 2 the input was wrong, 77 this machine lacks something; exec and
mpirun return their program's own.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from . import bed, kernel
from .config import read_config
from .errors import Failed, Lacking, Wrong
from .measure import in_words, measure


def command_up(arguments):
    config = read_config(arguments.config)

    def is_up(state):
        tell(f"bed {config.name} is up: {', '.join(f'{host.name} {host.address}' for host in config.hosts)}")
        if not arguments.no_measure:
            report(state, arguments)

    bed.up(config, arguments.first, is_up)
    return 0


def report(state, arguments):
    result = measure(state, tell=lambda phase: tell(f"measuring {phase}"))
    text = json.dumps(result, indent=1)
    (state.folder / "measured.json").write_text(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n")
    print(text if arguments.json else in_words(result), end="", flush=True)


def command_measure(arguments):
    report(bed.ready(bed.find(arguments.bed)), arguments)
    return 0


def command_exec(arguments):
    state = bed.ready(bed.find(arguments.bed))
    bed.enter(state, state.config().host(arguments.host), command_of(arguments, "exec"))


def command_mpirun(arguments):
    state = bed.ready(bed.find(arguments.bed))
    config = state.config()
    names = arguments.hosts.split(",") if arguments.hosts else [host.name for host in config.hosts]
    hosts = [config.host(name) for name in names]
    command = ["mpirun", "--host", ",".join(f"{host.address}:1" for host in hosts), *command_of(arguments, "mpirun")]
    bed.enter(state, hosts[0], command)


def command_agent(arguments):
    """What mpirun calls instead of ssh: the words after the address are one shell command."""
    state = bed.ready(bed.find(arguments.name))
    for host in state.config().hosts:
        if host.address == arguments.address:
            bed.enter(state, host, ["sh", "-c", " ".join(arguments.command)])
    raise Wrong(f"bed {state.name}: found address {arguments.address}, expected one of its hosts'")


def command_down(arguments):
    name = arguments.name or arguments.bed
    if name is None and not bed.beds():
        tell("nothing is up")
        return 0
    name = bed.only(name)
    with bed.lock():
        bed.down(bed.State.read(name))
    tell(f"bed {name} is gone")
    return 0


def command_status(arguments):
    if arguments.bed is None and not bed.beds():
        print("no test bed is up")
        return 0
    for state in [bed.State.read(arguments.bed)] if arguments.bed else [bed.State.read(name) for name in bed.beds()]:
        print(status_of(state), end="")
    return 0


def status_of(state):
    if not state.values["ready"]:
        return (f"bed {state.name}: not complete, left behind by an `up` that was ended or still is at work; "
                f"scripts/testbed down {state.name} removes it\n")
    config = state.config()
    limits = kernel.find_cgroups()
    lines = [f"bed {state.name} is up ({state.values['version']})",
             f"  {'host':<16}{'address':<14}{'speed':>6}{'cores':>8}{'processes':>11}{'CPU used':>12}{'held back':>12}"]
    for host in config.hosts:
        running = bed.processes(Path(state.values["join"][host.name][0]).parent)
        used = limits.used_us(state.name, host.name)
        lines.append(f"  {host.name:<16}{host.address:<14}{host.speed:>6.2f}{','.join(map(str, host.cores)):>8}"
                     f"{len(running):>11}{'?' if used is None else f'{used * 1e-6:.1f} s':>12}"
                     f"{limits.throttled_us(state.name, host.name) * 1e-6:>10.1f} s")
    rates = sorted(set(config.mbit.values()))
    for rate in rates:
        pairs = [f"{a} -> {b}" for (a, b), asked in config.mbit.items() if asked == rate]
        lines.append(f"  {f'{rate:g} Mbit/s' if rate else 'links as they are'}: "
                     + ("all links" if len(rates) == 1 else ", ".join(pairs)))
    return "\n".join(lines) + "\n"


def command_check(arguments):
    limits, missing = kernel.findings()
    for line in missing:
        print(f"missing: {line}")
    if limits is not None and not missing:
        print(f"this machine can carry a test bed: {len(kernel.usable_cores())} cores, {limits.describe()}")
    return 77 if missing else 0


def command_of(arguments, name):
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise Wrong(f"testbed {name}: a program is missing")
    return command


def tell(text):
    print(f"testbed: {text}", file=sys.stderr, flush=True)


def parser():
    top = argparse.ArgumentParser(prog="testbed", description=__doc__, allow_abbrev=False,
                                  formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--bed", help="which one, where several are up")
    commands = top.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")

    def add(name, function, text):
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(run=function)
        return one

    up = add("up", command_up, "make a bed and measure it")
    up.add_argument("config", type=Path, help="TOML, see configs/testbeds")
    up.add_argument("--first", action="store_true", help="its hosts get their shares before all else that runs here")
    up.add_argument("--no-measure", action="store_true", help="do not measure it")
    again = add("measure", command_measure, "measure a bed that is up")
    for one in (up, again):
        one.add_argument("--json", action="store_true", help="print JSON")
        one.add_argument("--out", type=Path, help="file for the JSON")
    execute = add("exec", command_exec, "run a program on a host")
    execute.add_argument("host")
    execute.add_argument("command", nargs=argparse.REMAINDER)
    mpirun = add("mpirun", command_mpirun, "run a program on all hosts under mpirun: [--hosts A,B] [-- MPIRUN-OPTION...] PROGRAM...")
    mpirun.add_argument("--hosts", help="which hosts, in the order of ranks: a,b,c")
    mpirun.add_argument("command", nargs=argparse.REMAINDER)
    agent = add("agent", command_agent, "for mpirun")
    agent.add_argument("name")
    agent.add_argument("address")
    agent.add_argument("command", nargs=argparse.REMAINDER)
    down = add("down", command_down, "remove a bed, whatever state it is in")
    down.add_argument("name", nargs="?")
    add("status", command_status, "what is up")
    add("check", command_check, "what this machine lacks for a test bed")
    return top


def main(words=None):
    arguments = parser().parse_args(words)
    # Ended from outside, `up` removes what it made as it does after Ctrl-C.
    for one in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, lambda number, _: sys.exit(128 + number))
    try:
        return arguments.run(arguments)
    except Wrong as error:
        tell(str(error))
        return 2
    except Lacking as error:
        tell(f"this machine cannot carry a test bed: {error}")
        return 77
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        tell(str(error))
        return 1
    except KeyboardInterrupt:
        tell("interrupted")
        return 130
