"""A headless Chromium by its DevTools protocol over a pipe: no driver, no port, no package beside the browser."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser():
    """The browser's program, or None. Ubuntu's /usr/bin/chromium-browser only says how to install a snap."""
    for name in NAMES:
        program = shutil.which(name)
        if program:
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            if said.returncode == 0 and "Chrom" in said.stdout:
                return program
    return None


class Browser:
    """One page of one browser process. Remembers what the page wrote to the console and every request it made."""

    def __init__(self, program, deadline_s=60):
        self.deadline_s = deadline_s
        self.folder = Path(tempfile.mkdtemp(prefix="motley-browser-"))
        self.console, self.requests = [], []
        self.number, self.rest, self.answers, self.events = 0, b"", {}, []
        down_read, down_write = os.pipe()
        up_read, up_write = os.pipe()
        # The browser reads from descriptor 3 and writes to 4; ours are moved out of their way first.
        theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (down_read, up_write)]
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
             "--disable-background-networking", "--no-first-run", "--remote-debugging-pipe",
             f"--user-data-dir={self.folder}", "about:blank"],
            preexec_fn=lambda: (os.dup2(theirs[0], 3), os.dup2(theirs[1], 4)), pass_fds=(3, 4),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (down_read, up_write, *theirs):
            os.close(fd)
        self.down, self.up = down_write, up_read
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def close(self):
        os.close(self.down)
        os.close(self.up)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _receive(self, until):
        if not select.select([self.up], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError("the browser did not answer in time")
        part = os.read(self.up, 1 << 20)
        if not part:
            raise EOFError("the browser is gone")
        *messages, self.rest = (self.rest + part).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self._event(message["method"], message.get("params", {}))

    def _event(self, method, params):
        self.events.append(method)
        if method == "Runtime.consoleAPICalled":
            self.console.append((params["type"], " ".join(str(a.get("value", a.get("description"))) for a in params["args"])))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(("exception", details.get("exception", {}).get("description", details["text"])))
        elif method == "Log.entryAdded":
            self.console.append((params["entry"]["level"], params["entry"]["text"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method, **params):
        """The result of a command. Raises RuntimeError with the browser's words."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.down, data):]
        until = time.monotonic() + self.deadline_s
        while self.number not in self.answers:
            self._receive(until)
        answer = self.answers.pop(self.number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def view(self, width, height, theme, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
                  mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def open(self, url):
        """Loads `url` and waits until it is shown."""
        self.events.clear()
        self.call("Page.navigate", url=url)
        until = time.monotonic() + self.deadline_s
        while "Page.loadEventFired" not in self.events:
            self._receive(until)
        self.settle()

    def settle(self):
        """Waits until two frames have been painted."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50))))")

    def run(self, script):
        """The value of a JavaScript expression, promises awaited. Raises RuntimeError with what it threw."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def screenshot(self, file):
        """The whole page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                            clip={"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1})
        Path(file).write_bytes(base64.b64decode(picture["data"]))
