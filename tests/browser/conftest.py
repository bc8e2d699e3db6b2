"""A running `agent-auth demo` and a real Chromium for the tests beside this file.

TEST_AGENT_AUTH            the server to test (default: target/debug/agent-auth)
TEST_CHROMIUM  the browser to test with (default: chromium)
"""

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from client import Client

ROOT = Path(__file__).resolve().parents[2]


def program(name, package):
    path = shutil.which(name)
    assert path, f"{name} is not installed: apt-get install {package}"
    return path


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """`agent-auth demo`, as a newcomer starts it."""
    with running(tmp_path_factory.mktemp("demo") / "output", {}) as client:
        yield client


@contextmanager
def running(output, settings):
    """`agent-auth demo` with these settings."""
    binary = os.environ.get("TEST_AGENT_AUTH", ROOT / "target/debug/agent-auth")
    base = f"http://127.0.0.1:{free_port()}"
    # The server refuses settings that it does not know, such as those of this test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_AUTH_")}
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [binary, "demo", "--listen", base.removeprefix("http://")],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment | settings,
        )
    try:
        yield Client(base, started(process, base, output))
    finally:
        process.terminate()
        try:
            process.wait(35)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def started(process, base, output):
    """The printed API key, as soon as the server is ready."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, f"agent-auth demo ended: {output.read_text()}"
        key = re.search(r"^\s*API key:\s+(\S+)", output.read_text(), re.MULTILINE)
        if key:
            try:
                urllib.request.urlopen(f"{base}/readyz", timeout=5).close()
                return key.group(1)
            except urllib.error.URLError:
                pass
        time.sleep(0.1)
    raise AssertionError(f"agent-auth demo was not ready within a minute: {output.read_text()}")


@pytest.fixture
def browser():
    """A fresh Chromium with its own empty profile."""
    with chromium() as driver:
        yield driver


@pytest.fixture
def another_browser():
    """The Chromium of somebody else."""
    with chromium() as driver:
        yield driver


@contextmanager
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = program(os.environ.get("TEST_CHROMIUM", "chromium"), "chromium")
    for argument in (
        "--headless=new",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        # A page that comes back is asked for again, as no-store says, instead of being revived as it was.
        "--disable-features=BackForwardCache",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
        "--no-first-run",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(program("chromedriver", "chromium-driver")))
    driver.set_page_load_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()
