"""Checks docker-compose.yml and examples/kubernetes without an engine or a cluster.

Guards what nobody would see before the first start: fields that the published schemas do not know,
names that lead nowhere, ports that nobody listens on, and less time to stop than a drain takes.
Not here: whether an image can be pulled, or what Traefik makes of its flags.

    check.py [--gangline BINARY] [ROOT]

With a binary, the flags in the files must be flags of that binary, too. Exits 1 with one line a mistake.
"""

import argparse
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

# The oldest Kubernetes on which a manifest may rely, and the newest that is known here.
KUBERNETES = ("1.33", "1.37")
# What a dispatcher takes after its drain to cut what is left: `CUT_WITHIN` in src/server/mod.rs.
DISPATCHER_CUT = 5
# What a worker's jobs have after its drain, between SIGTERM and SIGKILL, unless they ask for more.
JOB_GRACE = 10

WORKLOADS = {"Deployment", "StatefulSet"}


def check(root: Path, gangline: str | None = None) -> list[str]:
    """Every mistake in the files below `root`, in words."""
    compose = root / "docker-compose.yml"
    manifests = sorted(path for path in (root / "examples/kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
    services = yaml.safe_load(compose.read_text())
    traefik = yaml.safe_load((root / "examples/traefik/dynamic.yml").read_text())
    documents = [document for path in manifests for document in yaml.safe_load_all(path.read_text())]
    mistakes = compose_schema(services) + kubernetes_schemas(documents)
    if mistakes:
        return mistakes  # What follows trusts the shapes.
    mistakes += compose_names(services, traefik)
    mistakes += compose_times(services)
    mistakes += kustomization(root / "examples/kubernetes/kustomization.yaml", manifests)
    mistakes += kubernetes_names(documents)
    mistakes += kubernetes_times(documents)
    if gangline:
        mistakes += flags(gangline, services, documents)
    return mistakes


def compose_schema(compose: dict) -> list[str]:
    text = (resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text()
    schema = json.loads(text)
    found = jsonschema.validators.validator_for(schema)(schema).iter_errors(compose)
    return [f"docker-compose.yml: {where(error)}: {error.message}" for error in found]


def kubernetes_schemas(documents: list[dict]) -> list[str]:
    mistakes = []
    for document in documents:
        for version in KUBERNETES:
            name = f"{document['kind']} {document['metadata']['name']} in Kubernetes {version}"
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                mistakes.append(f"{name}: {where(error)}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError as error:
                mistakes.append(f"{name}: {error.message}")
    return mistakes


def where(error: jsonschema.ValidationError) -> str:
    return ".".join(str(step) for step in error.absolute_path)


def compose_names(compose: dict, traefik: dict) -> list[str]:
    mistakes = []
    known = {kind: set(compose.get(kind, {})) for kind in ("services", "volumes", "networks")}
    for name, service in compose["services"].items():
        volumes = {volume.split(":")[0] for volume in service.get("volumes", [])}
        for kind, used in (
            ("volumes", {volume for volume in volumes if not volume.startswith((".", "/"))}),
            ("networks", set(service.get("networks", []))),
            ("services", set(service.get("depends_on", {}))),
        ):
            mistakes += [f"docker-compose.yml: {name}: {lost} is not among the {kind}" for lost in sorted(used - known[kind])]
    dispatchers = {name for name, service in compose["services"].items() if part(service.get("command")) == "serve"}
    servers = traefik["http"]["services"]["dispatchers"]["loadBalancer"]["servers"]
    routed = {re.fullmatch(r"http://([^:]+):3000", server["url"])[1] for server in servers}
    if routed != dispatchers:
        mistakes.append(f"examples/traefik: requests go to {sorted(routed)}, the dispatchers are {sorted(dispatchers)}")
    return mistakes


def compose_times(compose: dict) -> list[str]:
    return [
        f"docker-compose.yml: {name}: stop_grace_period is {given} s, a stop can take {needed} s"
        for name, service in compose["services"].items()
        if (needed := time_to_stop(service.get("command")))
        and (given := seconds(service.get("stop_grace_period", "10s"))) <= needed
    ]


def kustomization(path: Path, manifests: list[Path]) -> list[str]:
    listed = yaml.safe_load(path.read_text())["resources"]
    names = [manifest.name for manifest in manifests]
    return [f"kustomization.yaml: lists {listed}, there are {names}"] if listed != names else []


def kubernetes_names(documents: list[dict]) -> list[str]:
    named = {(document["kind"], document["metadata"]["name"]): document for document in documents}
    pods = {key: document["spec"]["template"] for key, document in named.items() if key[0] in WORKLOADS}
    mistakes = []

    def expect(wanted: bool, key: tuple[str, str], complaint: str) -> None:
        if not wanted:
            mistakes.append(f"{key[0]} {key[1]}: {complaint}")

    def selected(labels: dict) -> list[dict]:
        return [pod for pod in pods.values() if labels.items() <= pod["metadata"]["labels"].items()]

    for key, pod in pods.items():
        expect(pod in selected(named[key]["spec"]["selector"]["matchLabels"]), key, "does not select its own pods")
        spec = pod["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in named[key]["spec"].get("volumeClaimTemplates", [])}
        for volume in spec.get("volumes", []):
            if claim := volume.get("persistentVolumeClaim"):
                expect(("PersistentVolumeClaim", claim["claimName"]) in named, key, f"no claim {claim['claimName']}")
        if account := spec.get("serviceAccountName"):
            expect(("ServiceAccount", account) in named, key, f"no service account {account}")
        for container in spec["containers"]:
            for mount in container.get("volumeMounts", []):
                expect(mount["name"] in volumes, key, f"no volume {mount['name']}")
            ports = {port["name"] for port in container.get("ports", [])}
            for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
                asked = container.get(probe, {})
                if port := (asked.get("httpGet") or asked.get("tcpSocket") or {}).get("port"):
                    expect(port in ports, key, f"{probe} asks a port {port} that it has not")
        if service := named[key]["spec"].get("serviceName"):
            expect(("Service", service) in named, key, f"no service {service}")
    for key, document in named.items():
        spec = document.get("spec", {})
        if key[0] == "Service":
            chosen = selected(spec["selector"])
            expect(bool(chosen), key, "selects no pods")
            for port in spec["ports"]:
                has = all(port["targetPort"] in {p["name"] for c in pod["spec"]["containers"] for p in c["ports"]} for pod in chosen)
                expect(has, key, f"its pods have no port {port['targetPort']}")
        elif key[0] in {"PodDisruptionBudget", "NetworkPolicy"}:
            selector = spec.get("selector") or spec["podSelector"]
            peers = [peer["podSelector"] for rule in spec.get("ingress", []) for peer in rule["from"]]
            for labels in (selector, *peers):
                expect(bool(selected(labels["matchLabels"])), key, f"selects no pods by {labels['matchLabels']}")
        elif key[0] == "Ingress":
            expect(("IngressClass", spec["ingressClassName"]) in named, key, f"no class {spec['ingressClassName']}")
            for path in (path for rule in spec["rules"] for path in rule["http"]["paths"]):
                to = path["backend"]["service"]
                service = named.get(("Service", to["name"]))
                offers = service and to["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
                expect(bool(offers), key, f"{path['path']} leads to {to['name']}:{to['port']['name']}, which is not there")
        elif key[0] in {"RoleBinding", "ClusterRoleBinding"}:
            ends = [document["roleRef"], *document["subjects"]]
            for end in ends:
                expect((end["kind"], end["name"]) in named, key, f"no {end['kind']} {end['name']}")
    return mistakes


def kubernetes_times(documents: list[dict]) -> list[str]:
    mistakes = []
    for document in documents:
        if document["kind"] not in WORKLOADS:
            continue
        spec = document["spec"]["template"]["spec"]
        given = spec.get("terminationGracePeriodSeconds", 30)
        for container in spec["containers"]:
            needed = time_to_stop(container.get("args"))
            if needed:
                needed += container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                if given <= needed:
                    name = document["metadata"]["name"]
                    mistakes.append(f"{document['kind']} {name}: it has {given} s to end, a stop can take {needed} s")
    return mistakes


def flags(gangline: str, compose: dict, documents: list[dict]) -> list[str]:
    commands = [(name, service.get("command")) for name, service in compose["services"].items()]
    commands += [
        (f"{document['kind']} {document['metadata']['name']}", container.get("args"))
        for document in documents
        if document["kind"] in WORKLOADS
        for container in document["spec"]["template"]["spec"]["containers"]
    ]
    mistakes = []
    for name, command in commands:
        if part(command):
            # Flags are read from the left, and this last one ends it before anything is done.
            done = subprocess.run([gangline, *command, "--help"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                mistakes.append(f"{name}: {done.stderr.strip().splitlines()[0]}")
    return mistakes


def part(command: list[str] | None) -> str | None:
    """Which part of Gangline a command starts, if it does."""
    return command[0] if command and command[0] in {"serve", "worker"} else None


def time_to_stop(command: list[str] | None) -> int | None:
    """Seconds from SIGTERM to the last of a part's deadlines; none: another program."""
    which = part(command)
    if which is None:
        return None
    drain = next(flag.removeprefix("--drain-timeout=") for flag in command if flag.startswith("--drain-timeout="))
    return seconds(drain) + (DISPATCHER_CUT if which == "serve" else JOB_GRACE)


def seconds(span: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(s|m|h)", span).groups()
    return int(number) * {"s": 1, "m": 60, "h": 3600}[unit]


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks docker-compose.yml and examples/kubernetes.")
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[2])
    parser.add_argument("--gangline", help="a binary whose flags those in the files must be")
    asked = parser.parse_args()
    mistakes = check(asked.root, asked.gangline)
    print("\n".join(mistakes), file=sys.stderr, end="\n" if mistakes else "")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
