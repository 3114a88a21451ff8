"""Kills, full disks and failing system calls: what an append returned for is there, once.

``make test`` kills a few dozen writers; ``make test-long`` hundreds.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import mounted
from journals import TARGET, new_journal, read_all, run_python, start_python
from mlflow_weir.errors import JournalFull
from mlflow_weir.plugin.journal.format import list_segments, segment_name
from mlflow_weir.plugin.journal.reader import JournalReader, discard_before
from mlflow_weir.plugin.journal.spool import JournalFolder, Spool
from mlflow_weir.plugin.journal.writer import Journal

pytestmark = [pytest.mark.fault, pytest.mark.slow]

# Appends for ever, or n records, and says in a shared page how many an append has returned for.
WRITER = """
import mmap, os, random, secrets, struct, sys
from pathlib import Path
from journals import new_journal
from mlflow_weir.plugin.journal import format as layout
root, seed, most, journal_id = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rng = random.Random(seed)
layout.SEGMENT_BYTES = rng.choice([2_000, 50_000, 8 << 20])
largest = rng.choice([0, 40, 5_000, 1_000_000])
secrets.token_hex = lambda n: journal_id
journal = new_journal(Path(root))
with open(root + "/acknowledged", "r+b") as file:
    page = mmap.mmap(file.fileno(), 8)
os.write(1, b"ready\\n")
for n in range(most):
    journal.append(b"%d:" % n + bytes([n % 256]) * rng.randrange(largest + 1))
    page[:8] = struct.pack("<q", n + 1)
    if journal.end > 200 << 20:
        sys.exit("nobody killed this writer in time")
"""

JOURNAL_ID = "0123456789abcdef" * 2


class Writer:
    """A process that appends numbered records to a journal in ``root``."""

    def __init__(self, root: Path, seed: int, *wrapper: str, most: int = 1 << 40) -> None:
        Spool.open(root)
        (root / "acknowledged").write_bytes(bytes(8))
        with (root / "acknowledged").open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.folder = JournalFolder(root / "journals" / JOURNAL_ID)
        self.process = start_python(
            WRITER, str(root), str(seed), str(most), JOURNAL_ID, wrapper=wrapper
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", self.finish()

    def n_acknowledged(self) -> int:
        return int(struct.unpack("<q", self._page[:8])[0])

    def finish(self) -> str:
        """Wait for its end and return what it wrote to stderr."""
        try:
            _, error = self.process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return error.decode()


def numbers(payloads: list[bytes]) -> list[int]:
    """Return the records' numbers; each must be what was appended under its number."""
    found = []
    for payload in payloads:
        number, _, filling = payload.partition(b":")
        assert filling == bytes([int(number) % 256]) * len(filling)
        found.append(int(number))
    return found


def require_acknowledged(writer: Writer) -> int:
    """Compare a dead writer's journal with what it acknowledged; go on writing it."""
    found = numbers(read_all(writer.folder.path))
    assert found == list(range(len(found))), "a record is missing, or there twice"
    assert writer.n_acknowledged() <= len(found) <= writer.n_acknowledged() + 1
    assert writer.folder.owner_is_gone()
    adopted = Journal.adopt(writer.folder)
    adopted.append(b"%d:" % len(found))
    adopted.close()
    assert numbers(read_all(writer.folder.path)) == [*found, len(found)]
    return len(found)


@pytest.mark.parametrize(
    "n_kills", [10, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(600)])]
)
def test_acknowledged_records_survive_kills_at_random_moments(
    tmp_path: Path, n_kills: int
) -> None:
    n_records = n_torn = 0
    for seed in range(n_kills):
        rng = random.Random(seed)
        writer = Writer(tmp_path / str(seed), seed)
        writer.wait_until_ready()
        time.sleep(rng.random() * 0.03)  # the moment, not a wait
        writer.process.send_signal(signal.SIGKILL)
        error = writer.finish()
        assert writer.process.returncode == -signal.SIGKILL, error
        last = list_segments(writer.folder.path)[-1]
        size = last + (writer.folder.path / segment_name(last)).stat().st_size
        with JournalReader(writer.folder.path, is_final=True) as reader:
            while reader.read().payloads:
                pass
            n_torn += size > reader.position
        n_records += require_acknowledged(writer)
        shutil.rmtree(tmp_path / str(seed))
    print(f"{n_kills} kills: {n_records:,} records there, {n_torn} torn tails")
    assert n_records > 20 * n_kills


