"""Renders the Helm chart, with the values that the tests look at."""

import os
import subprocess
from pathlib import Path

import yaml

from broker import ROOT

HELM = Path(os.environ.get("TEST_HELM", ROOT / ".venv/bin/helm"))
CHART = ROOT / "deploy/helm/agent-auth"

REQUIRED = {
    "publicUrl": "https://auth.example.com",
    "secrets": {"database_url": {"name": "database"}, "encryption_keys": {"name": "keys"}},
}
EVERYTHING = REQUIRED | {
    "image": {"repository": "registry.example.com/agent-auth", "digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry"}],
    "secrets": REQUIRED["secrets"] | {"listen_database_url": {"name": "direct"},
        "bootstrap_api_key": {"name": "admin", "key": "key"}, "vault_token": {"name": "vault"},
        "console_oidc_client_secret": {"name": "console"}},
    "settings": {"max_connections": 3000000, "database_pooler": "transaction", "consent": "verify",
        "token_cache": False, "trace_context_to_providers": True, "allow_private_upstreams": True,
        "vault_address": "https://vault.example.com:8200"},
    "migration": {"by": "job"},
    "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "certificate"},
    "networkPolicy": {
        "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}],
        "database": {"ports": [6432, 5432], "to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}]},
        "egress": [{"ports": [{"protocol": "TCP", "port": 8200}]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "serviceAccount": {"annotations": {"example.com/role": "agent-auth"}},
    "service": {"annotations": {"example.com/a": "b"}},
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"team": "agents"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "agents", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.pem"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
}
LANGSMITH = yaml.safe_load((ROOT / "deploy/kubernetes/values/langsmith.yaml").read_text())


def helm(command, values, *arguments):
    """The finished `helm`, which reads the values from its standard input."""
    return subprocess.run(
        [HELM, *command, CHART, "--values", "-", *arguments],
        input=yaml.safe_dump(values), capture_output=True, text=True, timeout=60,
    )


def render(values, release="agent-auth"):
    """The objects that the chart makes."""
    done = helm(["template", release], values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(objects, kind):
    return [document for document in objects if document["kind"] == kind]


def pod_of(document):
    """The spec of the Pods that a Deployment or a Job makes."""
    return document["spec"]["template"]["spec"]
