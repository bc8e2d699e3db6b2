"""The README's own commands and programs, and the steps that the demo prints, do what they promise."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import httpx
import pytest

from broker import BINARY, ROOT, environment, free_port, run, wait_until_ready
from browser import browse, browser, press, walk

DEMO = "cargo run --release -- demo"


def blocks(language):
    """The README's fenced blocks of that language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def commands():
    """The commands in the README's fenced blocks, in their order."""
    lines = (line.removeprefix("$ ").strip() for block in blocks("sh") for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_the_first_command_is_the_demo_and_the_second_the_tests(commands):
    assert commands[:2] == [DEMO, "scripts/test"]
    assert (ROOT / "scripts/test").stat().st_mode & 0o111


@pytest.fixture
def demo(commands, tmp_path):
    """What the README's first command prints, while it runs. The binary stands for `cargo run --release --`."""
    port = free_port()
    arguments = [BINARY, *shlex.split(commands[0].partition(" -- ")[2]), "--listen", f"127.0.0.1:{port}"]
    output, errors = tmp_path / "stdout", tmp_path / "stderr"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stdout=out, stderr=err)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        deadline = time.monotonic() + 10
        while "AUTH_ID" not in output.read_text() and time.monotonic() < deadline:
            time.sleep(0.05)
        yield output.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, errors.read_text()[-4000:]
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def steps(demo):
    """The curl commands that the demo prints, as a newcomer copies them: authenticate, wait, and call the API."""
    curls = [line.strip() for line in demo.splitlines() if re.match(r"\s+curl ", line)]
    assert len(curls) == 3, demo
    for command, part in zip(curls, ("/v2/auth/authenticate", "/v2/auth/wait/AUTH_ID", "Bearer TOKEN"), strict=True):
        assert part in command, demo
    return curls


def shell(command):
    """The JSON that a copied command prints."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return json.loads(done.stdout)


def test_the_demos_commands_give_a_token(demo, steps):
    [key] = re.findall(r"^API key:\s+(\S+)$", demo, re.MULTILINE)
    assert all(key in step for step in steps[:2])

    pending = shell(steps[0])
    assert pending["status"] == "pending"
    with browser() as tab:
        consent = walk(tab, pending["url"])
        assert consent.status_code == 200
        done = press(tab, consent, "Approve")
        assert done.status_code == 200, done.text

    waited = shell(steps[1].replace("AUTH_ID", pending["auth_id"]))
    assert waited["status"] == "completed" and waited["token"]
    documents = shell(steps[2].replace("TOKEN", waited["token"]))["documents"]
    assert documents[0] == {"id": "travel", "title": "Travel plan"}
    again = shell(steps[0])
    assert (again["status"], again["token"]) == ("completed", waited["token"])


def test_denying_in_the_demo_gives_no_token(steps):
    pending = shell(steps[0])
    with browser() as tab:
        denied = press(tab, walk(tab, pending["url"]), "Deny")
    assert 400 <= denied.status_code < 500
    assert shell(steps[1].replace("AUTH_ID", pending["auth_id"]))["status"] == "not_found"
    assert shell(steps[0])["status"] == "pending"


def test_help_teaches(commands):
    text = run("--help")
    for command in ("serve", "demo", "migrate", "keys", "api-key", "provider", "openapi", "healthcheck"):
        assert re.search(rf"^\s+{command}\b", text, re.MULTILINE), command


README_SERVER = "http://127.0.0.1:8080"


@pytest.fixture
def github(broker, authorization_server):
    """The provider that the README's first steps add, for one test."""
    upstream = authorization_server.register("github")
    definition = {
        "provider_id": "github",
        "name": "GitHub",
        "client_id": upstream.client_id,
        "client_secret": upstream.client_secret,
        "auth_url": upstream.authorization_url,
        "token_url": upstream.token_url,
        "uses_pkce": True,
    }
    with httpx.Client(base_url=broker.url, headers={"x-api-key": broker.api_key}) as admin:
        admin.post("/v2/auth/providers", json=definition).raise_for_status()
        yield upstream
        admin.delete("/v2/auth/providers/github").raise_for_status()


def pointed_at(server, key, text):
    """The text with the server's address in place of the README's, and the environment it runs in."""
    assert README_SERVER in text
    return text.replace(README_SERVER, server), os.environ | {"AGENT_KEY": key}


def started(program, env):
    """A program of the README, which reads from a pipe and writes to one."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program], env=env, stdin=pipe, stdout=pipe, text=True)


def test_the_commands_of_the_first_provider_give_a_token(broker, github):
    [first_provider] = [block for block in blocks("sh") if "/v2/auth/authenticate" in block]
    request, wait = first_provider.split("AUTH_ID=", 1)
    text, env = pointed_at(broker.url, broker.api_key, f"{request}read -r _\nAUTH_ID={wait}")
    with subprocess.Popen(["bash", "-c", text], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        pending = json.loads(shell.stdout.readline())
        assert pending["status"] == "pending"
        assert browse(pending["url"]).status_code == 200
        waited = json.loads(shell.communicate("\n", timeout=60)[0])
    assert (waited["status"], waited["token"]) == ("completed", github.access_tokens[0])


def test_the_program_gets_a_token(broker, github):
    text, env = pointed_at(broker.url, broker.api_key, blocks("python")[0])
    with started(text, env) as running:
        [url] = re.findall(r"^Please open (\S+)$", running.stdout.readline(), re.MULTILINE)
        assert browse(url).status_code == 200
        output, _ = running.communicate("\n", timeout=60)
    assert running.returncode == 0
    assert f"The token has {len(github.access_tokens[0])} characters" in output


@pytest.mark.parametrize("early", [0, 2])
def test_the_langgraph_program_calls_an_api_and_survives_an_early_enter(demo, early):
    [server] = re.findall(r"^agent-auth demo: (\S+) ", demo, re.MULTILINE)
    [key] = re.findall(r"^API key:\s+(\S+)$", demo, re.MULTILINE)
    text, env = pointed_at(server, key, blocks("python")[1])
    with started(text, env) as running:
        for enters in range(early + 1):
            [url] = re.findall(r"Please open (\S+)$", running.stdout.readline(), re.MULTILINE)
            if enters < early:
                running.stdin.write("\n")
                running.stdin.flush()
        with browser() as tab:
            assert press(tab, walk(tab, url), "Approve").status_code == 200
        output, _ = running.communicate("\n", timeout=60)
    assert running.returncode == 0
    assert "Your documents: Travel plan, Budget of the team" in output
