"""Runs on a host of the bed and measures it; told what to do by lines of JSON, answers each with one.

{"work": seconds, "at": time} -> {"units", "cpu_s", "wall_s"}: how many blocks were hashed.
{"bursts": count, "units": blocks of each, "pause": seconds before each} -> {"wall_s": [...]}
{"listen": true} -> {"port"}: for links that end here.
{"stream": {"to": [[address, port], ...], "from": number of links}, "at": time, "seconds": s} -> {"bytes": [...]}: what came in
over each link between `at` + a quarter of `s` and `at` + `s`, by the index that its sender gives.
Times are of CLOCK_MONOTONIC, which all hosts of a machine share.
"""

import hashlib
import json
import selectors
import socket
import sys
import time

BLOCK = b"\x5a" * 65536
PATIENCE_S = 20.0


def work(seconds, at):
    """Hashes for `seconds` from `at`."""
    time.sleep(max(0.0, at - time.monotonic()))
    start, cpu, units = time.monotonic(), time.thread_time(), 0
    while (now := time.monotonic()) < start + seconds:
        hashlib.sha256(BLOCK).digest()
        units += 1
    return {"units": units, "cpu_s": time.thread_time() - cpu, "wall_s": now - start}


def bursts(count, units, pause):
    """Wall time of `units` blocks, after a pause, again and again."""
    walls = []
    for _ in range(count):
        time.sleep(pause)
        start = time.monotonic()
        for _ in range(units):
            hashlib.sha256(BLOCK).digest()
        walls.append(time.monotonic() - start)
    return {"wall_s": walls}


def listen():
    listener = socket.create_server(("", 0), backlog=128)
    listener.setblocking(False)
    return listener


def stream(listener, targets, expected, me, at, seconds):
    """Sends to all `targets` and receives from `expected` others at once. Bytes by sender, within the counted window."""
    loop = selectors.DefaultSelector()
    senders, received = [], {}
    for address, port in targets:
        connection = socket.create_connection((address, port), timeout=PATIENCE_S)
        connection.sendall(bytes([me]))
        connection.setblocking(False)
        senders.append(connection)
    loop.register(listener, selectors.EVENT_READ, "arrival")
    opened = time.monotonic()
    while len(received) < expected:
        if time.monotonic() > opened + PATIENCE_S:
            raise TimeoutError(f"{len(received)} of {expected} links came up")
        for _ in loop.select(0.1):
            connection, _ = listener.accept()
            connection.settimeout(PATIENCE_S)
            (index,) = connection.recv(1)
            connection.setblocking(False)
            received[index] = 0
            loop.register(connection, selectors.EVENT_READ, index)
    loop.unregister(listener)
    time.sleep(max(0.0, at - time.monotonic()))
    for connection in senders:
        loop.register(connection, selectors.EVENT_WRITE, "sender")
    scratch, begin, end = bytearray(1 << 18), at + seconds / 4, at + seconds
    while (now := time.monotonic()) < end:
        for key, _ in loop.select(end - now):
            try:
                if key.data == "sender":
                    key.fileobj.send(BLOCK)
                    continue
                count = key.fileobj.recv_into(scratch)
            except BlockingIOError:
                continue
            except ConnectionError:
                count = 0
            if count == 0:  # the other end's clock struck first
                loop.unregister(key.fileobj)
            elif time.monotonic() >= begin:
                received[key.data] += count
    for key in list(loop.get_map().values()):
        key.fileobj.close()
    for connection in senders:
        connection.close()
    return {"bytes": received, "seconds": end - begin}


def main():
    listener = None
    for line in sys.stdin:
        order = json.loads(line)
        if "work" in order:
            answer = work(order["work"], order["at"])
        elif "bursts" in order:
            answer = bursts(order["bursts"], order["units"], order["pause"])
        elif "listen" in order:
            listener = listener or listen()
            answer = {"port": listener.getsockname()[1]}
        else:
            what = order["stream"]
            answer = stream(listener, what["to"], what["from"], what["me"], order["at"], order["seconds"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
