"""Each program in examples/ does what it says, against the demo."""

import re
import subprocess
import sys

import httpx
import pytest

from archive import CLIENT, MODULES, execute, install, pack
from authorization_server import AuthorizationServer
from broker import ROOT, free_port, wait_until_ready
from browser import browser, press, walk
from nodejs import NODE
from sdk_server import SdkServer

EXAMPLES = ROOT / "examples"
TSC = CLIENT / "node_modules/typescript/bin/tsc"


class Program:
    """A running example."""

    def __init__(self, *command, cwd=EXAMPLES, env):
        # The additions are found in the tree, as if they were installed.
        env = env | {"PYTHONPATH": str(ROOT / "clients/python/src"), "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True
        )

    def until(self, pattern):
        """Reads lines until one matches, and returns the match."""
        seen = []
        for line in self._process.stdout:
            seen.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no line matches {pattern!r}:\n{''.join(seen)}")

    def press_enter(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def stop(self):
        self._process.terminate()
        self._process.communicate(timeout=20)

    def end(self, code=0):
        """What else it prints, until it ends with this exit code."""
        output, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == code, output
        return output


def python(name, *arguments, env):
    return Program(sys.executable, name, *arguments, env=env)


PLEASE_OPEN = r"Please open (\S+)"


@pytest.mark.parametrize("command", [["bash", "curl.sh"], [sys.executable, "plain_python.py"]], ids=["curl", "python"])
def test_a_plain_program_gets_a_token_after_one_consent(demo, approve, command):
    program = Program(*command, env=demo.environment)
    approve(program.until(PLEASE_OPEN)[1])
    assert "Sam Sample" in program.end()
    assert "Sam Sample" in Program(*command, env=demo.environment).end(), "the second time at once"


def test_curl_ends_when_the_person_denies(demo):
    program = Program("bash", "curl.sh", env=demo.environment)
    with browser() as tab:
        page = walk(tab, program.until(PLEASE_OPEN)[1])
        press(tab, page, "Deny")
    assert "access_denied" in program.end(code=1)


def test_langgraph_survives_an_early_enter(demo, approve):
    graph_program(python("langgraph_agent.py", env=demo.environment), approve)


def graph_program(program, approve):
    for _ in range(2):
        program.until(PLEASE_OPEN)
        program.press_enter()
    approve(program.until(PLEASE_OPEN)[1])
    program.press_enter()
    assert "You are Sam Sample" in program.end()


def test_a_tool_of_pydantic_ai_acts_for_the_user(demo, approve):
    program = python("pydantic_ai_tool.py", env=demo.environment)
    approve(program.until(PLEASE_OPEN)[1])
    assert "Sam Sample" in program.end()


def test_the_mcp_client_calls_a_protected_server(demo, approve):
    server = SdkServer()
    try:
        tools = {"provider_id": "tools", "name": "Notes", "mcp_server_url": server.url}
        discover = f"{demo.url}/v2/auth/providers/mcp-discover"
        httpx.post(discover, json=tools, headers={"x-api-key": demo.key}, timeout=30).raise_for_status()
        program = python("mcp_client.py", env=demo.environment | {"MCP_URL": server.url})
        approve(program.until(PLEASE_OPEN)[1])
        assert program.end() == "Tool: owner\n"
    finally:
        server.stop()


def test_a_job_of_cron_runs_after_a_consent_on_another_device(demo):
    """The demo's sample provider has no device authorization: this is another one, whose API is the demo's /ok."""
    server = AuthorizationServer()
    try:
        upstream = server.register("tv")
        definition = {
            "provider_id": "tv",
            "name": "TV",
            "client_id": upstream.client_id,
            "client_secret": upstream.client_secret,
            "auth_url": upstream.authorization_url,
            "token_url": upstream.token_url,
            "device_authorization_url": upstream.device_authorization_url,
        }
        headers = {"x-api-key": demo.key}
        httpx.post(f"{demo.url}/v2/auth/providers", json=definition, headers=headers).raise_for_status()
        env = demo.environment | {"PROVIDER": "tv", "API_URL": f"{demo.url}/ok"}
        assert "cron_device.py connect" in python("cron_device.py", env=env).end(code=1)

        program = python("cron_device.py", "connect", env=env)
        page, code = program.until(r"Open (\S+) on any device, and enter the code (\w+)").groups()
        httpx.get(page, params={"user_code": code}).raise_for_status()
        assert "Report:" in program.end()
        assert "Report:" in python("cron_device.py", env=env).end()
    finally:
        server.stop()


def test_the_web_application_connects_the_user_who_is_signed_in(demo, approve):
    port = free_port()
    app = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "fastapi_verify:app", "--port", str(port)]
    program = Program(*command, env=demo.environment | {"APP_URL": app})
    try:
        program.until("Uvicorn running")
        with browser() as ada, browser() as eve:
            assert ada.get(f"{app}/profile").status_code == 401
            consent = eve.get(f"{app}/sign-in?user=eve", follow_redirects=True)
            assert ada.get(f"{app}/sign-in?user=ada").status_code == 200
            # Eve sends the page of her own consent to Ada, who is not eve in her browser.
            page = press(ada, walk(ada, str(consent.url)), "Approve")
            assert page.status_code == 403, page.text
            done = approve(f"{app}/profile", ada)
            assert done.json() == {"user": "ada", "connected": "Sam Sample"}
            assert ada.get(f"{app}/profile").json() == done.json()
    finally:
        program.stop()


@pytest.fixture(scope="module")
def typescript(tmp_path_factory):
    """The TypeScript examples in a project with the packed client and LangGraph.js."""
    folder = tmp_path_factory.mktemp("typescript")
    archive = pack(tmp_path_factory.mktemp("pack"))
    return install(archive, folder, (EXAMPLES / "typescript").glob("*.ts"), langgraph=True)


def test_plain_typescript_gets_a_token_after_one_consent(demo, approve, typescript):
    program = Program(NODE, "plain.ts", cwd=typescript, env=demo.environment)
    approve(program.until(PLEASE_OPEN)[1])
    assert "You are Sam Sample" in program.end()


def test_the_typescript_readmes_commands_lead_from_an_archive_to_a_token(demo, approve, tmp_path):
    block = re.search(r"^```sh\n(.*?)^```", (CLIENT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
    repository = tmp_path / "repository"
    repository.mkdir()
    pack(repository)
    lines = block.replace("http://127.0.0.1:8080", demo.url).replace("paste-the-key-here", demo.key).splitlines()
    # The one line that is not run as it is: it would build in the tree, where other tests build too.
    [packing] = [line for line in lines if "npm pack" in line]
    assert packing == "(cd clients/typescript && npm ci && npm pack --pack-destination ../..)"
    lines.remove(packing)
    program = Program("bash", "-ec", "\n".join(lines), cwd=repository, env=demo.environment)
    approve(program.until(PLEASE_OPEN)[1])
    assert re.search(r"The token has \d+ characters", program.end())


def test_langgraph_js_survives_an_early_enter(demo, approve, typescript):
    graph_program(Program(NODE, "langgraph.ts", cwd=typescript, env=demo.environment), approve)


def test_the_typescript_examples_compile_in_a_strict_project(typescript):
    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"]
    execute("node", TSC, *options, "plain.ts", "langgraph.ts", cwd=typescript)
