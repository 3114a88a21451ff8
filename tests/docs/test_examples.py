"""The examples of a deployment: what they say is read as those read it who run them."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from mlflow.server.security_utils import is_allowed_host_header

from mlflow_weir import settings
from mlflow_weir.plugin.uri import is_weir
from mlflow_weir.ui_extensions import health
from tree import ROOT

EXAMPLES = ROOT / "examples"
UNITS = sorted((EXAMPLES / "systemd").iterdir())
KINDS = {
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "Service": "v1",
    "PodDisruptionBudget": "policy/v1",
    "Ingress": "networking.k8s.io/v1",
}


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / "compose.yaml").read_text())
    return found


def manifests() -> dict[str, dict[str, Any]]:
    text = (EXAMPLES / "kubernetes.yaml").read_text()
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def unit(path: Path) -> configparser.RawConfigParser:
    """Read a unit; of a key that is there twice the values are joined by lines."""

    class Joined(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            if isinstance(value, list) and key in self:
                value = [*self[key], *value]
            super().__setitem__(key, value)

    parser = configparser.RawConfigParser(strict=False, dict_type=Joined)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every command line that starts a server, and where it stands."""
    for name in ("server-1", "server-2"):
        yield name, compose()["services"][name]["command"]
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    yield "kubernetes", pod["containers"][0]["command"]
    words = shlex.split(unit(EXAMPLES / "systemd" / "mlflow@.service")["Service"]["ExecStart"])
    yield "systemd", words


@pytest.mark.filterwarnings("ignore", "error:::mlflow_weir")  # MLflow warns about itself
@pytest.mark.parametrize("words", [words for _, words in commands()], ids=list(dict(commands())))
def test_servers_are_started_with_options_that_mlflow_has(words: list[str]) -> None:
    program, name, *options = words
    assert (program.rpartition("/")[2], name) == ("mlflow", "server")
    # What stands for a value there is one here.
    values = {"$(DATABASE)": "postgresql+weir://a@b/c", "${DATABASE}": "postgresql+weir://a@b/c"}
    filled = [one.replace("%i", "5000") for one in options]
    for variable, value in values.items():
        filled = [one.replace(variable, value) for one in filled]
    from mlflow.cli import server as command  # which imports much of MLflow

    assert isinstance(command, click.Command)
    given = command.make_context("server", filled).params
    assert is_weir(given["backend_store_uri"])
    assert given["artifacts_destination"]
    assert given["port"] == 5000


def test_the_compose_file_belongs_together() -> None:
    file = compose()
    services = file["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in file["volumes"]
    server = services["server-1"]
    probe = server["healthcheck"]["test"]
    assert f"http://127.0.0.1:5000{health.PREFIX}/ready" in probe[-1]
    compile(probe[-1], "healthcheck", "exec")
    settings_of(server["environment"])
    # An empty endpoint is one that boto3 refuses: it is passed on where it is set, or not at all.
    assert server["environment"]["MLFLOW_S3_ENDPOINT_URL"] is None
    nginx = file["configs"]["nginx"]["content"]
    assert nginx.count("{") == nginx.count("}")
    assert set(re.findall(r"server (server-\d):5000;", nginx)) == {"server-1", "server-2"}
    # No password stands in the file itself, and a missing one is told.
    text = (EXAMPLES / "compose.yaml").read_text()
    for variable in re.findall(r"\$\{(\w+)\}", text.replace("$$", "")):
        raise AssertionError(f"{variable} may be missing without a word")


def settings_of(environment: dict[str, str]) -> None:
    """Read each of Weir's settings as the server does."""
    known = {one.name: one for one in vars(settings).values() if isinstance(one, settings.Setting)}
    for name, value in environment.items():
        if name.startswith("WEIR_"):
            known[name].parse(value)


def test_the_manifest_belongs_together() -> None:
    found = manifests()
    assert {kind: one["apiVersion"] for kind, one in found.items()} == KINDS
    spec = found["Deployment"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    for selector in (
        spec["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    (container,) = spec["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert f"--port={ports['http']}" in container["command"]
    assert found["Service"]["spec"]["ports"][0]["targetPort"] in ports
    probes = {
        name: container[name]["httpGet"]["path"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    # The database being away is no reason to restart anything.
    assert probes == {
        "startupProbe": f"{health.PREFIX}/live",
        "livenessProbe": f"{health.PREFIX}/live",
        "readinessProbe": f"{health.PREFIX}/ready",
    }
    hosts = found["ConfigMap"]["data"]["hosts"].split(",")
    for name in probes:
        (header,) = container[name]["httpGet"]["httpHeaders"]
        assert header["name"] == "Host"
        assert is_allowed_host_header(hosts, header["value"])
    variables = {one["name"]: one for one in container["env"]}
    for used in re.findall(r"\$\((\w+)\)", " ".join(container["command"])):
        assert used in variables
    for one in variables.values():
        source = one.get("valueFrom", {})
        key = source.get("configMapKeyRef", {}).get("key")
        assert key is None or key in found["ConfigMap"]["data"]
    settings_of({name: one["value"] for name, one in variables.items() if "value" in one})
    backend = found["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == found["Service"]["metadata"]["name"]
    assert "password" not in (EXAMPLES / "kubernetes.yaml").read_text().replace("PASSWORD", "")


def test_the_units_are_ones_that_systemd_takes(tmp_path: Path) -> None:
    names = {path.name for path in UNITS}
    assert names == {"mlflow@.service", "mlflow-backup.service", "mlflow-backup.timer"}
    for path in UNITS:
        sections = set(unit(path).sections())
        assert {"Unit"} < sections <= {"Unit", "Service", "Timer", "Install"}
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return  # the parser above is what there is
    # The programs are not on this machine, but there is a program at their place.
    for path in UNITS:
        text = re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", path.read_text())
        (tmp_path / path.name).write_text(re.sub(r"(?m)^User=.*\n", "", text))
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(tmp_path / path.name for path in UNITS)],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    told = [line for line in done.stderr.splitlines() if any(name in line for name in names)]
    assert told == [], done.stderr