def strace(*rules: str, path: Path) -> tuple[str, ...]:
    """Return the words that run a program with system calls on files at ``path`` failing."""
    calls = ",".join(sorted({rule.partition(":")[0] for rule in rules}))
    words = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
    for position in (0, 1000, 2000):
        words += ["-P", str(path / segment_name(position))]
    return (*words, *(word for rule in rules for word in ("-e", f"inject={rule}")))


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="missing component: strace"
)


def skip_where_tracing_is_forbidden(error: str) -> None:
    if "ptrace" in error:
        pytest.skip("strace may not trace here")


@needs_strace
@pytest.mark.parametrize(
    "when", [1, 2, 9, 60, 333, *(pytest.param(n, marks=pytest.mark.long) for n in range(3, 103))]
)
def test_acknowledged_records_survive_kills_inside_a_write(tmp_path: Path, when: int) -> None:
    folder = tmp_path / "spool" / "journals" / JOURNAL_ID
    # Seeds with one segment, as strace looks at the path of the first.
    seed = next(n for n in range(when, when + 1000) if writes_one_segment(n))
    rule = f"write:signal=SIGKILL:when={when}"
    writer = Writer(tmp_path / "spool", seed, *strace(rule, path=folder), most=when + 5)
    error = writer.finish()
    skip_where_tracing_is_forbidden(error)
    assert writer.process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), error
    assert writer.n_acknowledged() == when - 1, "killed elsewhere than in that write"
    require_acknowledged(writer)


# Appends to segments of ten records, the third of which is torn at the 24th record by a limit.
TORN = """
import os, resource, secrets, sys
from pathlib import Path
secrets.token_hex = lambda n: sys.argv[2]
from journals import new_journal
from mlflow_weir.plugin.journal import format as layout, writer
layout.SEGMENT_BYTES = 1000
writer._RETRY_S = 0.0
journal = new_journal(Path(sys.argv[1]))
for n in range(40):
    if n == 24:
        resource.setrlimit(resource.RLIMIT_FSIZE, (450, resource.RLIM_INFINITY))
    if n == 26:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    journal.append(b"%02d:" % n + bytes([n]) * 89)
    os.write(1, b"%d\\n" % n)
"""


@needs_strace
@pytest.mark.parametrize(
    ("rule", "n_there", "n_torn"),
    [
        ("ftruncate:signal=SIGKILL:when=1", 24, 50),  # cutting a torn record
        ("openat:signal=SIGKILL:when=1", 10, 0),  # beginning a segment
        ("openat:signal=SIGKILL:when=2", 20, 0),
        ("write:signal=SIGKILL:when=11", 10, 0),  # in a segment that is empty yet
    ],
)
def test_a_torn_tail_is_cut_wherever_the_writer_was_killed(
    tmp_path: Path, rule: str, n_there: int, n_torn: int
) -> None:
    root = tmp_path / "spool"
    folder = root / "journals" / JOURNAL_ID
    process = start_python(TORN, str(root), JOURNAL_ID, wrapper=strace(rule, path=folder))
    said, error = process.communicate(timeout=300)
    skip_where_tracing_is_forbidden(error.decode())
    assert process.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), error.decode()
    assert len(said.split()) == n_there
    last = folder / segment_name(list_segments(folder)[-1])
    assert last.stat().st_size % 100 == n_torn
    assert numbers(read_all(folder)) == list(range(n_there))
    adopted = Journal.adopt(JournalFolder(folder))
    assert adopted.end == 100 * n_there
    adopted.append(b"%d:" % n_there)
    adopted.close()
    assert numbers(read_all(folder)) == list(range(n_there + 1))


