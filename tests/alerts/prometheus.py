"""A real Prometheus that reads a server often and evaluates the delivered rules."""

import shutil
import subprocess
import time
from pathlib import Path

import httpx

from broker import free_port

DEPLOY = Path(__file__).resolve().parents[2] / "deploy/prometheus"
RULES = DEPLOY / "agent-auth.rules.yml"
SCRAPE = DEPLOY / "agent-auth.scrape.yml"
EVERY = "250ms"
PATIENCE = 60


def program(name):
    path = shutil.which(name)
    assert path, f"{name} is not installed: apt-get install prometheus"
    return path


def promtool(*arguments, cwd=DEPLOY):
    done = subprocess.run([program("promtool"), *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"promtool {' '.join(arguments)}: {done.stdout}{done.stderr}"
    return done.stdout


class Prometheus:
    """Runs with the delivered configuration; only the target and the intervals are the test's."""

    def __init__(self, folder, target):
        folder.mkdir()
        shutil.copy(RULES, folder)
        configuration = SCRAPE.read_text()
        for line, replacement in [
            ('targets: ["127.0.0.1:8080"]', f'targets: ["{target}"]'),
            ("scrape_interval: 15s", f"scrape_interval: {EVERY}"),
        ]:
            assert line in configuration
            configuration = configuration.replace(line, replacement)
        file = folder / "prometheus.yml"
        file.write_text(f"global: {{evaluation_interval: {EVERY}}}\n{configuration}")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        eventually(self._is_ready, "Prometheus is not ready")

    def _is_ready(self):
        assert self._process.poll() is None, Path(self._log.name).read_text()
        try:
            return httpx.get(f"{self.url}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _api(self, path, **parameters):
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """The value of each series, now."""
        return [float(sample["value"][1]) for sample in self._api("query", query=expression)["result"]]

    def rules(self):
        """The rules, as Prometheus evaluates them."""
        rules = [rule for group in self._api("rules")["groups"] for rule in group["rules"]]
        assert all(rule["health"] != "err" for rule in rules), rules
        return rules

    def true(self):
        """The alerts whose expression is true now. It may be too early for them to fire."""
        return {rule["name"] for rule in self.rules() if rule["state"] in ("pending", "firing")}

    def evaluations(self):
        """When each rule was evaluated last."""
        return [rule["lastEvaluation"] for rule in self.rules()]

    def stop(self):
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def eventually(holds, otherwise):
    """Waits until `holds()`."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, otherwise() if callable(otherwise) else otherwise
        time.sleep(0.1)
