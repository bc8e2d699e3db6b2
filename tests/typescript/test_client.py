"""The TypeScript client: its types, its archive, and what it does against the built server in each runtime."""

import platform
import re
import secrets
import subprocess
import tarfile

import httpx
import pytest

from archive import CLIENT, MODULES, execute
from broker import ROOT, environment

ARM = platform.machine() == "aarch64"
NODE = MODULES / f"node-linux-{'arm64' if ARM else 'x64'}/bin/node"  # the oldest that the client supports
DENO = MODULES / f"@deno/linux-{'arm64' if ARM else 'x64'}-glibc/deno"
BUN = MODULES / f"@oven/bun-linux-{'aarch64' if ARM else 'x64'}/bin/bun"
TSC = CLIENT / "node_modules/typescript/bin/tsc"
STRICT = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--target", "es2022"]


def test_the_types_are_what_the_server_describes():
    execute("node", "scripts/generate.mjs", "--check", cwd=CLIENT)


def test_the_archive_has_the_code_and_the_licenses(archive):
    with tarfile.open(archive) as content:
        names = {name.removeprefix("package/") for name in content.getnames()}
    assert {"package.json", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "dist/esm/index.js", "dist/cjs/index.js"} <= names
    assert all(name.startswith("dist/") or "/" not in name for name in names), names


def test_the_client_has_no_dependencies(project):
    assert [entry.name for entry in (project / "node_modules").iterdir() if not entry.name.startswith(".")] == ["agent-auth"]


def test_the_types_compile_in_a_strict_project(project):
    execute("node", TSC, *STRICT, "--module", "nodenext", "types.mts", "types.cts", cwd=project)
    execute("node", TSC, *STRICT, "--module", "esnext", "--moduleResolution", "bundler", "types.mts", cwd=project)


def test_answers_that_a_server_seldom_gives(project):
    execute(NODE, "--test", "http.test.mjs", cwd=project)


def test_every_operation(project, server):
    execute(NODE, "--test", "client.test.mjs", cwd=project, **server)


def test_a_langgraph_js_graph(graph_project, server):
    execute(NODE, "--test", "langgraph.test.mjs", cwd=graph_project, **server)


@pytest.mark.parametrize("runtime", [[NODE], [DENO, "run", "--allow-all", "--no-lock"], [BUN]], ids=["node", "deno", "bun"])
def test_each_runtime(project, server, runtime):
    assert execute(*runtime, "smoke.mjs", cwd=project, **server).split() == ["string", "ApiError", "401", "gone"]


def test_require(project, graph_project, server):
    assert execute(NODE, "smoke.cjs", cwd=project, **server) == "ok\n"
    assert execute(NODE, "smoke.cjs", "graph", cwd=graph_project, **server) == "ok\n"


READMES = {"root": ROOT / "README.md", "client": CLIENT / "README.md"}


def program_of(readme):
    return re.search(r"^```ts\n(.*?)^```", READMES[readme].read_text(), re.MULTILINE | re.DOTALL)[1]


def test_the_programs_of_the_readmes_compile(graph_project):
    for readme in READMES:
        (graph_project / f"{readme}.mts").write_text(program_of(readme))
    files = [f"{readme}.mts" for readme in READMES]
    execute("node", TSC, *STRICT, "--module", "nodenext", "--skipLibCheck", *files, cwd=graph_project)


@pytest.mark.parametrize("readme", READMES)
def test_the_programs_of_the_readmes_get_a_token(project, server, person, readme):
    name = f"t-{secrets.token_hex(6)}"
    known = person.register(name)
    definition = {re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", field): value for field, value in known.items()}
    url, key = server["LANGSMITH_API_URL"], server["LANGSMITH_API_KEY"]
    httpx.post(f"{url}/v2/auth/providers", json=definition, headers={"x-api-key": key}).raise_for_status()
    program = project / "readme.mjs"
    program.write_text(program_of(readme).replace("http://127.0.0.1:8080", url).replace('"github"', f'"{name}"'))
    command, env = [NODE, program], environment() | {"AGENT_KEY": key}
    with subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, text=True) as running:
        assert person.approve(running.stdout.readline().split()[-1]) == 200
        assert re.fullmatch(r"The token has \d+ characters\n", running.stdout.read())
