"""The Helm chart: linted, rendered with each set of values, checked with Kubernetes' schemas."""

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.containers import output, script
from tests.deploy.operator_schemas import SCHEMAS
from tests.e2e.processes import ROOT, clean_environment, program

CHART = ROOT / "deploy" / "helm" / "cdi-exporter"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
MANIFESTS = ROOT / "deploy" / "kubernetes"
OLDEST, NEWEST = "1.25", "1.37"
Manifest = dict[str, Any]


def helm(*arguments: str) -> str:
    """The stdout of helm. On stderr it only lists the chart's symbolic links."""
    command = [script("go-tool", "helm"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def refusal(*arguments: str) -> str:
    """The error with which helm refuses to render the chart."""
    command = [script("go-tool", "helm"), "template", "test", str(CHART), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


def render(*arguments: str) -> str:
    """The manifests that Helm renders."""
    return helm("template", "test", str(CHART), f"--kube-version={NEWEST}", *arguments)


def by_kind(rendered: str) -> dict[str, Manifest]:
    """The manifests by kind. Of several dashboards, the last one."""
    return {each["kind"]: each for each in yaml.safe_load_all(rendered) if each}


def manifests(values: Path) -> dict[str, Manifest]:
    """The manifests for a file of values."""
    return by_kind(render(f"--values={values}"))


def ci(name: str) -> dict[str, Manifest]:
    """The manifests for one of the chart's own sets of values."""
    return manifests(CHART / "ci" / f"{name}-values.yaml")


def container(found: Mapping[str, Manifest]) -> Manifest:
    """The only container of the deployment."""
    (only,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_chart_has_no_findings(values: Path) -> None:
    """Helm's linter finds nothing, even with warnings treated as errors."""
    helm("lint", "--strict", f"--kube-version={NEWEST}", f"--values={values}", str(CHART))


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_the_manifests_match_the_kubernetes_schemas(
    values: Path, version: str, tmp_path: Path
) -> None:
    """Each manifest matches the schema of its kind and has no unknown key."""
    file = tmp_path / "manifests.yaml"
    file.write_text(render(f"--values={values}"), "utf-8")
    validate = str(Path(sys.executable).with_name("kubernetes-validate"))
    printed = output(validate, "--strict", "-k", version, str(file))
    judged = printed.count(" passed for resource ")
    others = sum(each["kind"] in SCHEMAS for each in manifests(values).values())
    assert judged + others == len([each for each in yaml.safe_load_all(file.read_text()) if each])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_operator_objects_match_the_operator_api(kind: str) -> None:
    """Objects for the Prometheus operator have only documented keys and types."""
    jsonschema.validate(ci("everything")[kind], SCHEMAS[kind])


def test_prometheus_accepts_the_rules(tmp_path: Path) -> None:
    """Prometheus accepts the rendered rules, and their links have the addresses in the values."""
    spec = ci("everything")["PrometheusRule"]["spec"]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(spec), "utf-8")
    output(program("promtool"), "check", "rules", str(file))
    text = file.read_text("utf-8")
    assert "https://wiki.test/runbooks/BrazeCDI" in text
    assert "https://grafana.test/d/" in text
    assert "example.com" not in text


def test_the_packaged_chart_contains_the_rules_and_dashboards(tmp_path: Path) -> None:
    """In the working tree they are symbolic links. The archive contains the files themselves."""
    helm("package", str(CHART), f"--destination={tmp_path}")
    (packed,) = tmp_path.glob("*.tgz")
    with tarfile.open(packed) as archive:
        assert all(member.isfile() for member in archive)
        found = {
            Path(member.name).name: stream.read()
            for member in archive
            if "/files/" in member.name and (stream := archive.extractfile(member))
        }
    sources = [ROOT / "prometheus" / "kubernetes" / "prometheusrule.yml"]
    sources += (ROOT / "grafana" / "dashboards").glob("*.json")
    assert found == {path.name: path.read_bytes() for path in sources}


def test_a_release_of_the_chart_pulls_the_image_of_the_release(tmp_path: Path) -> None:
    """`make chart` writes the image's repository into the archive, not into the checkout."""
    copy = tmp_path / "checkout"
    for name in ("deploy", "grafana", "prometheus"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True)
    image = "IMAGE=registry.example.com/somewhere/cdi-exporter"
    helm_program = f"HELM={script('go-tool', 'helm')}"
    makefile = f"--makefile={ROOT / 'Makefile'}"
    output("make", "--silent", makefile, "chart", image, helm_program, cwd=copy)
    (packed,) = (copy / "dist").glob("*.tgz")
    found = by_kind(
        helm("template", "test", str(packed), f"--kube-version={NEWEST}", "--set=demo=true")
    )
    version = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["appVersion"]
    assert container(found)["image"] == f"registry.example.com/somewhere/cdi-exporter:{version}"
    assert (copy / "deploy/helm/cdi-exporter/values.yaml").read_bytes() == (
        CHART / "values.yaml"
    ).read_bytes()


def _rules(*values: str) -> dict[str, Any]:
    rendered = yaml.safe_load_all(render("--set=demo=true,prometheusRule.enabled=true", *values))
    (found,) = (each for each in rendered if each and each["kind"] == "PrometheusRule")
    return {group["name"]: group for group in found["spec"]["groups"]}


def test_links_are_left_out_without_an_address() -> None:
    """No alert has an annotation with an incomplete link."""
    alerts = [rule for group in _rules().values() for rule in group["rules"] if "alert" in rule]
    assert len(alerts) > 20
    for rule in alerts:
        assert set(rule["annotations"]) == {"summary", "description", "action"}


def test_the_alert_on_a_missing_target_can_be_left_out() -> None:
    """It is optional for a Prometheus whose shards do not all scrape the exporter."""
    with_it, without = _rules(), _rules("--set=prometheusRule.exporterAbsent=false")
    assert set(with_it) - set(without) == {"braze-cdi-absent"}


def test_each_dashboard_becomes_a_config_map() -> None:
    """Grafana's sidecar finds it by its label. The dashboard is unchanged."""
    rendered = yaml.safe_load_all(render(f"--values={CHART / 'ci' / 'everything-values.yaml'}"))
    found = {
        name: text
        for each in rendered
        if each and "grafana_dashboard" in each["metadata"]["labels"]
        for name, text in each["data"].items()
    }
    dashboards = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
    assert {path.name: path.read_text("utf-8") for path in dashboards} == found


def test_two_replicas_without_a_database_are_refused() -> None:
    """The message says what they need."""
    printed = refusal(f"--kube-version={NEWEST}", QUICK_START, "--set=replicaCount=2")
    assert "replicaCount=2 needs a database that the replicas share: set state.url" in printed
    assert "docs/several-exporters.md" in printed


WATCHED_ONE = "braze.restEndpoint=rest.iad-03.braze.com,apiKeys.existingSecret=braze"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("", "nothing to watch: set braze.restEndpoint"),
        ("braze.restEndpoint=rest.iad-03.braze.com", "needs apiKeys.existingSecret"),
        ("demo=true,config.workspaces[0].name=a", "watches a simulated workspace only"),
        ("config.workspaces[0].api_key=secret", "would be readable in a config map"),
        ("demo=true,persistance.enabled=true", "persistance"),
        ("demo=true,service.port=0", "/service/port"),
        ("demo=true,service.ipFamilyPolicy=Both", "/service/ipFamilyPolicy"),
        ("demo=true,podDisruptionBudget.maxUnavailable=some", "/podDisruptionBudget"),
        ("demo=true,replicaCount=0", "/replicaCount"),
        ("demo=true,state.url=mysql://db/cdi", "/state/url"),
        ("demo=true,state.existingSecret=database", "demo=true keeps no counters"),
        (f"{WATCHED_ONE},state.ca.existingSecret=ca", "state.ca is the authority of a database"),
        (f"{WATCHED_ONE},state.url=postgresql://cdi:secret@db/cdi", "would be readable in the pod"),
        (f"{WATCHED_ONE},state.url=postgresql://db/cdi?password=a", "would be readable in the pod"),
    ],
)
def test_a_wrong_value_is_reported(values: str, words: str) -> None:
    """Helm rejects values that cannot work and says what to set."""
    assert words in refusal(f"--kube-version={NEWEST}", f"--set={values}")


def test_every_value_is_documented_and_has_a_schema() -> None:
    """The schema has exactly the values of values.yaml and allows no others."""
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    schema = yaml.safe_load((CHART / "values.schema.json").read_text("utf-8"))
    assert list(keys(values)) == [path for path in described(schema) if path not in OF_HELM]


OF_HELM = ("enabled", "global")
"""Values that Helm adds to those of a dependency."""

OPEN = ("config", "podSecurityContext", "securityContext", "resources")
"""Values whose contents Kubernetes or the exporter define."""


def keys(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of the values."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        inner = isinstance(value, dict) and value and path not in OPEN
        if inner and not path.endswith("annotations"):
            yield from keys(value, f"{path}.")
        else:
            yield path


def described(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths in the schema."""
    assert schema["additionalProperties"] is False
    for key, value in schema["properties"].items():
        path = f"{prefix}{key}"
        if "properties" in value and path not in OPEN:
            yield from described(value, f"{path}.")
        else:
            yield path


def test_the_flags_are_those_of_the_exporter() -> None:
    """Each flag in the chart is a flag of `serve` or `demo`."""
    for name in ("everything", "demo", "workspaces", "database"):
        command, *flags = container(ci(name))["args"]
        printed = subprocess.run(
            [sys.executable, "-m", "cdi_exporter", command, *flags, "--help"],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        assert all(flag.partition("=")[0] in printed for flag in flags)


def test_the_exporter_loads_the_rendered_configuration(tmp_path: Path) -> None:
    """The exporter loads the file from the config map. Only the keys are missing in this test."""
    file = tmp_path / "config.yml"
    file.write_text(ci("workspaces")["ConfigMap"]["data"]["config.yml"], "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cdi_exporter", f"--config.file={file}"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all("api_key_file: the file " in line and " cannot be read" in line for line in lines)


@pytest.mark.parametrize("name", ["quick-start", "workspaces", "demo", "database"])
def test_the_pod_is_restricted(name: str) -> None:
    """It meets the "restricted" Pod Security Standard, and only /data is writable."""
    found = ci(name)
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container(found)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


NAMESPACE = range(1_000_680_000, 1_000_690_000)
"""The users and groups that OpenShift assigns to a namespace."""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
VOLUMES |= {"projected", "secret"}


def objections(found: Mapping[str, Manifest]) -> list[str]:
    """The reasons why OpenShift's security context constraint restricted-v2 would refuse the pod.

    The rules are those of its documentation: users and groups in the namespace's range (or left to
    OpenShift), no privileges, and no access to the host.
    """
    pod = found["Deployment"]["spec"]["template"]["spec"]
    contexts = [pod["securityContext"], container(found)["securityContext"]]
    reasons = [
        f"{key}: {context[key]} is not in the namespace's range"
        for context in contexts
        for key in ("runAsUser", "fsGroup")
        if context.get(key) is not None and context[key] not in NAMESPACE
    ]
    for context in contexts:
        forbidden = {"supplementalGroups", "seLinuxOptions", "sysctls", "privileged", "procMount"}
        reasons += [f"{key} is set" for key in forbidden & context.keys()]
        if context.get("seccompProfile", {"type": "RuntimeDefault"}) != {"type": "RuntimeDefault"}:
            reasons.append("seccompProfile")
    own = contexts[1]
    if own.get("allowPrivilegeEscalation") is not False or "ALL" not in own["capabilities"]["drop"]:
        reasons.append("privileges are not dropped")
    reasons += [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if key in pod]
    kinds = {kind for each in pod["volumes"] for kind in each if kind != "name"}
    reasons += [f"volume of kind {kind}" for kind in kinds - VOLUMES]
    reasons += ["hostPort" for port in container(found)["ports"] if "hostPort" in port]
    return reasons


QUICK_START = f"--values={CHART / 'ci' / 'quick-start-values.yaml'}"


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--set=openshift.enabled=true"], id="chosen"),
        pytest.param(["--api-versions=security.openshift.io/v1"], id="found"),
        pytest.param(["--set=podSecurityContext=null"], id="no context"),
        pytest.param(
            [f"--set=podSecurityContext.{key}=null" for key in ("runAsUser", "runAsGroup")]
            + ["--set=podSecurityContext.fsGroup=null", "--set=openshift.enabled=false"],
            id="nulls",
        ),
    ],
)
def test_openshift_admits_the_pod(options: list[str]) -> None:
    """Its user and groups are left to OpenShift, and it requests no other privileges."""
    found = by_kind(render(QUICK_START, *options))
    assert objections(found) == []
    for context in (found["Deployment"]["spec"]["template"]["spec"], container(found)):
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & context["securityContext"].keys()


def test_openshift_admits_the_pod_of_the_openshift_example() -> None:
    """The values for OpenShift still meet the Pod Security Standard."""
    found = ci("openshift")
    assert objections(found) == []
    pod = found["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize(
    "options",
    [[], ["--api-versions=security.openshift.io/v1", "--set=openshift.enabled=false"]],
)
def test_without_openshift_the_pod_has_a_fixed_user(options: list[str]) -> None:
    """Kubernetes does not assign a user, so the chart does. Restricted-v2 would refuse it."""
    found = by_kind(render(QUICK_START, *options))
    context = found["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (65532,) * 3
    assert len(objections(found)) == 2


def dns(*options: str) -> list[Manifest]:
    """The network policy's rules for traffic to DNS."""
    found = by_kind(render("--set=demo=true,networkPolicy.enabled=true", *options))
    rules = found["NetworkPolicy"]["spec"]["egress"]
    assert {"ports": [{"port": 443}]} in rules
    return [rule for rule in rules if rule != {"ports": [{"port": 443}]}]


def test_names_resolve_under_the_network_policy() -> None:
    """DNS pods listen on 53, those of OpenShift on 5353. Both are open for UDP and TCP."""
    (rule,) = dns()
    opened = {(each["port"], each["protocol"]) for each in rule.pop("ports")}
    assert opened == {(port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")}
    assert rule == {}


def test_access_to_dns_can_be_restricted(tmp_path: Path) -> None:
    """The values can set other ports, certain pods, or complete rules."""
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"networkPolicy": {"dns": {"ports": [1053], "to": [peer]}}}))
    (rule,) = dns(f"--values={values}")
    assert {each["port"] for each in rule["ports"]} == {1053}
    assert rule["to"] == [peer]
    assert dns("--set-json=networkPolicy.dns.ports=[]") == []


@pytest.mark.parametrize(
    ("options", "policy", "families"),
    [
        ([], None, None),
        (['--set-json=service.ipFamilies=["IPv6"]'], None, ["IPv6"]),
        (["--set=service.ipFamilyPolicy=PreferDualStack"], "PreferDualStack", None),
        (
            [
                "--set=service.ipFamilyPolicy=RequireDualStack",
                '--set-json=service.ipFamilies=["IPv6","IPv4"]',
            ],
            "RequireDualStack",
            ["IPv6", "IPv4"],
        ),
    ],
)
def test_a_service_has_the_configured_address_families(
    options: list[str], policy: str | None, families: list[str] | None
) -> None:
    """IPv6 only, both, or the cluster's default. The exporter listens on all addresses."""
    found = by_kind(render("--set=demo=true", *options))
    assert found["Service"]["spec"].get("ipFamilyPolicy") == policy
    assert found["Service"]["spec"].get("ipFamilies") == families
    assert "--web.listen-address=:10234" in container(found)["args"]


def test_a_pair_is_spread_and_has_one_disruption_budget() -> None:
    """The budget, and constraints without a selector, count pods of all the chart's releases."""
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    own = {**spread, "labelSelector": {"matchLabels": {"team": "data"}}}
    options = [
        f"--set-json=topologySpreadConstraints={json.dumps([spread, own])}",
        "--set=demo=true,podDisruptionBudget.enabled=true",
    ]
    found = by_kind(render(*options))
    pair = {"matchLabels": {"app.kubernetes.io/name": "cdi-exporter"}}
    pod = found["Deployment"]["spec"]["template"]
    assert pod["spec"]["topologySpreadConstraints"] == [{**spread, "labelSelector": pair}, own]
    budget = found["PodDisruptionBudget"]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": pair}
    assert pair["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert "PodDisruptionBudget" not in ci("quick-start")


def test_flags_variables_and_volumes_can_be_added() -> None:
    """Flags, variables, volumes and pull secrets are added unchanged."""
    found = ci("everything")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert container(found)["args"][-2:] == ["--web.enable-lifecycle", "--scrape.timeout-offset=1s"]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"} in (
        container(found)["env"]
    )
    assert {"name": "authorities", "configMap": {"name": "authorities"}} in pod["volumes"]
    assert "authorities" in {each["name"] for each in container(found)["volumeMounts"]}
    assert pod["imagePullSecrets"] == [{"name": "registry"}]


def parent(folder: Path, values: Manifest, **dependency: str) -> Path:
    """A chart that depends on this one, as after `helm dependency build`."""
    chart = folder / "platform"
    chart.mkdir()
    wanted = {"name": "cdi-exporter", "version": ">=0.1.0-0", "repository": f"file://{CHART}"}
    about: Manifest = {"apiVersion": "v2", "name": "platform", "version": "1.0.0"}
    about["dependencies"] = [wanted | dependency]
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about), "utf-8")
    (chart / "values.yaml").write_text(yaml.safe_dump(values), "utf-8")
    helm("dependency", "build", str(chart))
    return chart


