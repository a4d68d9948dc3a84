"""A headless Chromium, driven through its own protocol over two pipes: nothing but the browser is needed."""
import base64
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile

SETTING = "BNNHW_BROWSER"       # path of a Chromium or Chrome, where it is not on PATH under a usual name
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
           "--disable-background-networking")
PATIENCE_S = 60
BLOCK = 1 << 20                 # bytes read at a time
# Becomes the browser, which reads from descriptor 3 and writes to 4.
START = """\
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 10) for number in sys.argv[1:3]]
for number, end in zip((3, 4), ends):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell")


def find():
    """Path of a browser, or None."""
    if chosen := os.environ.get(SETTING):
        return shutil.which(chosen)
    return next(filter(None, map(shutil.which, NAMES)), None)


class BrowserError(RuntimeError):
    """The browser ended, or refused a command."""


class Page:
    """One page of a browser of its own; a context manager.

    Attributes
    ----------
    complaints : list of str
        What it has said on its console and logged since the last :meth:`open`: errors and warnings, requests that failed.
    requests : list of str
        Addresses that it has asked for since then, other than ``data:``.
    """
    def __init__(self, program):
        self.program, self.numbers, self.complaints, self.requests, self.session = program, itertools.count(1), [], [], None

    def __enter__(self):
        self.profile = tempfile.TemporaryDirectory(prefix="bnnhw-browser-", ignore_cleanup_errors=True)
        theirs_in, self.out = os.pipe()
        self.pages, theirs_out = os.pipe()
        self.read = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs_in), str(theirs_out), self.program, *OPTIONS,
             f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(theirs_in, theirs_out), start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            target = self.ask("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.ask(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.out)
        os.close(self.pages)
        self.profile.cleanup()

    def _message(self):
        while b"\0" not in self.read:
            if not select.select([self.pages], [], [], PATIENCE_S)[0]:
                raise BrowserError(f"the browser has said nothing for {PATIENCE_S} s")
            more = os.read(self.pages, BLOCK)
            if not more:
                raise BrowserError("the browser has ended")
            self.read += more
        text, self.read = self.read.split(b"\0", 1)
        return json.loads(text)

    def _next(self):
        """The next message; what it tells of the page is noted."""
        message = self._message()
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([value.get("value") for value in parameters["args"]]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            self.requests.append(parameters["request"]["url"])
        return message

    def ask(self, method, **parameters):
        """The result of a command of the browser's protocol."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, path, *, width, height=900, scheme="light", scale=1):
        """Show a file in a window of that size, with ``prefers-color-scheme`` ``light`` or ``dark``."""
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.complaints.clear()
        self.requests.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def value(self, expression):
        """The value of a JavaScript expression in the page, as JSON."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise BrowserError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def picture(self, height=None):
        """PNG bytes of the page from its top, ``height`` pixels of it or all."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        return base64.b64decode(self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"])

    def pdf(self):
        """PDF bytes of the page as it would be printed."""
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=True)["data"])
