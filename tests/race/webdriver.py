"""A headless Chromium through ChromeDriver, with what the race needs of WebDriver and no more."""

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

MINUTES = 5


class Browser:
    """A browser with a profile of its own; both end with it."""

    def __init__(self, flags):
        self.flags = flags

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.address = f"http://127.0.0.1:{port}"
        arguments = ["--headless=new", f"--user-data-dir={self.profile.name}", *self.flags]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        options = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": arguments}}}}
        try:
            session = self.begin(options)
        except BaseException:
            self.end()
            raise
        self.address += f"/session/{session['sessionId']}"
        return self

    def begin(self, options):
        for _ in range(100):
            try:
                return self.send("POST", "/session", options)
            except urllib.error.HTTPError as error:
                raise RuntimeError(error.read().decode(errors="replace")) from error
            except OSError:
                # The driver does not listen yet.
                time.sleep(0.1)
        raise RuntimeError("chromedriver does not answer")

    def __exit__(self, *_):
        try:
            self.send("DELETE", "", None)
        finally:
            self.end()

    def end(self):
        self.driver.terminate()
        self.driver.wait()
        self.profile.cleanup()

    def send(self, method, path, body):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60 * MINUTES) as answer:
            return json.loads(answer.read())["value"]

    def before(self, script):
        """Runs `script` in every page before its own."""
        command = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": script}}
        self.send("POST", "/goog/cdp/execute", command)

    def open(self, address):
        self.send("POST", "/url", {"url": address})

    def wait(self, script):
        """The first value of `script` that is true."""
        until = time.monotonic() + 60 * MINUTES
        while time.monotonic() < until:
            value = self.send("POST", "/execute/sync", {"script": script, "args": []})
            if value:
                return value
            time.sleep(0.05)
        raise TimeoutError(script)