def rendered_with(chart: Path, *options: str) -> dict[str, Manifest]:
    """The manifests of a chart and its dependencies."""
    return by_kind(helm("template", "test", str(chart), f"--kube-version={NEWEST}", *options))


WATCHED = {"braze": {"restEndpoint": "rest.iad-03.braze.com"}, "apiKeys": {"existingSecret": "b"}}


def test_the_chart_can_be_an_optional_dependency(tmp_path: Path) -> None:
    """It has a condition and global values, which Helm adds to the chart's own."""
    values = {"global": {"team": "data"}, "cdi-exporter": {"enabled": True, **WATCHED}}
    chart = parent(tmp_path, values, condition="cdi-exporter.enabled")
    helm("lint", "--strict", f"--kube-version={NEWEST}", str(chart))
    found = rendered_with(chart)
    assert found["Deployment"]["metadata"]["name"] == "test-cdi-exporter"
    everything = ["serviceMonitor", "prometheusRule", "dashboards", "networkPolicy"]
    switches = [f"--set=cdi-exporter.{each}.enabled=true" for each in everything]
    more = rendered_with(chart, *switches)
    assert {"ServiceMonitor", "PrometheusRule", "NetworkPolicy", "ConfigMap"} <= more.keys()
    assert rendered_with(chart, "--set=cdi-exporter.enabled=false") == {}


