"""The files for Kubernetes without Helm, for systemd, for Compose and for GitHub: valid, and up to date."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from broker import BINARY, ROOT
from chart import HELM

BIN = Path(sys.executable).parent
UNIT = ROOT / "deploy/systemd/agent-auth.service"
SETTINGS = tomllib.loads((ROOT / "config/default.toml").read_text())


def succeed(*command, **options):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plain_manifests_are_those_of_the_chart(tmp_path):
    # The script takes the first `helm` that it finds.
    succeed("scripts/manifests", tmp_path, env=os.environ | {"PATH": f"{HELM.parent}:{os.environ['PATH']}"})
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_text() for file in (ROOT / "deploy/kubernetes").glob("*.yaml")}, "run scripts/manifests"
    assert made.keys() == {"agent-auth.yaml", "langsmith.yaml"}


def test_systemd_accepts_the_unit_and_confines_it(tmp_path):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/agent-auth", str(BINARY)))
    printed = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=120)
    assert (printed.returncode, printed.stdout, printed.stderr) == (0, "", "")
    # 0 is best and 10 is worst; above the threshold it fails.
    succeed("systemd-analyze", "security", "--offline=yes", "--threshold=20", unit)


def test_the_settings_of_the_unit_are_known():
    settings = tomllib.loads(UNIT.with_name("agent-auth.toml").read_text())
    assert settings.keys() <= SETTINGS.keys() and settings["data_dir"] == "/var/lib/agent-auth"


def test_compose_checks_the_health_of_both():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    succeed(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    assert all("healthcheck" in service for service in compose["services"].values())
    assert compose["services"]["agent-auth"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    names = compose["services"]["agent-auth"]["environment"]
    assert {name.removeprefix("AGENT_AUTH_").lower() for name in names} <= SETTINGS.keys()


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda file: file.name)
def test_github_accepts_the_workflow(workflow):
    succeed(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow)
    # They run what exists here.
    for script in re.findall(r"\bscripts/[a-z-]+", workflow.read_text()):
        assert os.access(ROOT / script, os.X_OK), script


def test_the_packages_of_pythons_registry_are_pinned():
    for line in (ROOT / "tests/deploy/helm.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line), line
