"""Where cold objects are: a folder, or a prefix of an S3 bucket.

A place keeps whole objects by relative names and gives back ranges of their bytes. An object is
there whole or not at all, whatever crashes meanwhile: a file is renamed into place once it is on
disk, and S3 shows an object when all of it has come.
"""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow_weir import settings
from mlflow_weir.errors import ConfigError, StoreError, StoreUnavailable

_CONNECT_S, _READ_S = 5, 60
_CONNECTIONS = 16
# Around the name of a file that is being written: readers of the data set leave it out, as Spark
# and Hive do.
_PART = ("_weir-", ".part")
_NOT_THERE = frozenset({"NoSuchKey", "404", "NotFound"})


class ObjectMissing(StoreError):
    """There is no object of this name."""


class Place(ABC):
    """A folder or prefix.

    Attributes:
        address: Its URI, always the same for the same place.
    """

    address: str

    @abstractmethod
    def put(self, name: str, body: bytes) -> None:
        """Write an object; once this returns it survives a power cut."""

    @abstractmethod
    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Return a range of an object's bytes; all from ``start`` where no length is given.

        Raises:
            ObjectMissing: There is no such object.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Take an object away, if it is there."""

    @abstractmethod
    def sweep(self) -> None:
        """Take away what a writer that was killed has left; nobody may be writing meanwhile."""

    @abstractmethod
    def iter_names(self) -> Iterator[str]:
        """Yield the names of all objects."""


def open_place(address: str) -> Place:
    """Return the place that a URI or an absolute path names; nothing is asked or made yet.

    Raises:
        ConfigError: It is neither, or boto3 is not installed.
    """
    scheme = urlsplit(address).scheme
    if scheme == "s3":
        endpoint = settings.pick_environment(["MLFLOW_S3_ENDPOINT_URL"])
        return _s3_place(address, endpoint.get("MLFLOW_S3_ENDPOINT_URL") or None, os.getpid())
    path = unquote(urlsplit(address).path) if scheme == "file" else address
    if scheme not in {"", "file"} or not os.path.isabs(path) or urlsplit(address).netloc:
        raise ConfigError(
            f"{address!r:.200} is no place for chunks",
            hint="name an absolute path, file:///folder or s3://bucket/prefix",
        )
    return FolderPlace(Path(path))


class FolderPlace(Place):
    """A folder of the file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.normpath(folder))
        self.address = self._folder.as_uri()

    def put(self, name: str, body: bytes) -> None:
        path = self._folder / name
        with _told(self.address):
            path.parent.mkdir(parents=True, exist_ok=True)
            file, written = tempfile.mkstemp(prefix=_PART[0], suffix=_PART[1], dir=path.parent)
            try:
                with open(file, "wb") as out:
                    out.write(body)
                    out.flush()
                    os.fsync(out.fileno())
                os.chmod(written, 0o640)
                os.replace(written, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(written)
                raise
            for folder in (path.parent, path.parent.parent, self._folder):
                _sync(folder)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        with _told(self.address):
            try:
                with open(self._folder / name, "rb") as file:
                    file.seek(start)
                    return file.read() if length is None else file.read(length)
            except FileNotFoundError:
                raise ObjectMissing(f"{self.address}/{name} is missing") from None

    def delete(self, name: str) -> None:
        with _told(self.address):
            path = self._folder / name
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self._folder:
                    break
                try:
                    folder.rmdir()
                except OSError:  # others are in it
                    break

    def sweep(self) -> None:
        with _told(self.address):
            for left in list(self._folder.rglob(f"{_PART[0]}*{_PART[1]}")):
                self.delete(left.relative_to(self._folder).as_posix())

    def iter_names(self) -> Iterator[str]:
        for folder, _, names in os.walk(self._folder):
            for name in sorted(names):
                if not name.endswith(_PART[1]):
                    yield Path(folder, name).relative_to(self._folder).as_posix()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@functools.lru_cache(maxsize=16)
def _s3_place(address: str, endpoint_url: str | None, pid: int) -> S3Place:
    """Return a place; a client takes a tenth of a second to make, and no fork may share one."""
    return S3Place(address, endpoint_url)


def bucket_and_prefix(address: str) -> tuple[str, str]:
    """Take ``s3://bucket/prefix`` apart; the prefix ends with a slash where there is one.

    Raises:
        ConfigError: It is no such address.
    """
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not bucket or "//" in prefix or {".", ".."} & set(prefix.split("/")):
        raise ConfigError(f"{address!r:.200}: expected s3://bucket/prefix")
    return bucket, f"{prefix}/" if prefix else ""


class S3Place(Place):
    """A prefix of a bucket."""

    def __init__(self, address: str, endpoint_url: str | None) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise ConfigError(
                "s3:// needs boto3, which is not installed", hint="pip install 'mlflow-weir[s3]'"
            ) from None
        self._bucket, self._prefix = bucket_and_prefix(address)
        self.address = f"s3://{self._bucket}/{self._prefix}".rstrip("/")
        with _told(self.address):
            self._client = boto3.session.Session().client(
                "s3",
                endpoint_url=endpoint_url,
                config=Config(
                    connect_timeout=_CONNECT_S,
                    read_timeout=_READ_S,
                    retries={"mode": "standard", "max_attempts": 3},
                    max_pool_connections=_CONNECTIONS,
                    # Older servers refuse the newer SDKs' checksums; what is written is read
                    # back and compared, whatever the server thinks of it.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
            )

    def put(self, name: str, body: bytes) -> None:
        with _told(self.address):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        asked: dict[str, Any] = {"Bucket": self._bucket, "Key": self._prefix + name}
        if start or length is not None:
            end = "" if length is None else start + length - 1
            asked["Range"] = f"bytes={start}-{end}"
        with _told(self.address, name):
            body: bytes = self._client.get_object(**asked)["Body"].read()
            return body

    def delete(self, name: str) -> None:
        with _told(self.address):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)

    def sweep(self) -> None:
        """Do nothing: an object that has not come whole is none."""

    def iter_names(self) -> Iterator[str]:
        for name, _ in self.iter_versions():
            yield name

    def iter_versions(self) -> Iterator[tuple[str, str]]:
        """Yield each object's name, and what is another once its content is (its ETag)."""
        with _told(self.address):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    yield str(one["Key"])[len(self._prefix) :], str(one["ETag"])


@contextlib.contextmanager
def _told(address: str, name: str = "") -> Iterator[None]:
    """Turn what a file system or S3 says into errors of ours."""
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(
            f"{address}: {exc.strerror or exc}", hint="the command or the call may be run again"
        ) from exc
    except Exception as exc:
        if not _is_of_s3(exc):
            raise
        response = getattr(exc, "response", {})
        code = response.get("Error", {}).get("Code")
        if code in _NOT_THERE:
            raise ObjectMissing(f"{address}/{name} is missing") from exc
        if code == "InvalidRange":
            raise ObjectMissing(f"{address}/{name} ends before what was written there") from exc
        raise StoreUnavailable(
            f"{address}: {' '.join(str(exc).split())[:300]}",
            hint="check the bucket, its address (MLFLOW_S3_ENDPOINT_URL) and the credentials",
        ) from exc


def _is_of_s3(error: Exception) -> bool:
    module = type(error).__module__
    return module.startswith(("botocore.", "boto3.", "urllib3."))
