"""The variables with which the agent's child reaches what this process would reach itself."""

from __future__ import annotations

from mlflow_weir import settings
from mlflow_weir.plugin import mlflow_private

# What the stores' client libraries read: where and who, never what is the process's own business.
_NAMES = frozenset(
    "HOME XDG_CONFIG_HOME HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy "
    "no_proxy all_proxy REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR JAVA_HOME "
    "CLASSPATH KRB5CCNAME KRB5_CONFIG".split()
)
_PREFIXES = (
    *("MLFLOW_", "AWS_", "BOTO_", "GOOGLE_", "GCLOUD_", "CLOUDSDK_", "STORAGE_EMULATOR_"),
    *("AZURE_", "HADOOP_", "ARROW_LIBHDFS"),
)


def upload_environment() -> dict[str, str]:
    """Return them as they are now, the active workspace included."""
    environment = settings.pick_environment(_NAMES, _PREFIXES)
    workspace = mlflow_private.active_workspace()
    if workspace is not None:
        environment["MLFLOW_WORKSPACE"] = workspace
    return environment
