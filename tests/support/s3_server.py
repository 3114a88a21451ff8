"""A real S3 that checks signatures: Ceph's gateway on 127.0.0.1, its store in memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PROGRAMS = ("ceph", "ceph-authtool", "ceph-mon", "ceph-osd", "monmaptool", "radosgw")
START_S = 240.0
ACCESS_KEY, SECRET_KEY = "AKIATEST", "secretsecret"


class S3Server(NamedTuple):
    """A running gateway.

    Attributes:
        address: ``http://127.0.0.1:PORT``.
        client: Of boto3, with the keys that the environment has too.
    """

    address: str
    client: Any

    def new_bucket(self, name: str) -> str:
        """Make a bucket, and return its name."""
        self.client.create_bucket(Bucket=name)
        return name


@pytest.fixture(scope="session")
def ceph() -> Iterator[str]:
    """Run the gateway for the session; return its address."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"missing component: {', '.join(missing)}")
    # Sockets of its own are below it, whose paths must be short.
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="wceph", dir=parent))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(__file__).parent / "ceph.sh"
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(
            ["bash", str(script), str(folder), str(port)],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_S
        while not _answers(address):
            said = (folder / "output").read_text(errors="replace")[-2_000:]
            assert process.poll() is None, f"it ended:\n{said}"
            assert time.monotonic() < deadline, f"no answer in {START_S:.0f} s:\n{said}"
            time.sleep(0.1)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(address: str) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture
def s3(ceph: str, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Return the gateway, its keys in the environment as a user has them."""
    import boto3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return S3Server(ceph, boto3.client("s3", endpoint_url=ceph))
