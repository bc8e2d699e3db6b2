"""The official conformance suite of MCP: its scripted servers are connected through the broker, or rightly refused.

Every client scenario about authorization is run on each wire that it exists on, unless `NOT_FOR_A_BROKER` says why not.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nodejs import MODULES, NODE

HERE = Path(__file__).parent
SUITE = [str(NODE), str(MODULES / "@modelcontextprotocol/conformance/dist/index.js")]
HANDSHAKE, STATELESS = "2025-11-25", "2026-07-28"

# The broker keeps what people consented to. These have no person, or ask for more than a bearer token.
NOT_FOR_A_BROKER = {
    "auth/client-credentials-jwt": "a client that signs an assertion with a key of its own; ours has a secret",
    "auth/dpop": "the key of a DPoP token is the caller's own; the broker hands out bearer tokens",
    "auth/dpop-nonce": "the key of a DPoP token is the caller's own; the broker hands out bearer tokens",
    "auth/enterprise-managed-authorization": "a token exchange at the employer's identity provider: no consent",
    "auth/wif-jwt-bearer": "a token for a workload's own identity: no person, nothing to keep",
}

# Where the way has to end. All others end with the tool called.
REFUSED_AT = {
    "auth/iss-normalized": "consent",
    "auth/iss-supported-missing": "consent",
    "auth/iss-unexpected": "consent",
    "auth/iss-wrong-issuer": "consent",
    "auth/metadata-issuer-mismatch": "discovery",
    "auth/resource-mismatch": "discovery",
    "auth/scope-retry-limit": "call",
}

# Each suite's scenarios run side by side in one process. `draft` has the newest of all kinds.
SUITES = [("auth", HANDSHAKE), ("auth", STATELESS), ("backcompat", None), ("draft", STATELESS), ("extensions", None)]


def scenarios():
    """Each authorization scenario with the revisions of the protocol that it exists in."""
    listed = subprocess.run([*SUITE, "list", "--client"], capture_output=True, text=True, timeout=60, check=True).stdout
    found = dict(re.findall(r"^ +- (auth/\S+) \[(.*)\]$", listed, re.MULTILINE))
    assert len(found) > 30, listed
    return {name: revisions.split(",") for name, revisions in found.items()}


def pytest_generate_tests(metafunc):
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario, wire", list(runs()))


def runs():
    """What has to pass: a scenario, on each wire that it exists on. The oldest have none that can be chosen."""
    for name, revisions in scenarios().items():
        if name not in NOT_FOR_A_BROKER:
            wires = [wire for wire in (HANDSHAKE, STATELESS) if wire in revisions]
            yield from ((name, wire) for wire in wires or [None])


@pytest.fixture(scope="module")
def results(broker, api_key, tmp_path_factory):
    """The folder of each run's results."""
    folder = tmp_path_factory.mktemp("conformance")
    paths = os.pathsep.join([str(HERE), str(HERE.parent / "sdk")])
    environment = os.environ | {"TEST_BROKER_URL": broker.url, "TEST_BROKER_KEY": api_key, "PYTHONPATH": paths}
    client = shlex.join([sys.executable, str(HERE / "conformance_client.py")])
    found = {}
    for suite, wire in SUITES:
        output = folder / f"{suite}-{wire}"
        command = [*SUITE, "client", "--command", client, "--suite", suite, "--timeout", "90000", "-o", str(output)]
        command += ["--spec-version", wire] if wire else []
        subprocess.run(command, env=environment, cwd=folder, capture_output=True, timeout=180)
        for checks in output.glob("auth/*/checks.json"):
            scenario = re.sub(r"-\d{4}-\d\d-\d\dT[^/]*$", "", f"auth/{checks.parent.name}")
            found[scenario, wire] = checks.parent
    return found


def test_a_scenario_passes_and_ends_where_it_should(results, scenario, wire):
    assert (scenario, wire) in results, "the suite did not run it"
    result = results[scenario, wire]
    said = "\n".join((result / name).read_text() for name in ("stdout.txt", "stderr.txt"))
    checks = json.loads((result / "checks.json").read_text())
    failed = [check for check in checks if check["status"] in ("FAILURE", "WARNING")]
    assert not failed, f"{said}\n{json.dumps(failed, indent=1)}"
    assert any(check["status"] == "SUCCESS" for check in checks)
    assert f'{{"outcome": "{REFUSED_AT.get(scenario, "called")}"}}' in said, said


def test_the_tables_name_scenarios_that_exist():
    assert NOT_FOR_A_BROKER.keys() | REFUSED_AT.keys() <= scenarios().keys()
    assert not NOT_FOR_A_BROKER.keys() & REFUSED_AT.keys()
