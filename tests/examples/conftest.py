"""A demo for each test, and its sample person in a browser."""

import re
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest

import archive
import broker as agent_auth
import nodejs
from browser import browser, press, walk


def pytest_configure():
    if not agent_auth.BINARY.is_file():
        raise pytest.UsageError(f"{agent_auth.BINARY} is missing: run `cargo build`")
    for modules in (archive.CLIENT / "node_modules", archive.MODULES, nodejs.MODULES):
        if not modules.is_dir():
            raise pytest.UsageError(f"{modules} is missing: run `npm ci` in {modules.parent}")


@pytest.fixture
def demo(tmp_path):
    """`agent-auth demo`, and the environment that the examples run in."""
    url = f"http://127.0.0.1:{agent_auth.free_port()}"
    output = tmp_path / "demo"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [agent_auth.BINARY, "demo", "--listen", url.removeprefix("http://")],
            env=agent_auth.environment(),
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        agent_auth.wait_until_ready(url, process)
        deadline = time.monotonic() + 10
        while not (key := re.search(r"^API key:\s+(\S+)$", output.read_text(), re.MULTILINE)):
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        variables = {"LANGSMITH_API_URL": url, "LANGSMITH_API_KEY": key[1]}
        yield SimpleNamespace(url=url, key=key[1], environment=agent_auth.environment() | variables)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@pytest.fixture
def approve():
    """The sample person, who opens a URL, continues at the broker, and approves at the provider."""

    def approve(url, tab=None):
        if tab is None:
            with browser() as tab:
                return approve(url, tab)
        page = press(tab, walk(tab, url), "Approve")
        assert page.status_code == 200, page.text
        return page

    return approve