def test_the_chart_can_be_a_dependency_with_an_alias(tmp_path: Path) -> None:
    """The alias is the key of the values and part of the objects' names."""
    values = {"braze-cdi": {"enabled": True, **WATCHED}}
    chart = parent(tmp_path, values, alias="braze-cdi", condition="braze-cdi.enabled")
    found = rendered_with(chart)
    assert found["Deployment"]["metadata"]["name"] == "test-braze-cdi"
    assert (
        found["Service"]["spec"]["selector"]
        == (found["Deployment"]["spec"]["selector"]["matchLabels"])
    )


def test_values_of_a_dependency_can_be_null(tmp_path: Path) -> None:
    """Values that can be null in this chart can be null in a parent chart, too."""
    nothing = dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"))
    chart = parent(tmp_path, {"cdi-exporter": {"podSecurityContext": nothing, **WATCHED}})
    found = rendered_with(chart)
    assert objections(found) == []


def test_a_wrong_value_of_a_dependency_is_refused(tmp_path: Path) -> None:
    """A misspelt key of a dependency is an error, too."""
    chart = parent(tmp_path, {"cdi-exporter": {"enabeld": True, **WATCHED}})
    command = [script("go-tool", "helm"), "template", "test", str(chart)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "enabeld" in done.stderr


def test_only_one_pod_at_a_time_mounts_the_state() -> None:
    """There is one replica with the strategy Recreate.

    Its claim for the state outlives the release.
    """
    found = ci("quick-start")
    spec = found["Deployment"]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert "--state.file=/data/state.sqlite" in container(found)["args"]
    claim = found["PersistentVolumeClaim"]["metadata"]
    assert {"name": "data", "persistentVolumeClaim": {"claimName": claim["name"]}} in (
        spec["template"]["spec"]["volumes"]
    )
    assert claim["annotations"] == {"helm.sh/resource-policy": "keep"}


def variables(found: Mapping[str, Manifest]) -> dict[str, Any]:
    """The exporter's environment variables by name, each with its value or its source."""
    listed = container(found)["env"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in listed}


def test_replicas_share_a_database() -> None:
    """There are two replicas with rolling updates.

    The URL and the password come from the secret.
    """
    found = ci("database")
    spec = found["Deployment"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
    }
    given = variables(found)
    assert given["CDI_EXPORTER_STATE_URL"] == {"secretKeyRef": {"name": "database", "key": "url"}}
    password = given["PGPASSWORD"]["secretKeyRef"]
    assert (password["name"], password["key"]) == ("database", "password")
    assert "PGSSLROOTCERT" not in given


def test_a_database_replaces_the_state_file() -> None:
    """There is no claim and no flag, and the image's variable for the state file is empty."""
    found = ci("database")
    assert "PersistentVolumeClaim" not in found
    assert not [flag for flag in container(found)["args"] if "state" in flag]
    assert variables(found)["CDI_EXPORTER_STATE_FILE"] == ""
    volumes = found["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "emptyDir": {}} in volumes


def test_replicas_with_a_database_are_spread_and_have_a_disruption_budget() -> None:
    """They are spread over nodes and zones if possible. The budget covers this release only."""
    found = ci("database")
    template = found["Deployment"]["spec"]["template"]
    own = {"matchLabels": found["Deployment"]["spec"]["selector"]["matchLabels"]}
    assert template["spec"]["topologySpreadConstraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": own,
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]
    assert found["PodDisruptionBudget"]["spec"] == {"maxUnavailable": 1, "selector": own}
    off = "--set=podDisruptionBudget.enabled=false"
    database = f"--values={CHART / 'ci' / 'database-values.yaml'}"
    bare = by_kind(render(database, off, "--set-json=topologySpreadConstraints=[]"))
    assert "PodDisruptionBudget" not in bare
    assert "topologySpreadConstraints" not in bare["Deployment"]["spec"]["template"]["spec"]
    assert by_kind(render(database, "--set=replicaCount=1"))["Deployment"]["spec"]["replicas"] == 1


def test_a_scrape_reaches_each_replica() -> None:
    """The monitor selects the service. Its endpoints are the pods, and each becomes a target."""
    found = ci("database")
    selected = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert selected.items() <= found["Service"]["metadata"]["labels"].items()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"].items() <= labels.items()


def test_the_ca_certificate_of_the_database_is_mounted() -> None:
    """Only the certificate is mounted, and libpq finds it by its variable."""
    found = ci("everything")
    given = variables(found)
    assert given["CDI_EXPORTER_STATE_URL"].startswith("postgresql://cdi@db.example.com,")
    assert given["PGPASSWORD"]["secretKeyRef"]["key"] == "pass"
    (mount,) = (each for each in container(found)["volumeMounts"] if each["name"] == "database-ca")
    assert given["PGSSLROOTCERT"] == f"{mount['mountPath']}/ca.crt"
    (volume,) = (
        each["secret"]
        for each in found["Deployment"]["spec"]["template"]["spec"]["volumes"]
        if each["name"] == "database-ca"
    )
    assert volume == {
        "secretName": "database-ca",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }


def test_the_network_policy_allows_access_to_the_database() -> None:
    """It opens the ports and peers in the values. Without a database there is no such rule."""
    to = [{"ipBlock": {"cidr": "10.0.0.2/32"}}]
    rules = ci("everything")["NetworkPolicy"]["spec"]["egress"]
    assert {"ports": [{"port": 5432}, {"port": 6432}], "to": to} in rules
    assert {"ports": [{"port": 5432}]} in ci("database")["NetworkPolicy"]["spec"]["egress"]
    assert "5432" not in json.dumps(dns())


def test_probes_use_the_health_path() -> None:
    """Probes have no credentials, so they use the listener that does not require any."""
    only = container(ci("everything"))
    assert "--web.health-address=:10235" in only["args"]
    assert {"name": "health", "containerPort": 10235} in only["ports"]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert only[probe]["httpGet"]["port"] == "health"


def test_a_key_comes_from_a_secret_only() -> None:
    """No manifest has a field for a key. The quick start reads the key from a file."""
    found = ci("quick-start")
    assert "Secret" not in found
    environment = {each["name"]: each["value"] for each in container(found)["env"]}
    assert environment["BRAZE_API_KEY_FILE"] == "/run/secrets/braze/api-key"
    assert "BRAZE_API_KEY" not in environment


def test_the_plain_manifests_match_the_chart() -> None:
    """deploy/kubernetes is the chart's output, for users without Helm."""
    rendered = helm(
        *("template", "cdi-exporter", str(CHART), "--namespace=monitoring"),
        *(f"--kube-version={NEWEST}", f"--values={MANIFESTS / 'values.yaml'}"),
    )
    committed = (MANIFESTS / "cdi-exporter.yaml").read_text("utf-8")
    assert committed.strip() == rendered.strip(), "run make manifests"


def test_the_chart_has_the_exporters_version() -> None:
    """The chart installs the exporter of the same commit."""
    from cdi_exporter import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == chart["version"] == __version__
