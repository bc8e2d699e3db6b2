"""The server's OpenAPI description is accepted by what developers use: linters, validators, generators of clients."""

import json

import jsonschema_rs
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


def test_every_response_has_an_example_and_every_example_fits_its_schema(folder):
    description = json.loads((folder / "openapi.json").read_text())
    schemas = description["components"]["schemas"]
    registry = {"components": {"schemas": schemas}}
    shown = {name: schema["example"] for name, schema in schemas.items() if "example" in schema}
    for name, example in shown.items():
        whole = {"$ref": f"#/components/schemas/{name}", **registry}
        jsonschema_rs.Draft202012Validator(whole, validate_formats=True).validate(example)
        assert set(example) <= properties(schemas, schemas[name]), name

    def has_example(schema):
        reference = schema.get("$ref", "").rpartition("/")[2]
        inner = schema.get("items") or schema.get("properties", {}).get("data") or {}
        return reference in shown or bool(inner and has_example(inner)) or bool(reference and has_example(schemas[reference]))

    without = [
        f"{method} {path}"
        for path, item in description["paths"].items()
        for method, operation in item.items()
        for status, response in operation["responses"].items()
        if status.startswith("2") and "application/json" in response.get("content", {})
        and not has_example(response["content"]["application/json"]["schema"])
    ]
    assert not without


def properties(schemas, schema):
    if "$ref" in schema:
        return properties(schemas, schemas[schema["$ref"].rpartition("/")[2]])
    return set(schema.get("properties", {})).union(*(properties(schemas, part) for part in schema.get("allOf", [])))


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
