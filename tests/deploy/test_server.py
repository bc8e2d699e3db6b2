"""The real server with what the chart gives it: the commands, variables and files of its Pods."""

import os
import secrets
import signal
import subprocess
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from broker import BINARY, environment, free_port, run, wait_until_ready
from chart import EVERYTHING, of_kind, pod_of, render

KEY = "deploy-tests-bootstrap-key-0123456789abcdef"


@pytest.fixture
def values():
    return {
        "publicUrl": "https://auth.example.com",
        "secrets": {name: {"name": "agent-auth"} for name in ["database_url", "encryption_keys", "bootstrap_api_key"]},
        "settings": {"wait_max_seconds": 60, "log": "info"},
        "migration": EVERYTHING["migration"],
    }


@pytest.fixture
def folder(tmp_path):
    """Where the Secret is mounted, with a new database in it."""
    url, database = os.environ["TEST_POSTGRES_URL"], f"deploy_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{database}"')
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "database_url").write_text(urlsplit(url)._replace(path=f"/{database}").geturl() + "\n")
    (mounted / "encryption_keys").write_text(run("keys", "generate"))
    (mounted / "bootstrap_api_key").write_text(KEY)
    return mounted


def variables(container, folder, port):
    """What the container has in its environment, and what Kubernetes would add for a Service called agent-auth."""
    [mount] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "secrets"]
    given = {variable["name"]: variable["value"].replace(mount, str(folder)) for variable in container["env"]}
    links = {
        "SERVICE_HOST": "10.96.4.1", "SERVICE_PORT": "8080", "SERVICE_PORT_HTTP": "8080", "PORT": "tcp://10.96.4.1:8080",
        "PORT_8080_TCP": "tcp://10.96.4.1:8080", "PORT_8080_TCP_PROTO": "tcp", "PORT_8080_TCP_PORT": "8080",
        "PORT_8080_TCP_ADDR": "10.96.4.1",
    }
    return environment(links) | given | {"AGENT_AUTH_LISTEN": f"127.0.0.1:{port}"}


def test_the_job_migrates_and_the_server_is_ready_and_stops_as_the_probes_expect(values, folder, tmp_path):
    objects, port = render(values), free_port()
    [job], [deployment] = of_kind(objects, "Job"), of_kind(objects, "Deployment")
    [migrate], [serve] = pod_of(job)["containers"], pod_of(deployment)["containers"]
    done = subprocess.run(
        [BINARY, *migrate["args"]], cwd=tmp_path, env=variables(migrate, folder, port), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen([BINARY, *serve["args"]], cwd=tmp_path, env=variables(serve, folder, port))
    url = f"http://127.0.0.1:{port}"
    readiness, liveness = (serve[f"{name}Probe"]["httpGet"]["path"] for name in ["readiness", "liveness"])
    try:
        wait_until_ready(url, process)
        assert httpx.get(url + "/v2/auth/providers", headers={"x-api-key": KEY}).status_code == 200
        process.send_signal(signal.SIGTERM)
        while httpx.get(url + readiness).status_code == 200:
            assert process.poll() is None
        assert httpx.get(url + liveness).status_code == 200
        assert httpx.get(url + "/v2/auth/providers", headers={"x-api-key": KEY}).status_code == 200
        assert process.wait(timeout=pod_of(deployment)["terminationGracePeriodSeconds"]) == 0
    finally:
        process.kill()
        process.wait()
    assert [path.name for path in tmp_path.iterdir()] == ["mounted"], "nothing is written to the container's file system"
