"""The TypeScript client: its types, its archive, and what it does against the built server in each runtime."""

import platform
import tarfile

import pytest

from archive import CLIENT, MODULES, execute

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
