"""The Helm chart: what it renders is valid, and does what a cluster needs."""

import re
import tomllib

import kubernetes_validate
import pytest
import yaml

from broker import ROOT
from chart import CHART, EVERYTHING, LANGSMITH, REQUIRED, helm, of_kind, pod_of, render

VALUES = {"required": REQUIRED, "everything": EVERYTHING, "langsmith": LANGSMITH}
# The chart says that it needs 1.27.
KUBERNETES = ["1.27", "1.37"]
SETTINGS = tomllib.loads((ROOT / "config/default.toml").read_text())
with_each = pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)


@with_each
def test_it_has_no_fault_that_helm_knows(values):
    done = helm(["lint", "--strict"], values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@with_each
def test_every_object_is_valid(values, version):
    objects = render(values)
    for document in objects:
        # A ServiceMonitor belongs to the Prometheus operator and not to Kubernetes.
        if document["kind"] != "ServiceMonitor":
            kubernetes_validate.validate(document, version, strict=True)
    names = [(document["kind"], document["metadata"]["name"]) for document in objects]
    assert len(names) == len(set(names)) >= 5


def test_a_field_that_kubernetes_does_not_know_is_noticed():
    [deployment] = of_kind(render(REQUIRED), "Deployment")
    pod_of(deployment)["containers"][0]["readOnlyFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"publicUrl": ""}, "publicUrl is required"),
        ({"secrets": {"encryption_keys": {"name": "keys"}}}, "secrets.database_url.name is required"),
        ({"secrets": {"database_url": {"name": "database"}}}, "secrets.encryption_keys.name is required"),
        ({"replicas": 3}, "replicas"),
        ({"settings": {"public_url": "https://other.example.com"}}, "use the value publicUrl"),
        ({"settings": {"encryption_keys": "in the clear"}}, "use the value secrets.encryption_keys"),
        ({"settings": {"Log": "debug"}}, "Log"),
        ({"ingress": {"paths": "both"}}, "paths"),
        ({"replicaCount": 0}, "replicaCount"),
    ],
)
def test_wrong_values_are_refused_by_name(change, named):
    done = helm(["template", "agent-auth"], REQUIRED | change)
    assert done.returncode != 0 and named in done.stderr, done.stderr


def test_two_replicas_on_different_nodes_and_zones_survive_a_drain():
    objects = render(REQUIRED)
    [deployment], [budget] = of_kind(objects, "Deployment"), of_kind(objects, "PodDisruptionBudget")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert budget["spec"]["maxUnavailable"] == 1
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    spread = pod_of(deployment)["topologySpreadConstraints"]
    assert {constraint["topologyKey"] for constraint in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    for selector in [budget["spec"]["selector"], *(constraint["labelSelector"] for constraint in spread)]:
        assert selector["matchLabels"].items() <= labels.items()


def test_every_probe_is_a_route_of_the_server_on_its_port():
    [container] = pod_of(*of_kind(render(REQUIRED), "Deployment"))["containers"]
    [port] = container["ports"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["AGENT_AUTH_LISTEN"].endswith(f":{port['containerPort']}")
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ["startup", "liveness", "readiness"]}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/livez", "liveness": "/livez", "readiness": "/readyz",
    }
    assert all(probe["port"] == port["name"] for probe in probes.values())


def test_the_grace_period_covers_the_delay_and_the_stop():
    [deployment] = of_kind(render(REQUIRED | {"shutdownDelaySeconds": 20}), "Deployment")
    [container] = pod_of(deployment)["containers"]
    assert {"name": "AGENT_AUTH_SHUTDOWN_DELAY_SECONDS", "value": "20"} in container["env"]
    assert pod_of(deployment)["terminationGracePeriodSeconds"] == 20 + 35


@with_each
def test_pods_have_no_rights_that_they_do_not_need(values):
    objects = render(values)
    for document in of_kind(objects, "Deployment") + of_kind(objects, "Job"):
        pod = pod_of(document)
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }


