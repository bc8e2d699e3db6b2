"""The server's OpenAPI description is accepted by what developers use: linters, validators, generators of clients."""

import json

import pytest
from openapi_spec_validator import validate

from archive import CLIENT, MODULES, execute
from broker import run

STRICT = "--noEmit --strict --target es2022 --module esnext --moduleResolution bundler".split()


def tsc(*arguments, cwd):
    execute("node", CLIENT / "node_modules/typescript/bin/tsc", *STRICT, *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the description."""
    folder = tmp_path_factory.mktemp("description")
    (folder / "openapi.json").write_text(run("openapi"))
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def test_a_validator_accepts_it(folder):
    validate(json.loads((folder / "openapi.json").read_text()))


def test_redoclys_linter_accepts_it(folder):
    execute("node", MODULES / "@redocly/cli/bin/cli.js", "lint", "openapi.json", cwd=folder, REDOCLY_TELEMETRY="off")


def test_openapi_typescript_makes_types_that_compile(folder):
    cli = CLIENT / "node_modules/openapi-typescript/bin/cli.js"
    execute("node", cli, "openapi.json", "--output", "types.ts", cwd=folder)
    tsc("types.ts", cwd=folder)


def test_hey_api_makes_a_client_that_compiles(folder):
    cli = MODULES / "@hey-api/openapi-ts/bin/run.js"
    execute("node", cli, "--input", "openapi.json", "--output", "client", "--client", "@hey-api/client-fetch", cwd=folder)
    tsc("client/index.ts", cwd=folder)
