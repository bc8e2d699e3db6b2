"""Runs the built `agent-auth` as its users do: a process, its environment, its signals."""

import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("TEST_AGENT_AUTH", ROOT / "target/debug/agent-auth"))
BINARY = BINARY if BINARY.is_absolute() else ROOT / BINARY
POSTGRES = "TEST_POSTGRES_URL"


def missing():
    """What the tests need and do not have, in a sentence; None if nothing is missing."""
    if not os.environ.get(POSTGRES):
        return f"{POSTGRES} is not set: run scripts/test, which starts a PostgreSQL"
    return None if BINARY.is_file() else f"{BINARY} is missing: run `cargo build`"


def environment(settings=None):
    """This process's environment without settings of agent-auth, and then `settings`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_AUTH_")}
    return inherited | {f"AGENT_AUTH_{name}": value for name, value in (settings or {}).items()}


def run(*arguments, settings=None):
    """The standard output of a short command of `agent-auth`."""
    done = subprocess.run([BINARY, *arguments], env=environment(settings), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"agent-auth {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def new_postgres_database():
    """The settings for a new, empty database on the PostgreSQL that the tests were given."""
    url, database = os.environ[POSTGRES], f"test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{database}"')
    url = urlsplit(url)._replace(path=f"/{database}").geturl()
    return {"DATABASE_URL": url, "ENCRYPTION_KEYS": run("keys", "generate").strip()}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Broker:
    """A running `agent-auth serve`."""

    def __init__(self, folder, settings):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "agent-auth.log"
        settings = {"LISTEN": f"127.0.0.1:{port}", "PUBLIC_URL": self.url, "ALLOW_PRIVATE_UPSTREAMS": "true"} | settings
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([BINARY, "serve"], cwd=folder, env=environment(settings), stdout=log, stderr=log)
        try:
            wait_until_ready(self.url, self._process)
        except BaseException as error:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"agent-auth serve did not become ready: {error}\n{self.log.read_text()}") from None

    def stop(self):
        """Stops it as an orchestrator would; it must leave in order and in time."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError("agent-auth was still running 30 seconds after SIGTERM") from None
        assert code == 0, f"agent-auth left with {code} after SIGTERM\n{self.log.read_text()[-4000:]}"

    def kill(self):
        """Ends it at once, in the middle of whatever it does."""
        self._process.kill()
        self._process.wait()


def wait_until_ready(url, process, seconds=30):
    """Returns once `url` is ready to serve."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            raise AssertionError(f"it exited with {process.returncode}")
        if time.monotonic() > deadline:
            raise AssertionError(f"no answer within {seconds} seconds")
        time.sleep(0.05)