@with_each
def test_secrets_come_only_from_secrets_that_exist_and_only_as_files(values):
    objects = render(values)
    assert not of_kind(objects, "Secret")
    expected = {setting: secret["name"] for setting, secret in values["secrets"].items()}
    for document in of_kind(objects, "Deployment") + of_kind(objects, "Job"):
        pod = pod_of(document)
        [volume] = [volume for volume in pod["volumes"] if volume["name"] == "secrets"]
        files = {item["path"]: source["secret"]["name"] for source in volume["projected"]["sources"]
                 for item in source["secret"]["items"]}
        assert files == expected
        assert volume["projected"]["defaultMode"] == 0o440
        [container] = pod["containers"]
        [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        for setting in SETTINGS:
            assert (f"AGENT_AUTH_{setting.upper()}_FILE" in variables) == (setting in expected)
        for setting in expected:
            assert variables[f"AGENT_AUTH_{setting.upper()}_FILE"] == f"{mount['mountPath']}/{setting}"
            assert f"AGENT_AUTH_{setting.upper()}" not in variables


@with_each
def test_every_variable_is_a_setting_of_the_server(values):
    for document in of_kind(render(values), "Deployment"):
        for variable in pod_of(document)["containers"][0]["env"]:
            if variable["name"].startswith("AGENT_AUTH_"):
                assert variable["name"].removeprefix("AGENT_AUTH_").removesuffix("_FILE").lower() in SETTINGS


def test_whatever_is_secret_can_come_from_a_secret():
    [names] = re.findall(r"const SECRETS: [^=]*= \[([^\]]*)\]", (ROOT / "src/config.rs").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values["secrets"]) == set(re.findall(r'"(\w+)"', names))


def test_what_yaml_reads_as_booleans_arrives_as_the_server_has_it():
    [container] = pod_of(*of_kind(render(EVERYTHING), "Deployment"))["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    for name, text in [("TOKEN_CACHE", "off"), ("TRACE_CONTEXT_TO_PROVIDERS", "on"), ("ALLOW_PRIVATE_UPSTREAMS", "true")]:
        assert variables[f"AGENT_AUTH_{name}"] == text


def test_numbers_are_written_as_numbers():
    [container] = pod_of(*of_kind(render(EVERYTHING), "Deployment"))["containers"]
    assert {"name": "AGENT_AUTH_MAX_CONNECTIONS", "value": "3000000"} in container["env"]


def paths(values):
    """The path of each ingress, by its name; all of them lead to the Service."""
    objects = render(values)
    [service] = of_kind(objects, "Service")
    [port] = service["spec"]["ports"]
    [deployment] = of_kind(objects, "Deployment")
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    found = {}
    for ingress in of_kind(objects, "Ingress"):
        [rule] = ingress["spec"]["rules"]
        for path in rule["http"]["paths"]:
            backend = path["backend"]["service"]
            assert (backend["name"], backend["port"]["name"]) == (service["metadata"]["name"], port["name"])
            found.setdefault((ingress["metadata"]["name"], rule["host"]), []).append(path["path"])
    return found


def test_an_own_host_serves_the_api_and_the_pages_and_no_metrics():
    assert not paths(REQUIRED), "without an ingress there is none"
    assert paths(EVERYTHING) == {
        ("agent-auth", "auth.example.com"): ["/v2"],
        ("agent-auth-pages", "auth.example.com"): [
            "/host-oauth-callback", "/v2/auth/callback", "/v2/auth/setup", "/connect", "/connections", "/brand",
            "/host-api-key", "/oauth/client-metadata.json",
        ],
    }
    [tls] = of_kind(render(EVERYTHING), "Ingress")[0]["spec"]["tls"]
    assert tls == {"hosts": ["auth.example.com"], "secretName": "certificate"}


def test_on_langsmiths_host_only_its_own_paths_are_taken():
    assert paths(LANGSMITH) == {
        ("agent-auth", "langsmith.example.com"): ["/api-host/v2/auth"],
        ("agent-auth-pages", "langsmith.example.com"): [
            "/host-oauth-callback", "/api-host/v2/auth/callback", "/api-host/v2/auth/setup", "/connect", "/connections",
            "/brand", "/host-api-key", "/oauth/client-metadata.json",
        ],
    }
    assert all("tls" not in ingress["spec"] for ingress in of_kind(render(LANGSMITH), "Ingress"))


def test_the_callback_is_not_in_the_access_log_of_the_ingress():
    _, pages = of_kind(render(EVERYTHING), "Ingress")
    assert pages["metadata"]["annotations"] == {"nginx.ingress.kubernetes.io/enable-access-log": "false"}


def test_the_network_policy_permits_what_the_server_needs():
    [policy] = of_kind(render(EVERYTHING), "NetworkPolicy")
    [deployment] = of_kind(render(EVERYTHING), "Deployment")
    spec = policy["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    [allowed] = spec["ingress"]
    assert allowed["ports"] == [{"protocol": "TCP", "port": "http"}] and len(allowed["from"]) == 1
    ports = [[port["port"] for port in rule["ports"]] for rule in spec["egress"]]
    assert ports == [[53, 53], [6432, 5432], [443], [8200]]
    assert spec["egress"][1]["to"] == [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert not of_kind(render(REQUIRED | {"networkPolicy": {"enabled": False}}), "NetworkPolicy")


def test_the_service_monitor_finds_the_service():
    objects = render(EVERYTHING | {"fullnameOverride": "broker"})
    [monitor], [service] = of_kind(objects, "ServiceMonitor"), of_kind(objects, "Service")
    # The delivered alerts look for a job of this name.
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "agent-auth"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics" and endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert not of_kind(render(REQUIRED), "ServiceMonitor")


def test_the_schema_is_migrated_by_a_job_or_at_start():
    assert not of_kind(render(REQUIRED), "Job")
    [job] = of_kind(render(EVERYTHING), "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    [container] = pod_of(job)["containers"]
    assert container["args"] == ["migrate"]
    [served] = pod_of(*of_kind(render(EVERYTHING), "Deployment"))["containers"]
    assert (container["image"], container["env"]) == (served["image"], served["env"])
    # The Service and the budget select the servers and not the Job.
    [service] = of_kind(render(EVERYTHING), "Service")
    assert not service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()


def test_long_names_stay_valid():
    objects = render(EVERYTHING | {"fullnameOverride": "a" * 63})
    names = [(document["kind"], document["metadata"]["name"]) for document in objects]
    assert all(len(name) <= 63 for _, name in names) and len(names) == len(set(names))


def test_the_chart_is_of_this_version():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    [container] = pod_of(*of_kind(render(REQUIRED), "Deployment"))["containers"]
    assert container["image"] == f"agent-auth:{version}"
    assert f"\nversion: {version}\n" in (ROOT / "deploy/helm/agent-auth/Chart.yaml").read_text()
