"""How cold chunks are written as objects, and one of them read out of a range of bytes.

An object is a Parquet file with the columns ``run_id``, ``key`` (dictionaries), ``timestamp``,
``step`` (delta-packed) and ``value`` (byte-stream-split), zstd over all. A *row group* holds one
chunk, or several small ones up to ``ROW_GROUP_POINTS`` points, and is read by itself: where its
bytes are is in ``weir_cold``, what they mean is in the file's footer, a copy of which is in
``weir_cold_object``. So a chunk costs one request, and DuckDB, Spark or Trino read the file as it
is.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlflow_weir.errors import ChunkCorrupt
from mlflow_weir.store.metrics.encoding import Placed
from mlflow_weir.store.metrics.points import Series

ROW_GROUP_POINTS = 16_384
_ZSTD_LEVEL = 3
_NOT_OURS = (pa.ArrowException, OSError, KeyError, IndexError, ValueError)
_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("key", pa.string()),
        ("timestamp", pa.int64()),
        ("step", pa.int64()),
        ("value", pa.float64()),
    ]
)


class Chunk(NamedTuple):
    """A chunk to be written: what the database has of it."""

    chunk_id: int
    run_id: str
    placed: Sequence[Placed]

    def __len__(self) -> int:
        """Return the number of points."""
        return sum(len(part.series) for part in self.placed)


class Range(NamedTuple):
    """Where a chunk is in an object.

    Attributes:
        first_row: Of the chunk, in its row group.
        start: Of the row group's bytes, in the object.
        crc32: Of these bytes.
    """

    row_group: int
    first_row: int
    start: int
    n_bytes: int
    crc32: int


class Written(NamedTuple):
    """An object: its bytes, its footer as a file of metadata alone, and each chunk's place."""

    body: bytes
    footer: bytes
    ranges: dict[int, Range]


def write(chunks: Sequence[Chunk]) -> Written:
    """Write chunks as one object; their keys can be UTF-8."""
    out = io.BytesIO()
    groups = _row_groups(chunks)
    with pq.ParquetWriter(
        out,
        _SCHEMA,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        use_dictionary=["run_id", "key"],
        column_encoding={
            "timestamp": "DELTA_BINARY_PACKED",
            "step": "DELTA_BINARY_PACKED",
            "value": "BYTE_STREAM_SPLIT",
        },
        write_statistics=["run_id", "key", "step"],  # what whoever asks the data set filters by
        store_schema=False,
    ) as writer:
        for group in groups:
            table = _table(group)
            writer.write_table(table, row_group_size=table.num_rows)
    body = out.getvalue()
    metadata = pq.read_metadata(io.BytesIO(body))
    footer = io.BytesIO()
    metadata.write_metadata_file(footer)
    ranges: dict[int, Range] = {}
    for number, group in enumerate(groups):
        start, n_bytes = _extent(metadata.row_group(number))
        crc32, first_row = zlib.crc32(body[start : start + n_bytes]), 0
        for chunk in group:
            ranges[chunk.chunk_id] = Range(number, first_row, start, n_bytes, crc32)
            first_row += len(chunk)
    return Written(body, footer.getvalue(), ranges)


def _row_groups(chunks: Sequence[Chunk]) -> list[list[Chunk]]:
    groups: list[list[Chunk]] = []
    size = 0
    for chunk in chunks:
        if not groups or size + len(chunk) > ROW_GROUP_POINTS:
            groups.append([])
            size = 0
        groups[-1].append(chunk)
        size += len(chunk)
    return groups


def _table(group: Sequence[Chunk]) -> Any:
    parts = [(chunk.run_id, part) for chunk in group for part in chunk.placed]
    sizes = [len(part.series) for _, part in parts]

    def names(texts: list[str]) -> Any:
        known = {text: code for code, text in enumerate(dict.fromkeys(texts))}
        codes = np.repeat(np.array([known[text] for text in texts], dtype=np.int32), sizes)
        return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(known, pa.string())).cast(
            pa.string()
        )

    return pa.table(
        [
            names([run_id for run_id, _ in parts]),
            names([part.key for _, part in parts]),
            np.concatenate([part.series.timestamp for _, part in parts]),
            np.concatenate([part.series.step for _, part in parts]),
            np.concatenate([part.series.value for _, part in parts]),
        ],
        schema=_SCHEMA,
    )


def _extent(row_group: Any) -> tuple[int, int]:
    """Return where a row group's bytes begin, and how many they are."""
    begins, ends = [], []
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        first = column.data_page_offset
        if column.has_dictionary_page:
            first = min(first, column.dictionary_page_offset)
        begins.append(first)
        ends.append(first + column.total_compressed_size)
    return min(begins), max(ends) - min(begins)


def read_footer(footer: bytes, what: str) -> Any:
    """Return the metadata of an object.

    Raises:
        ChunkCorrupt: The bytes are none.
    """
    try:
        return pq.read_metadata(io.BytesIO(footer))
    except _NOT_OURS as exc:
        raise ChunkCorrupt(what, f"its footer cannot be read: {exc}") from exc


def read_row_group(metadata: Any, row_group: int, start: int, body: bytes, what: str) -> Series:
    """Read the points of a row group out of its bytes, in file order.

    Raises:
        ChunkCorrupt: They are not what the footer says.
    """
    table = _read(metadata, row_group, start, body, ["timestamp", "step", "value"], what)
    return Series(
        table.column("timestamp").to_numpy(),
        table.column("step").to_numpy(),
        table.column("value").to_numpy(),
    )


def read_names(
    metadata: Any, row_group: int, start: int, body: bytes, what: str
) -> tuple[list[str], list[str]]:
    """Read the run id and the key of each row of a row group; as ``read_row_group``."""
    table = _read(metadata, row_group, start, body, ["run_id", "key"], what)
    return table.column("run_id").to_pylist(), table.column("key").to_pylist()


def _read(
    metadata: Any, row_group: int, start: int, body: bytes, columns: list[str], what: str
) -> Any:
    try:
        file = pq.ParquetFile(pa.PythonFile(_Range(start, body), "r"), metadata=metadata)
        return file.read_row_group(row_group, columns=columns, use_threads=False)
    except _NOT_OURS as exc:
        raise ChunkCorrupt(what, f"its bytes are not what the footer says: {exc}") from exc


class _Range(io.RawIOBase):
    """A file of which only a range of bytes is at hand; reading elsewhere is an error."""

    def __init__(self, start: int, body: bytes) -> None:
        self._start, self._body, self._at = start, memoryview(body), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._start + len(self._body)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size()}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        first = self._at - self._start
        last = len(self._body) if size < 0 else first + size
        if first < 0 or last > len(self._body):
            raise ValueError(f"bytes {self._at} to {self._start + last} are not of this row group")
        self._at = self._start + last
        return bytes(self._body[first:last])