# Appends to a journal in sys.argv[1] while system calls fail.
STUBBORN = """
import secrets, sys, time
from pathlib import Path
secrets.token_hex = lambda n: sys.argv[2]
from journals import new_journal
from mlflow_weir.plugin.journal import writer
writer._RETRY_S = 0.0
journal = new_journal(Path(sys.argv[1]))
for n in range(200):
    journal.append(b"%d:" % n)
assert journal.flush(), journal.fault
assert journal.n_dropped == 0
print(journal.end)
"""


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EDQUOT"])
@pytest.mark.parametrize("more", [(), ("ftruncate:error=EIO:when=1+2",)])
def test_system_calls_that_fail_lose_nothing(
    tmp_path: Path, error: str, more: tuple[str, ...]
) -> None:
    root = tmp_path / "spool"
    folder = root / "journals" / JOURNAL_ID
    wrapper = strace(f"write:error={error}:when=3+3", *more, path=folder)
    process = start_python(STUBBORN, str(root), JOURNAL_ID, wrapper=wrapper)
    output, said = process.communicate(timeout=300)
    skip_where_tracing_is_forbidden(said.decode())
    assert process.returncode == 0, said.decode()
    assert numbers(read_all(folder)) == list(range(200))
    assert int(output) == Journal.adopt(JournalFolder(folder)).end
    assert len(said.splitlines()) == 1, said.decode()


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(n, marks=pytest.mark.long) for n in range(3, 80))]
)
def test_beside_a_writer_nothing_is_missing_or_wrong(tmp_path: Path, seed: int) -> None:
    most = 30_000
    rng = random.Random(seed)
    # Seeds of the writer whose records are small enough to come to an end.
    writer_seed = next(n for n in range(100 * seed, 100 * seed + 99) if is_small(n))
    writer = Writer(tmp_path, writer_seed, most=most)
    writer.wait_until_ready()
    found: list[int] = []
    n_looks = 0
    with JournalReader(writer.folder.path) as reader:
        while len(found) < most:
            is_over = writer.process.poll() is not None
            n_acknowledged = writer.n_acknowledged()
            while (records := reader.read(rng.choice([1, 100, 4096, 4 << 20]))).payloads:
                found += numbers(records.payloads)
                n_looks += 1
                if rng.random() < 0.01:
                    discard_before(writer.folder.path, rng.randrange(records.end + 1))
                if rng.random() < 0.01:
                    reader.close()
            assert len(found) >= n_acknowledged, "an acknowledged record is not readable"
            assert not is_over or len(found) == most, writer.finish()
    assert found == list(range(most))
    assert writer.finish() == ""
    assert n_looks > 10


def is_small(seed: int) -> bool:
    """Say whether the writer with this seed writes no record of more than 5,000 bytes."""
    rng = random.Random(seed)
    rng.choice([2_000, 50_000, 8 << 20])
    return rng.choice([0, 40, 5_000, 1_000_000]) <= 5_000


def writes_one_segment(seed: int) -> bool:
    """Say whether all that the writer with this seed writes in 400 records is one segment."""
    return random.Random(seed).choice([2_000, 50_000, 8 << 20]) == 8 << 20 and is_small(seed)


# Full disks


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with mounted("1m") as folder:
        yield folder


def test_a_full_disk_loses_nothing_that_fits_into_memory(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIR_SPOOL_MEMORY_BYTES", "100KiB")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(400_000))
    journal = new_journal(small_disk / "spool")
    dropped: list[bytes] = []
    journal.on_dropped = dropped.append
    n = 0
    while not dropped:
        journal.append(b"%d:" % n + bytes([n % 256]) * 700)
        n += 1
        assert n < 10_000
    assert journal.n_held > 100
    before = read_all(journal.folder, is_final=False)
    assert numbers(before) == list(range(len(before)))
    assert len(before) + journal.n_held + len(dropped) == n
    ballast.unlink()
    assert journal.flush()
    journal.append(b"%d:" % (n - 1))
    assert numbers(read_all(journal.folder)) == list(range(n))
    assert numbers(dropped) == [n - 1]
    assert (journal.n_held, journal.n_dropped) == (0, 1)
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert "No space left on device" in said[0]
    journal.close()


def test_a_disk_that_is_full_from_the_start_is_told_by_its_name(small_disk: Path) -> None:
    spool = Spool.open(small_disk / "spool")
    with (small_disk / "ballast").open("wb", buffering=0) as ballast:
        with contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
    with pytest.raises(JournalFull, match="No space left on device"):
        Journal.create(spool, TARGET, None)
    assert spool.journals() == []


# A limit on the size of files tears writes for real, and needs no root.
LIMITED = """
import resource, sys
from pathlib import Path
from journals import new_journal
from mlflow_weir.plugin.journal import writer
writer._RETRY_S = 0.0
journal = new_journal(Path(sys.argv[1]))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for n in range(300):
    resource.setrlimit(resource.RLIMIT_FSIZE, (50 * (1 + n // 10), hard))
    journal.append(b"%d:" % n)
    size = sum(file.stat().st_size for file in journal.folder.glob("*.seg"))
    assert size == journal.end, "a torn record is left"
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert journal.flush()
print(journal.folder)
"""


def test_writes_that_are_torn_for_real_leave_no_trace(tmp_path: Path) -> None:
    folder = Path(run_python(LIMITED, str(tmp_path / "spool")).strip())
    assert numbers(read_all(folder)) == list(range(300))
