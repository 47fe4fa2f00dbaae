"""What a test bed is asked to be: the TOML files of configs/testbeds."""

import re
import tomllib
from dataclasses import dataclass

from .errors import Wrong

# A host's name is its neighbours' name for the interface that leads to it: 15 bytes at most for the kernel.
NAME = re.compile(r"[a-z][a-z0-9-]{0,13}[a-z0-9]|[a-z]")
BED_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}[a-z0-9]|[a-z]")
MOST_HOSTS = 64


@dataclass(frozen=True)
class Host:
    name: str
    speed: float  # share of one core
    address: str
    zone: str | None = None
    cores: tuple[int, ...] | None = None  # as asked; None: chosen on `up`


@dataclass(frozen=True)
class BedConfig:
    name: str
    hosts: tuple[Host, ...]
    mbit: dict  # (from, to) -> Mbit/s, 0: not shaped; every ordered pair
    period_us: int

    def host(self, name):
        for host in self.hosts:
            if host.name == name:
                return host
        raise Wrong(f"bed {self.name}: found host \"{name}\", expected one of {', '.join(h.name for h in self.hosts)}")


class Table:
    """Reads the keys of one TOML table; says by name what is missing, of a wrong kind, or left over."""

    KINDS = {str: "a string", float: "a number", int: "a whole number", list: "a list"}

    def __init__(self, values, source, where):
        if not isinstance(values, dict):
            raise Wrong(f"{source}: {where}: found {values!r}, expected a table")
        self.values, self.source, self.where, self.known = dict(values), source, where, []

    def wrong(self, key, expected):
        path = f"{self.where}.{key}" if self.where else key
        return Wrong(f"{self.source}: {path}: found {self.values.get(key)!r}, expected {expected}")

    def take(self, key, kind, default=None, least=None, most=None, pattern=None):
        self.known.append(key)
        if key not in self.values:
            if default is None:
                raise Wrong(f"{self.source}: {self.where + '.' if self.where else ''}{key} is missing, "
                            f"expected {self.KINDS[kind]}")
            return default
        value = self.values[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.wrong(key, self.KINDS[kind])
        if (least is not None and not value >= least) or (most is not None and not value <= most):
            raise self.wrong(key, f"{least:g} to {most:g}")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.wrong(key, "small letters, digits and dashes, a letter first, at most "
                                  f"{15 if pattern is NAME else 31}")
        return value

    def has(self, key):
        return key in self.values

    def finish(self):
        for key in self.values:
            if key not in self.known:
                path = f"{self.where}.{key}" if self.where else key
                raise Wrong(f"{self.source}: unknown key {path}, expected one of {', '.join(sorted(self.known))}")


def read_hosts(entries, source):
    hosts = []
    for i, entry in enumerate(entries):
        table = Table(entry, source, f"hosts[{i}]")
        name = table.take("name", str, pattern=NAME)
        count = table.take("count", int, default=0, least=1, most=MOST_HOSTS)
        speed = table.take("speed", float, least=0.01, most=1.0)
        zone = table.take("zone", str, default="", pattern=NAME) or None
        cores = table.take("cores", list, default=[])
        if not all(isinstance(core, int) and not isinstance(core, bool) and core >= 0 for core in cores):
            raise table.wrong("cores", "numbers of cores")
        table.finish()
        for one in [f"{name}{k}" for k in range(count)] if count else [name]:
            if any(host.name == one for host in hosts):
                raise Wrong(f"{source}: hosts[{i}].name: found \"{one}\" again, expected names that differ")
            if not NAME.fullmatch(one):
                raise Wrong(f"{source}: hosts[{i}].name: found \"{one}\", expected at most 15 letters with its number")
            hosts.append(Host(one, speed, f"10.77.0.{len(hosts) + 1}", zone, tuple(cores) or None))
    if not 1 <= len(hosts) <= MOST_HOSTS:
        raise Wrong(f"{source}: hosts: found {len(hosts)}, expected 1 to {MOST_HOSTS}")
    zones = {host.zone for host in hosts}
    for host in hosts:
        if host.name in zones:
            raise Wrong(f"{source}: hosts: \"{host.name}\" is a host and a zone, expected names that differ")
    return tuple(hosts)


def read_links(entries, hosts, mbit, source):
    """Rates of all ordered pairs: `mbit`, overruled by `entries` in their order."""
    def members(table, key, name):
        found = [host.name for host in hosts if name in (host.name, host.zone)]
        if not found:
            known = [host.name for host in hosts] + sorted({host.zone for host in hosts if host.zone})
            raise Wrong(f"{source}: {table.where}.{key}: found \"{name}\", expected a host or a zone: {', '.join(known)}")
        return found

    rates = {(a.name, b.name): mbit for a in hosts for b in hosts if a is not b}
    for i, entry in enumerate(entries):
        table = Table(entry, source, f"links[{i}]")
        rate = table.take("mbit", float, least=0, most=1e5)
        if table.has("between"):
            ends = table.take("between", list)
            if len(ends) != 2 or not all(isinstance(end, str) for end in ends):
                raise table.wrong("between", "two hosts or zones")
            one, other = (members(table, "between", end) for end in ends)
            pairs = [(a, b) for a in one for b in other] + [(b, a) for a in one for b in other]
        else:
            sources = members(table, "from", table.take("from", str))
            targets = members(table, "to", table.take("to", str))
            pairs = [(a, b) for a in sources for b in targets]
        table.finish()
        rates.update({pair: rate for pair in pairs if pair[0] != pair[1]})
    return rates


def parse_config(text, source):
    """Throws Wrong naming `source`, the field, what was found and what was expected."""
    try:
        root = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Wrong(f"{source}: not valid TOML: {error}") from None
    table = Table(root, source, "")
    name = table.take("name", str, pattern=BED_NAME)
    mbit = table.take("mbit", float, default=0.0, least=0, most=1e5)
    period_ms = table.take("period_ms", float, default=10.0, least=1, most=1000)
    hosts = read_hosts(table.take("hosts", list), source)
    links = read_links(table.take("links", list, default=[]), hosts, mbit, source)
    table.finish()
    return BedConfig(name, hosts, links, round(period_ms * 1000))


def read_config(file):
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse_config(text, str(file))


def place(hosts, cores):
    """Cores of each host, by name: hosts that have a core to themselves first, then the fullest fit.

    A host is pinned to one core where all hosts fit that way, each core lent at most once over; else those that have no
    core of their own share the cores that are left. Throws Wrong where the machine has too few.
    """
    for host in hosts:
        for core in host.cores or ():
            if core not in cores:
                raise Wrong(f"host {host.name}: found core {core}, expected one of {', '.join(map(str, cores))}")
    placed = {host.name: tuple(host.cores) for host in hosts if host.cores}
    free = {core: 1.0 for core in cores}
    for host in hosts:
        if host.cores:
            for core in host.cores:
                free[core] -= host.speed / len(host.cores)
    asked, offered = sum(host.speed for host in hosts), len(cores)
    if asked > offered + 1e-9:
        raise Wrong(f"the hosts ask for {asked:g} cores, this machine offers {offered}: lower their speeds")
    rest = sorted((host for host in hosts if not host.cores), key=lambda host: -host.speed)
    pinned, room = dict(placed), dict(free)
    for host in rest:
        core = max(room, key=lambda c: (room[c], -c))
        if room[core] < host.speed - 1e-9:
            break
        room[core] -= host.speed
        pinned[host.name] = (core,)
    else:
        return pinned
    whole = [host for host in rest if host.speed > 1 - 1e-9]
    for host in whole:
        core = max(free, key=lambda c: (free[c], -c))
        free[core] -= host.speed
        placed[host.name] = (core,)
    shared = tuple(core for core in cores if free[core] > 1e-9)
    for host in rest:
        placed.setdefault(host.name, shared)
    return placed
