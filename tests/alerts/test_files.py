"""The delivered files: rules and dashboard are valid, name only what the server exports, and each alert has its paragraph."""

import json
import re
from pathlib import Path

import httpx
import pytest

import broker as agent_auth
from prometheus import DEPLOY, RULES, SCRAPE, promtool

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DASHBOARD = json.loads((ROOT / "deploy/grafana/agent-auth.json").read_text())
# `NAME{LABELS}` or `NAME`, where NAME can be that of a metric of ours.
SELECTOR = re.compile(r"\b((?:agent_auth|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
# Labels that Prometheus adds.
ADDED = {"job", "instance", "le"}


def alerts():
    """Alert to its part of the file."""
    parts = RULES.read_text().split("- alert: ")[1:]
    return {part.split("\n", 1)[0]: part for part in parts}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_expressions():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Metric to label to its values, as a server exports them."""
    folder = tmp_path_factory.mktemp("server")
    key = "alert-tests-bootstrap-key-0123456789abcdef"
    server = agent_auth.Broker(folder, {"DATA_DIR": str(folder / "data"), "BOOTSTRAP_API_KEY": key})
    # A route has a histogram when it was called.
    httpx.post(f"{server.url}/v2/auth/authenticate", headers={"x-api-key": key}, json={})
    text = httpx.get(f"{server.url}/metrics").text
    server.stop()
    metrics, histograms = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            metrics[name] = {}
            histograms |= {name} if kind == "histogram" else set()
        elif not line.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*)\})? ", line).groups()
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            name = base if base in histograms else name
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels or ""):
                metrics[name].setdefault(label, set()).add(value)
    return metrics, histograms


def test_rules_and_configuration_are_valid():
    promtool("check", "rules", RULES.name)
    promtool("check", "config", SCRAPE.name)
    promtool("test", "rules", "rules_test.yml", cwd=HERE)


def test_the_expressions_of_the_dashboard_are_valid(tmp_path):
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(dashboard_expressions())
    ]
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", "rules.yml", cwd=tmp_path)


def test_what_is_named_is_exported(exported):
    metrics, histograms = exported
    expressions = dashboard_expressions() + [part.split("annotations:")[0] for part in alerts().values()]
    used = set()
    for expression in expressions:
        for name, matchers in SELECTOR.findall(expression):
            base = name.removesuffix("_bucket") if name.removesuffix("_bucket") in histograms else name
            assert base in metrics, f"{name} is not exported: {expression}"
            used.add(base)
            for label, how, value in MATCHER.findall(matchers):
                if label in ADDED:
                    continue
                values = metrics[base].get(label)
                assert values, f"{base} has no label {label}: {expression}"
                if how in ("=", "!=") or re.fullmatch(r"[\w|]+", value):
                    named = {value} if how in ("=", "!=") else set(value.split("|"))
                    # 401 is counted when it happens.
                    assert named <= values | {"401"}, f"{label}={named - values} does not occur: {expression}"
                else:
                    assert any(re.fullmatch(value, known) for known in values) or label == "status", expression
        assert used, expression
    assert set(metrics) - used == set(), "on no panel and in no alert"


def test_each_alert_has_a_paragraph_and_no_other_has():
    runbook = (ROOT / "docs/runbook.md").read_text()
    sections = dict(part.split("\n", 1) for part in runbook.split("\n## ")[1:])
    assert set(sections) == set(alerts())
    for alert, part in alerts().items():
        assert f"runbook: docs/runbook.md#{alert.lower()}\n" in part + "\n", alert
        assert f"- [{alert}](#{alert.lower()})\n" in runbook, alert
        assert len(sections[alert]) > 200, alert


def test_each_alert_is_raised_by_a_test():
    tests = (HERE / "test_alerts.py").read_text() + (HERE / "rules_test.yml").read_text()
    assert [alert for alert in alerts() if not re.search(rf'only\("{alert}"\)|alertname: {alert}\b', tests)] == []


def test_the_dashboard_is_one_that_grafana_shows():
    assert DASHBOARD["schemaVersion"] >= 36 and DASHBOARD["uid"] and DASHBOARD["title"]
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references)), panel["title"]
    for expression in dashboard_expressions():
        assert set(re.findall(r"\$(\w+)", expression)) <= variables | {"__rate_interval"}, expression
