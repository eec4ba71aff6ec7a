"""The Kubernetes manifests, as they stand and as kustomize puts them together."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fireredtts2.engine.front import AnyEngine
from fireredtts2.serving.address import DEFAULT_PORT, DRAIN_S
from fireredtts2.serving.environment import API_KEYS_FILE, variables
from fireredtts2.serving.metrics import Metrics
from tests.deploy.processes import program
from tests.tiny import scripted_engine

yaml = pytest.importorskip("yaml")

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "cuda")
LABEL = {"app.kubernetes.io/name": "fireredtts2"}
KINDS = {
    "ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PersistentVolumeClaim",
    "PodDisruptionBudget", "Service",
}  # fmt: skip


def built(overlay: str) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    kubectl = program("kubectl")
    if kubectl is None:
        pytest.skip("needs kubectl, which puts the overlays together")
    done = subprocess.run(
        [kubectl, "kustomize", FOLDER / overlay], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def base(kind: str) -> dict[str, Any]:
    """The one manifest of a kind."""
    found = [
        manifest
        for path in (FOLDER / "base").glob("*.yaml")
        for manifest in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if manifest["kind"] == kind
    ]
    assert len(found) == 1
    return found[0]


def pod() -> dict[str, Any]:
    return base("Deployment")["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return only


# --- As they stand ------------------------------------------------------------------------------


def test_everything_is_in_the_kustomization():
    listed = base("Kustomization")["resources"]
    files = {path.name for path in (FOLDER / "base").glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed) == files


def test_probes_ask_what_the_server_answers():
    server = container()
    assert server["ports"] == [{"name": "http", "containerPort": DEFAULT_PORT}]
    paths = {name: server[f"{name}Probe"]["httpGet"]["path"]
             for name in ("startup", "liveness", "readiness")}  # fmt: skip
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/ping"}


def test_those_who_listen_hear_the_end():
    _, wait_s = container()["lifecycle"]["preStop"]["exec"]["command"]
    readiness = container()["readinessProbe"]
    assert int(wait_s) >= readiness["periodSeconds"] * readiness["failureThreshold"]
    assert pod()["terminationGracePeriodSeconds"] > int(wait_s) + DRAIN_S


def test_the_pod_may_do_nothing_but_serve():
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["enableServiceLinks"] is False, "FIREREDTTS2_PORT would be an address"
    allowed = container()["securityContext"]
    assert allowed["allowPrivilegeEscalation"] is False
    assert allowed["readOnlyRootFilesystem"] is True
    assert allowed["capabilities"] == {"drop": ["ALL"]}


def test_no_pod_starts_without_keys():
    (keys,) = [volume["secret"] for volume in pod()["volumes"] if "secret" in volume]
    assert not keys.get("optional", False)
    (path,) = [one["value"] for one in container()["env"] if one["name"] == API_KEYS_FILE]
    (mount,) = [one for one in container()["volumeMounts"] if one["name"] == "keys"]
    assert path == f"{mount['mountPath']}/api_keys"


def test_settings_are_those_that_are_read():
    generated = base("Kustomization")["configMapGenerator"][0]["literals"]
    names = {line.split("=")[0] for line in generated} | {one["name"] for one in container()["env"]}
    assert names <= {*variables().values(), API_KEYS_FILE}


def test_selectors_select_our_pods_and_no_others():
    assert base("Deployment")["spec"]["selector"] == {"matchLabels": LABEL}
    assert base("PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": LABEL}
    assert base("NetworkPolicy")["spec"]["podSelector"] == {"matchLabels": LABEL}
    assert base("Service")["spec"]["selector"] == LABEL


def test_the_autoscalers_metric_is_made_of_ours():
    (wanted,) = base("HorizontalPodAutoscaler")["spec"]["metrics"]
    adapter = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text(encoding="utf-8"))
    (rule,) = adapter["rules"]["custom"]
    assert wanted["pods"]["metric"]["name"] == rule["name"]["as"]
    engine: AnyEngine = scripted_engine()
    exported = {family.name for family in Metrics(engine).registry.collect()}
    asked = re.findall(r"fireredtts2_\w+", rule["seriesQuery"] + rule["metricsQuery"])
    assert len(set(asked)) == 2
    assert set(asked) <= exported


def test_the_autoscaler_acts_before_the_last_slot_is_taken():
    (wanted,) = base("HorizontalPodAutoscaler")["spec"]["metrics"]
    (slots,) = [
        int(line.split("=")[1])
        for line in base("Kustomization")["configMapGenerator"][0]["literals"]
        if line.startswith("FIREREDTTS2_SLOTS=")
    ]
    assert 1 <= int(wanted["pods"]["target"]["averageValue"]) < slots


# --- As kustomize puts them together ------------------------------------------------------------


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_valid_by_kubernetes_own_schemas(overlay: str):
    validator = pytest.importorskip("kubernetes_validate", reason="make test-deploy installs it")
    manifests = built(overlay)
    assert {manifest["kind"] for manifest in manifests} == KINDS
    for manifest in manifests:
        validator.validate(manifest, "1.34", strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_pick_the_image_and_the_device(overlay: str):
    (deployment,) = [one for one in built(overlay) if one["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    assert LABEL.items() <= template["metadata"]["labels"].items()
    (server,) = template["spec"]["containers"]
    assert server["image"] == f"fireredtts2:{overlay}"
    assert {"name": "FIREREDTTS2_DEVICE", "value": overlay} in server["env"]
    gpus = server["resources"]["limits"].get("nvidia.com/gpu")
    assert gpus == ("1" if overlay == "cuda" else None)
