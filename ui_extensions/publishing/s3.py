"""A prefix of an S3 bucket as a place for pages, with boto3."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mlflow_weir.errors import ConfigError
from mlflow_weir.store.cold.places import bucket_and_prefix
from mlflow_weir.ui_extensions.publishing import manifest
from mlflow_weir.ui_extensions.publishing.asking import Refused
from mlflow_weir.ui_extensions.publishing.manifest import Written
from mlflow_weir.ui_extensions.publishing.page_files import PAGE

LONGEST_S = 7 * 86_400
"""Of a presigned link, as S3 has it."""
_PART_BYTES = 16 << 20
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"


class S3Options(NamedTuple):
    """How a bucket is reached.

    Attributes:
        endpoint_url: Of a server that is not Amazon's; None for Amazon's.
        profile: Of the AWS configuration; None for the environment's.
        region: None for the configuration's.
        is_old_server: It knows no checksums of newer SDKs: they are sent only where S3 demands it.
    """

    endpoint_url: str | None
    profile: str | None
    region: str | None
    is_old_server: bool


class S3Prefix:
    """Where pages are below ``s3://bucket/prefix``."""

    def __init__(self, address: str, options: S3Options) -> None:
        """Take the address, ``s3://bucket`` or ``s3://bucket/prefix``.

        Raises:
            ConfigError: It is none, boto3 is not installed, or the configuration has a fault.
        """
        try:
            import boto3
            from boto3.s3.transfer import TransferConfig
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ImportError:
            raise ConfigError(
                "s3:// needs boto3, which is not installed", hint="pip install 'mlflow-weir[s3]'"
            ) from None
        self._bucket, self._prefix = bucket_and_prefix(address)
        self.address = f"s3://{self._bucket}/{self._prefix}"
        checksums = "when_required" if options.is_old_server else "when_supported"
        try:
            session = boto3.session.Session(
                profile_name=options.profile, region_name=options.region
            )
            self._client = session.client(
                "s3",
                endpoint_url=options.endpoint_url,
                config=Config(
                    signature_version="s3v4",
                    request_checksum_calculation=checksums,
                    response_checksum_validation=checksums,
                ),
            )
        except (BotoCoreError, ValueError) as exc:
            raise ConfigError(f"S3: {exc}") from exc
        self._transfer = TransferConfig(
            multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES
        )

    @property
    def page(self) -> str:
        """The address of the page, for whom the bucket's policy lets read it."""
        # The address that a presigned link has, without what signs it.
        return self.presigned(60).partition("?")[0]

    def presigned(self, seconds: int) -> str:
        """Return a link to the page that lets anybody read it for so long."""
        with _told():
            link: str = self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self._bucket, "Key": self._prefix + PAGE},
                ExpiresIn=seconds,
            )
        return link

    def read(self, name: str, most: int) -> bytes | None:
        """Return an object's content, at most so many bytes of it; None where there is none."""
        with _told():
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            except self._client.exceptions.NoSuchKey:
                return None
            content: bytes = found["Body"].read(most)
        return content

    def sizes(self) -> dict[str, int]:
        """Return the size of every object there, by its name below the prefix."""
        found = {}
        with _told():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for one in page.get("Contents", ()):
                    found[one["Key"].removeprefix(self._prefix)] = int(one["Size"])
        return found

    def is_as_written(self, name: str, one: Written) -> bool:
        """Say whether an object that is there is still what was written."""
        with _told():
            found = self._client.head_object(Bucket=self._bucket, Key=self._prefix + name)
        kept: str | None = found["Metadata"].get("weir-sha256")
        return kept == one.sha256

    def write(self, name: str, path: Path) -> None:
        """Write an object; a large one in parts."""
        named = {} if name == manifest.NAME else manifest.describe(path.parent, [path.name])
        is_fixed = name.startswith(("assets/", "data/"))
        more: dict[str, Any] = {
            "ContentType": _TYPES[path.suffix],
            "CacheControl": _FOR_EVER if is_fixed else _ASK_EACH_TIME,
        }
        if named:
            more["Metadata"] = {"weir-sha256": named[path.name].sha256}
        with _told():
            self._client.upload_file(
                str(path),
                self._bucket,
                self._prefix + name,
                ExtraArgs=more,
                Config=self._transfer,
            )

    def delete(self, names: Iterable[str]) -> None:
        """Take objects away, one request each: not every server takes many in one."""
        with _told():
            for name in names:
                self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)


@contextmanager
def _told() -> Iterator[None]:
    """Tell what S3 says in its own words."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (Boto3Error, BotoCoreError, ClientError) as exc:
        hint = ""
        if "MissingContentLength" in str(exc) or "XAmzContentSHA256Mismatch" in str(exc):
            hint = "an older server: --checksums when_required"
        raise Refused(f"S3: {exc}", hint=hint) from exc
