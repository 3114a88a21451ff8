"""The journal's promises: order, room, faults of the disk, threads, signals, forks."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from journals import new_journal, put_segments, read_all, run_python, start_python
from kills import note_campaign
from mlflow_weir.errors import JournalCorrupt, JournalError, JournalFull, LeaseLost
from mlflow_weir.plugin.journal import format as layout
from mlflow_weir.plugin.journal import writer
from mlflow_weir.plugin.journal.format import frame, list_segments, segment_name
from mlflow_weir.plugin.journal.reader import JournalReader, discard_before
from mlflow_weir.plugin.journal.spool import JournalFolder
from mlflow_weir.plugin.journal.writer import Journal

FRAMES = [frame(b"point %d" % n + b"x" * n) for n in range(5)]
PAYLOADS = [one[8:] for one in FRAMES]
LAYOUTS = {"one segment": [FRAMES], "three": [FRAMES[:2], FRAMES[2:4], FRAMES[4:]]}


class Disk:
    """What a test puts in the place of ``os.write``, and of the other calls where it says so.

    Attributes:
        script: What becomes of the next writes: None for a good one, or a function that takes
            descriptor and data, and may write a part, raise, or both.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script: list[Callable[[int, bytes], int] | None] = []
        self.is_broken = False
        self.n_writes = 0
        monkeypatch.setattr(writer, "_write", self.write)

    def write(self, file: int, data: bytes) -> int:
        self.n_writes += 1
        if self.is_broken:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        step = self.script.pop(0) if self.script else None
        return os.write(file, data) if step is None else step(file, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stop the writer's clock; the test moves its one element on."""
    now = [1000.0]
    stopped = SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    monkeypatch.setattr(writer, "time", stopped)
    return now


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return new_journal(tmp_path / "spool")


def read_fault(journal: Journal) -> OSError | None:
    """Return it as it is now; a type checker takes the attribute for what it was before."""
    return journal.fault


def short(part: float) -> Callable[[int, bytes], int]:
    return lambda file, data: os.write(file, data[: int(len(data) * part)])


def failing(number: int, part: float = 0.0) -> Callable[[int, bytes], int]:
    """Fail, after a part was written nevertheless."""

    def step(file: int, data: bytes) -> int:
        os.write(file, data[: int(len(data) * part)])
        raise OSError(number, os.strerror(number))

    return step


# Order, positions, segments


def test_positions_count_the_bytes_of_all_frames(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 100)
    ends = [journal.append(bytes(n)) for n in range(30)]
    assert ends == list(itertools.accumulate(8 + n for n in range(30)))
    assert journal.end == ends[-1]
    starts = list_segments(journal.folder)
    assert len(starts) > 3
    assert set(starts) <= {0, *ends}
    for position in (0, *ends):
        records = JournalReader(journal.folder, position).read(1)
        assert records.start == position
        assert records.payloads == (
            [bytes(ends.index(position) + 1)]
            if position in ends[:-1]
            else [b""]
            if not position
            else []
        )


def test_a_record_larger_than_a_segment_has_one_of_its_own(journal: Journal) -> None:
    big = os.urandom(layout.SEGMENT_BYTES + 5)
    for payload in (b"before", big, b"after"):
        journal.append(payload)
    assert list_segments(journal.folder) == [0, 14, 14 + 8 + len(big)]
    assert read_all(journal.folder) == [b"before", big, b"after"]
    assert [len(r) for r in read_all(journal.folder, max_bytes=10)] == [6, len(big), 5]


def test_a_record_that_no_reader_would_take_is_refused(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MAX_PAYLOAD_BYTES", 1000)
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 500)
    with pytest.raises(JournalError, match=r"1,101 bytes: at most 1,000"):
        journal.append(bytes(1093))
    journal.append(b"next")
    assert read_all(journal.folder) == [b"next"]


def test_discarding_takes_whole_segments_below_a_position(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 100)
    ends = [journal.append(bytes(42)) for _ in range(10)]
    assert discard_before(journal.folder, ends[4]) == 200
    assert list_segments(journal.folder)[0] == 200
    assert discard_before(journal.folder, journal.end) == 200
    assert list_segments(journal.folder) == [400]
    with pytest.raises(JournalError, match="begins at 400"):
        JournalReader(journal.folder, 0).read()
    assert len(JournalReader(journal.folder, 400).read().payloads) == 2


def test_nothing_new_is_no_records(journal: Journal, tmp_path: Path) -> None:
    reader = JournalReader(journal.folder)
    assert reader.read() == (0, 0, [])
    assert reader.is_at_end()
    journal.append(b"a")
    assert not reader.is_at_end()
    assert reader.read() == (0, 9, [b"a"])
    assert reader.read() == (9, 9, [])
    with pytest.raises(JournalError, match="No such file"):
        JournalReader(tmp_path / "nowhere").read()


# prefix_only and damage_is_told


def read_prefix(folder: Path, *, is_final: bool, first_bad: int) -> int:
    """Read what is readable, which must be a prefix; return how many records that are."""
    found: list[bytes] = []
    error = None
    with JournalReader(folder, is_final=is_final) as reader:
        try:
            while (records := reader.read(20)).payloads:
                found += records.payloads
        except JournalCorrupt as exc:
            error = exc
    assert found == PAYLOADS[: len(found)]
    if error is not None:
        path = Path(error.path)
        assert path.parent == folder
        assert int(path.stem) + error.offset == sum(map(len, FRAMES[: len(found)])) <= first_bad
        assert f"{error.path}: bad checksum at byte {error.offset}" in str(error)
    return len(found)


@pytest.mark.parametrize("segments", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("is_final", [True, False])
def test_prefix_only_wherever_it_is_torn(
    segments: list[list[bytes]], is_final: bool, tmp_path: Path
) -> None:
    whole = b"".join(FRAMES)
    starts = list(itertools.accumulate((len(b"".join(s)) for s in segments), initial=0))
    for cut in range(len(whole) + 1):
        contents = [whole[a : min(b, cut)] for a, b in itertools.pairwise(starts) if a <= cut]
        folder = put_segments(tmp_path / "journal", *contents)
        n_whole = sum(end <= cut for end in itertools.accumulate(map(len, FRAMES)))
        assert read_prefix(folder, is_final=is_final, first_bad=cut) == n_whole
    note_campaign("torn journals", {"cut_after_each_of_so_many_bytes": len(whole) + 1})


@pytest.mark.parametrize("segments", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("is_final", [True, False])
def test_prefix_only_whichever_bit_flips(
    segments: list[list[bytes]], is_final: bool, tmp_path: Path
) -> None:
    contents = [b"".join(some) for some in segments]
    folder = put_segments(tmp_path / "journal", *contents)
    position = 0
    for content in contents:
        path = folder / segment_name(position)
        for bit in range(8 * len(content)):
            bad = bytearray(content)
            bad[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bad)
            at = position + bit // 8
            n_before = sum(end <= at for end in itertools.accumulate(map(len, FRAMES)))
            assert read_prefix(folder, is_final=is_final, first_bad=at) == n_before
        path.write_bytes(content)
        position += len(content)
    note_campaign("torn journals", {"bits_flipped_one_by_one": 8 * position})


@pytest.mark.parametrize("bad", range(4))
def test_damage_is_told_where_good_records_follow(bad: int, tmp_path: Path) -> None:
    for byte in range(len(FRAMES[bad])):
        content = bytearray(b"".join(FRAMES))
        offset = len(b"".join(FRAMES[:bad]))
        content[offset + byte] ^= 0x10
        folder = put_segments(tmp_path / "journal", bytes(content))
        assert read_all_open(folder) == PAYLOADS[:bad]  # a writer may be about to repair it
        with pytest.raises(JournalCorrupt, match=f"at byte {offset} "):
            read_all(folder)


def read_all_open(folder: Path) -> list[bytes]:
    return read_all(folder, is_final=False)


def test_damage_is_told_where_segments_follow(tmp_path: Path) -> None:
    for last in (FRAMES[2][:-1], FRAMES[2][:3], b""):
        folder = put_segments(tmp_path / "journal", b"".join(FRAMES[:3]), b"".join(FRAMES[3:]))
        (folder / segment_name(0)).write_bytes(b"".join(FRAMES[:2]) + last)
        offset = len(b"".join(FRAMES[:2]))
        with pytest.raises(JournalCorrupt, match=f"at byte {offset} "):
            read_all_open(folder)


def test_a_torn_tail_is_no_damage(tmp_path: Path) -> None:
    for tail in (b"x", bytes(4096), FRAMES[0][:-1], b"\xff" * 100):
        folder = put_segments(tmp_path / "journal", FRAMES[0] + tail)
        assert read_all(folder) == PAYLOADS[:1]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = put_segments(tmp_path / "journal")
    (tmp_path / "outside").write_bytes(FRAMES[0])
    (folder / segment_name(0)).symlink_to(tmp_path / "outside")
    with pytest.raises(JournalError):
        JournalReader(folder).read()
    (folder / segment_name(0)).unlink()
    os.mkfifo(folder / segment_name(0))
    with pytest.raises(JournalError, match="not a regular file"):
        JournalReader(folder).read()


def test_other_names_are_no_segments(tmp_path: Path) -> None:
    folder = put_segments(tmp_path / "journal", FRAMES[0])
    for name in ("1.seg", "0" * 19 + "x.seg", "0" * 20 + ".seg.bad", "٣" * 20 + ".seg", "-1.seg"):
        (folder / name).write_bytes(FRAMES[1])
    assert read_all(folder) == PAYLOADS[:1]


# append_never_raises_for_the_disk, a_torn_write_is_cut


@pytest.mark.parametrize("part", [0.0, 0.4, 0.95])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_append_never_raises_for_the_disk(
    journal: Journal,
    disk: Disk,
    clock: list[float],
    number: int,
    part: float,
    capfd: pytest.CaptureFixture[str],
) -> None:
    first = journal.append(b"first")
    disk.script = [failing(number, part)]
    assert journal.append(b"second") == first + 14
    assert (journal.n_held, journal.end) == (1, first)
    assert journal.fault is not None
    assert journal.fault.errno == number
    assert journal.append(b"third") == first + 27
    assert read_all_open(journal.folder) == [b"first"]
    clock[0] += 1
    assert journal.append(b"fourth") == first + 41 == journal.end
    assert (journal.n_held, journal.n_dropped) == (0, 0)
    assert read_fault(journal) is None
    assert read_all(journal.folder) == [b"first", b"second", b"third", b"fourth"]
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"weir: {journal.folder}: cannot be written, what is logged waits ")
    assert os.strerror(number) in said[0]


def test_a_disk_that_fails_is_tried_once_a_second(
    journal: Journal, disk: Disk, clock: list[float]
) -> None:
    disk.is_broken = True
    for n in range(100):
        journal.append(b"%d" % n)
    assert disk.n_writes == 1
    clock[0] += 0.999
    journal.append(b"100")
    assert disk.n_writes == 1
    clock[0] += 0.001
    journal.append(b"101")
    assert disk.n_writes == 2
    assert not journal.flush()
    assert disk.n_writes == 3
    disk.is_broken = False
    assert journal.flush()
    assert read_all(journal.folder) == [b"%d" % n for n in range(102)]


def test_what_goes_beyond_the_memory_is_dropped_counted_and_said(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIR_SPOOL_MEMORY_BYTES", "100")
    journal = new_journal(tmp_path / "spool")
    dropped: list[bytes] = []
    journal.on_dropped = dropped.append
    disk.is_broken = True
    for n in range(20):
        journal.append(b"%02d" % n)  # ten bytes each
    assert journal.n_held == 10
    assert dropped == [b"%02d" % n for n in range(10, 20)]
    assert journal.n_dropped == 10
    disk.is_broken = False
    assert journal.flush()
    journal.append(b"later")
    assert read_all(journal.folder) == [*(b"%02d" % n for n in range(10)), b"later"]
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert "records are dropped" in said[1]


@pytest.mark.expects_internal_errors
def test_a_callback_that_fails_does_not_reach_the_caller(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_SPOOL_MEMORY_BYTES", "1")
    journal = new_journal(tmp_path / "spool")

    def fail(payload: bytes) -> None:
        raise LookupError(payload)

    journal.on_dropped = fail
    disk.is_broken = True
    journal.append(b"held")
    journal.append(b"dropped")
    assert (journal.n_held, journal.n_dropped) == (1, 1)


def test_a_broken_stderr_does_not_reach_the_caller(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.is_broken = True
    with open(os.devnull) as read_only:
        for broken in (None, read_only):
            monkeypatch.setattr("sys.stderr", broken)
            journal.append(b"a")
            journal._said.clear()
    assert journal.n_held == 2


def test_a_torn_write_is_cut_or_a_new_segment_begun(
    journal: Journal, disk: Disk, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(b"first")
    disk.script = [short(0.5)]

    def refuse(file: int, size: int) -> None:
        if os.fstat(file).st_size > size:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(writer, "_truncate", refuse)
    journal.append(b"second")
    assert list_segments(journal.folder) == [0, 13]
    clock[0] += 1
    journal.append(b"third")
    assert (journal.folder / segment_name(0)).stat().st_size == 13 + 7
    assert read_all(journal.folder) == [b"first", b"second", b"third"]


def test_a_torn_write_that_cannot_be_cut_now_is_cut_before_the_next(
    journal: Journal, disk: Disk, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append(b"first")
    disk.script = [failing(errno.EIO, 0.5)]

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(writer, "_truncate", refuse)
        broken.setattr(writer, "_open", refuse)
        journal.append(b"second")
        clock[0] += 1
        journal.append(b"third")
        assert journal.n_held == 2
        assert disk.n_writes == 2
    clock[0] += 1
    journal.append(b"fourth")
    assert read_all(journal.folder) == [b"first", b"second", b"third", b"fourth"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EIO, "I/O error")])
def test_a_segment_whose_beginning_failed_leaves_no_file(
    journal: Journal, clock: list[float], monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 40)
    journal.append(bytes(20))

    def interrupted(path: str, flags: int, mode: int) -> int:
        os.close(os.open(path, flags, mode))
        raise error

    with monkeypatch.context() as broken, contextlib.suppress(KeyboardInterrupt):
        broken.setattr(writer, "_open", interrupted)
        journal.append(b"1" * 20)
    assert list_segments(journal.folder) == [0]
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 400)  # the first segment goes on after all
    clock[0] += 1
    journal.append(b"2" * 20)
    assert read_all(journal.folder) == [bytes(20), b"1" * 20, b"2" * 20]


def test_of_what_waited_as_much_is_written_as_fits(
    journal: Journal, disk: Disk, clock: list[float]
) -> None:
    disk.is_broken = True
    for n in range(10):
        journal.append(b"%d" % n)  # nine bytes each
    disk.is_broken = False
    disk.script = [lambda file, data: os.write(file, data[:50])]
    assert not journal.flush()
    assert (journal.end, journal.n_held) == (45, 5)
    assert (journal.folder / segment_name(0)).stat().st_size == 45
    assert journal.flush()
    assert read_all(journal.folder) == [b"%d" % n for n in range(10)]


@pytest.mark.parametrize("seed", range(150))
def test_whatever_the_disk_does_nothing_is_lost_or_doubled(
    tmp_path: Path, disk: Disk, clock: list[float], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(layout, "SEGMENT_BYTES", rng.choice([60, 300, 8 << 20]))
    monkeypatch.setattr(writer, "_CHUNK_FRAMES", rng.choice([1, 3, 1024]))
    monkeypatch.setenv("WEIR_SPOOL_MEMORY_BYTES", rng.choice(["60", "1000"]))
    steps: list[Callable[[float], Callable[[int, bytes], int]]]
    steps = [short, lambda part: failing(errno.EIO, part)]
    moody = rng.random() / 2

    def maybe(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if rng.random() < moody and is_moody:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments)

        return call

    is_moody = True
    monkeypatch.setattr(writer, "_open", maybe(os.open))
    monkeypatch.setattr(writer, "_truncate", maybe(os.ftruncate))
    journal = new_journal(tmp_path / "spool")
    dropped: list[bytes] = []
    journal.on_dropped = dropped.append
    beside, reader = list[bytes](), JournalReader(journal.folder)
    for n in range(60):
        if rng.random() < moody:
            disk.script = [rng.choice(steps)(rng.random())]
        journal.append(b"%d:" % n + bytes(rng.randrange(30)))
        clock[0] += rng.choice([0, 0.4, 1])
        if rng.random() < 0.3:
            beside += reader.read().payloads
    is_moody, disk.script = False, []
    assert journal.flush()
    kept = [int(payload.split(b":")[0]) for payload in read_all(journal.folder)]
    lost = [int(payload.split(b":")[0]) for payload in dropped]
    assert kept == sorted(kept)
    assert sorted(kept + lost) == list(range(60))
    assert journal.n_dropped == len(lost)
    while payloads := reader.read().payloads:
        beside += payloads
    assert [int(payload.split(b":")[0]) for payload in beside] == kept


def test_writing_what_waited_does_not_hold_a_call_for_long(
    journal: Journal, disk: Disk, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_CHUNK_FRAMES", 1)
    disk.is_broken = True
    for n in range(10):
        journal.append(b"%d" % n)
    disk.is_broken = False

    def slow(file: int, data: bytes) -> int:
        clock[0] += 0.02
        return os.write(file, data)

    clock[0] += 1
    disk.script = [slow] * 20
    journal.append(b"10")
    assert (journal.n_held, read_fault(journal)) == (8, None)  # three took 60 ms
    journal.append(b"11")
    assert journal.n_held == 6
    assert journal.flush()
    assert read_all(journal.folder) == [b"%d" % n for n in range(12)]


def test_the_spool_has_a_limit(
    tmp_path: Path,
    clock: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WEIR_SPOOL_MAX_BYTES", "64KiB")
    journal = new_journal(tmp_path / "spool")
    artifact = journal.folder / "files" / "model"
    artifact.write_bytes(bytes(40_000))
    n = 0
    while not journal.n_held:
        journal.append(bytes(992))
        n += 1
        assert n < 100
    assert 12 <= n <= 18
    with pytest.raises(JournalFull, match="WEIR_SPOOL_MAX_BYTES=65536 is reached"):
        journal.sync()
    artifact.unlink()
    clock[0] += 1
    journal.append(b"last")
    assert journal.n_held == 0
    assert len(read_all(journal.folder)) == n + 1
    assert "WEIR_SPOOL_MAX_BYTES" in capfd.readouterr().err


def test_close_counts_what_it_could_not_write(journal: Journal, disk: Disk) -> None:
    journal.append(b"first")
    disk.is_broken = True
    journal.append(b"second")
    journal.close()
    assert journal.n_dropped == 1
    assert read_all(journal.folder) == [b"first"]
    assert JournalFolder(journal.folder).owner_is_gone()
    journal.close()
    for call in (lambda: journal.append(b"third"), journal.sync):
        with pytest.raises(JournalError, match="closed"):
            call()


def test_sync_reaches_every_file_that_changed(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 100)
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    for _ in range(5):
        journal.append(bytes(42))
    journal.sync()
    folder = str(journal.folder)
    names = [f"{folder}/{segment_name(start)}" for start in (0, 100, 200)]
    assert synced == [*names, folder, str(journal.folder.parent)]
    synced.clear()
    journal.append(bytes(42))
    journal.append(bytes(42))
    journal.sync()
    assert synced[:-2] == [names[2], f"{folder}/{segment_name(300)}"]
    disk.is_broken = True
    journal.append(b"waits")
    with pytest.raises(JournalFull, match="1 records wait in memory: No space left on device"):
        journal.sync()


def test_a_later_sync_reaches_the_folder_where_a_file_is_new(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 100)
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    folder, parent = str(journal.folder), str(journal.folder.parent)
    names = [f"{folder}/{segment_name(start)}" for start in (0, 100)]
    journal.append(bytes(17))
    JournalFolder(journal.folder).sync()
    assert synced == [names[0], folder, parent]
    synced.clear()
    known = journal.end
    journal.append(bytes(17))
    JournalFolder(journal.folder).sync(known)
    assert synced == [names[0]]
    synced.clear()
    while journal.end <= 100:
        known = journal.end
        journal.append(bytes(42))
    assert known == 100
    JournalFolder(journal.folder).sync(known)  # it begins where the one before was synced to
    assert synced == [names[1], folder, parent]


# Threads, signals


def test_threads_share_a_journal(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 3000)
    ends: list[int] = []

    def work(name: int) -> None:
        ends.extend([journal.append(b"%d %d" % (name, n)) for n in range(2000)])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ends)) == 12_000
    found = [tuple(map(int, payload.split())) for payload in read_all(journal.folder)]
    for name in range(6):
        assert [n for who, n in found if who == name] == list(range(2000))


def amid(
    journal: Journal, payload: bytes, ends: list[int], *, part: float, is_before: bool
) -> Callable[[int, bytes], int]:
    """Write a part, with a signal handler that appends before or after."""

    def step(file: int, data: bytes) -> int:
        if is_before:
            ends.append(journal.append(payload))
        written = os.write(file, data[: round(len(data) * part)])
        if not is_before:
            ends.append(journal.append(payload))
        return written

    return step


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("is_before", [True, False])
def test_a_signal_handler_may_append_amid_an_append(
    journal: Journal, disk: Disk, part: float, is_before: bool
) -> None:
    first = journal.append(b"first")
    ends: list[int] = []
    disk.script = [amid(journal, b"handler", ends, part=part, is_before=is_before)]
    end = journal.append(b"amid")
    assert journal.flush()
    last = journal.append(b"last")
    order = [b"handler", b"amid"] if is_before or not part else [b"amid", b"handler"]
    assert read_all(journal.folder) == [b"first", *order, b"last"]
    assert last == journal.end == first + 15 + 12 + 12
    assert end <= last - 12
    if part == 1 and not is_before:
        assert ends == [first + 12 + 15]


@pytest.mark.parametrize("is_before", [True, False])
def test_a_signal_handler_whose_record_must_wait_keeps_its_place(
    journal: Journal, disk: Disk, clock: list[float], is_before: bool
) -> None:
    journal.append(b"first")
    handler = amid(journal, b"handler", [], part=1, is_before=is_before)
    disk.script = [handler, failing(errno.EIO, 0.5)]
    journal.append(b"amid")
    assert journal.n_held == 1
    journal.append(b"last")
    assert read_all(journal.folder) == [b"first", b"amid", b"handler", b"last"]


def test_a_signal_handler_may_append_while_what_waited_is_written(
    journal: Journal, disk: Disk, clock: list[float]
) -> None:
    disk.is_broken = True
    journal.append(b"0")
    disk.is_broken = False
    clock[0] += 1
    disk.script = [amid(journal, b"2", [], part=1, is_before=False)]
    journal.append(b"1")
    assert journal.n_held == 0
    assert read_all(journal.folder) == [b"0", b"1", b"2"]


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("is_waiting", [True, False])
def test_an_exception_out_of_a_signal_handler_leaves_no_torn_record(
    journal: Journal, disk: Disk, clock: list[float], part: float, is_waiting: bool
) -> None:
    journal.append(b"first")
    if is_waiting:
        disk.script = [failing(errno.EIO)]
        journal.append(b"waits")
        clock[0] += 1

    def interrupted(file: int, data: bytes) -> int:
        os.write(file, data[: round(len(data) * part)])
        raise KeyboardInterrupt

    disk.script = [interrupted]
    with pytest.raises(KeyboardInterrupt):
        journal.append(b"amid")
    journal.append(b"last")
    assert journal.flush()
    found = read_all(journal.folder)
    before = [b"first", b"waits"] if is_waiting else [b"first"]
    is_there = is_waiting or part == 1  # not acknowledged: either is right, but not in part
    assert found == [*before, *([b"amid"] if is_there else []), b"last"]
    assert journal.end == sum(8 + len(payload) for payload in found)


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_two_exceptions_at_once_do_not_stop_the_journal(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch, part: float
) -> None:
    def interrupted(file: int, data: bytes) -> int:
        os.write(file, data[: round(len(data) * part)])
        raise KeyboardInterrupt

    def again(journal: Journal) -> None:
        raise KeyboardInterrupt

    journal.append(b"first")
    disk.script = [interrupted]
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "_account_for_one", again)
        with pytest.raises(KeyboardInterrupt):
            journal.append(b"amid")
    assert journal.append(b"last") == 13 + 12
    assert journal.n_held == 0
    assert read_all(journal.folder) == [b"first", b"last"]


@pytest.mark.slow
def test_real_signals_lose_and_double_nothing(journal: Journal) -> None:
    acknowledged: list[bytes] = []
    attempted: list[bytes] = []
    counter = itertools.count()

    def handler(signum: int, frame: object) -> None:
        payload = b"handler %d" % next(counter)
        attempted.append(payload)
        journal.append(payload)
        acknowledged.append(payload)
        if next(counter) % 3 == 0:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    stop = time.monotonic() + 1.5
    try:
        while time.monotonic() < stop:
            try:
                payload = b"main %d" % next(counter)
                attempted.append(payload)
                journal.append(payload)
                acknowledged.append(payload)
            except KeyboardInterrupt:
                pass
    except KeyboardInterrupt:
        pass
    finally:
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before)
                break
            except KeyboardInterrupt:
                pass
    assert journal.fault is None
    assert journal.flush()
    found = read_all(journal.folder)
    assert len(set(found)) == len(found)
    assert set(acknowledged) <= set(found)
    assert set(found) <= set(attempted)
    assert journal.end == sum(8 + len(payload) for payload in found)


# the_child_of_a_fork_is_kept_out, owners


FORKING = """
import os, sys, threading
from pathlib import Path
from journals import new_journal
from mlflow_weir.errors import JournalError
journal = new_journal(Path(sys.argv[1]))
journal.append(b"before")
is_over = threading.Event()
def work():
    while not is_over.is_set():
        journal.append(b"thread")
threading.Thread(target=work).start()
for _ in range(30):
    child = os.fork()
    if child == 0:
        try:
            assert not journal.is_ours
            for call in (lambda: journal.append(b"child"), journal.sync):
                try:
                    call()
                except JournalError as exc:
                    assert "forked" in str(exc)
                else:
                    os._exit(3)
            journal.close()
            own = new_journal(Path(sys.argv[1]))
            own.append(b"own")
            assert own.is_ours
            fds = {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                   if os.path.lexists(f"/proc/self/fd/{n}")}
            assert not any(journal.journal_id in name for name in fds)
            own.close()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(4)
    assert os.waitpid(child, 0)[1] == 0
assert journal.is_ours
is_over.set()
print(journal.folder, flush=True)
sys.stdin.read()
journal.append(b"after")
"""

WHO_OWNS = """
import sys
from pathlib import Path
from mlflow_weir.plugin.journal.spool import JournalFolder
print(JournalFolder(Path(sys.argv[1])).owner_is_gone())
"""


@pytest.mark.slow
def test_the_child_of_a_fork_is_kept_out(tmp_path: Path) -> None:
    parent = start_python(FORKING, str(tmp_path / "spool"))
    assert parent.stdout is not None
    folder = parent.stdout.readline().decode().strip()
    assert run_python(WHO_OWNS, folder) == "False\n", "a child unlocked its parent's journal"
    _, error = parent.communicate(timeout=300)
    assert parent.returncode == 0, error.decode()
    found = read_all(Path(folder))
    assert set(found) == {b"before", b"thread", b"after"}
    assert (found[0], found[-1]) == (b"before", b"after")
    assert run_python(WHO_OWNS, folder) == "True\n"


WITHOUT_STREAMS = """
import os, sys
from pathlib import Path
from journals import new_journal
from mlflow_weir.plugin.journal import format as layout, writer
from mlflow_weir.plugin.journal.spool import JournalFolder
layout.SEGMENT_BYTES = writer.layout.SEGMENT_BYTES = 1000
os.close(0)
os.close(2)
journal = new_journal(Path(sys.argv[1]))
for n in range(100):
    journal.append(b"%100d" % n)
assert len(layout.list_segments(journal.folder)) > 2
for number in (0, 2):
    try:
        os.write(number, b"a word of C code's")
    except OSError:
        continue
    raise SystemExit(f"{number} is taken")
os.dup2(1, 2)
print(JournalFolder(journal.folder).owner_is_gone(), journal.folder)
"""


def test_a_journal_takes_no_number_of_a_closed_stream(tmp_path: Path) -> None:
    is_gone, folder = run_python(WITHOUT_STREAMS, str(tmp_path)).split()
    assert is_gone == "False"
    assert read_all(Path(folder)) == [b"%100d" % n for n in range(100)]


ORPHANING = """
import ctypes, os, sys, time
from pathlib import Path
from journals import new_journal
from mlflow_weir.plugin.journal.spool import JournalFolder
journal = new_journal(Path(sys.argv[1]))
owner = os.getpid()
# Of libc, so that Python does not learn of it and closes nothing in the child.
child = ctypes.CDLL(None).fork() if sys.argv[2] == "unseen" else os.fork()
if child:
    os._exit(0)
give_up = time.monotonic() + 120
while os.getppid() == owner and time.monotonic() < give_up:
    pass
print(journal.folder, JournalFolder(journal.folder).owner_is_gone(), flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["unseen", "seen"])
def test_a_child_that_outlives_the_owner_does_not_keep_its_lock(tmp_path: Path, how: str) -> None:
    process = start_python(ORPHANING, str(tmp_path / "spool"), how)
    assert process.stdout is not None
    folder, is_gone = process.stdout.readline().decode().split()
    try:
        assert run_python(WHO_OWNS, folder) == "True\n"
        assert is_gone == "True" or how == "unseen"
    finally:
        process.communicate(timeout=300)


def test_to_look_for_the_owner_does_not_unlock_the_journal(journal: Journal) -> None:
    folder = JournalFolder(journal.folder)
    assert not folder.owner_is_gone()
    with pytest.raises(LeaseLost):
        Journal.adopt(folder)
    assert run_python(WHO_OWNS, str(journal.folder)) == "False\n"
    journal.close()
    assert folder.owner_is_gone()
    assert run_python(WHO_OWNS, str(journal.folder)) == "True\n"


def test_a_torn_tail_is_cut_when_a_journal_is_adopted(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    journal.append(b"whole")
    folder = JournalFolder(journal.folder)
    journal.close()
    with open(journal.folder / segment_name(0), "ab") as file:
        file.write(FRAMES[0][:-1])
    adopted = Journal.adopt(folder)
    assert "a torn tail of 14 bytes is cut off" in caplog.text
    assert adopted.journal_id == journal.journal_id
    assert (journal.folder / segment_name(0)).stat().st_size == adopted.end == 13
    assert adopted.append(b"next") == 25
    assert not folder.owner_is_gone()
    adopted.close()
    assert read_all(journal.folder) == [b"whole", b"next"]


def test_a_damaged_journal_is_not_adopted(journal: Journal) -> None:
    for n in range(3):
        journal.append(b"%d" % n)
    journal.close()
    with open(journal.folder / segment_name(0), "r+b") as file:
        file.seek(9)
        file.write(b"\xff")
    folder = JournalFolder(journal.folder)
    with pytest.raises(JournalCorrupt):
        Journal.adopt(folder)
    assert folder.owner_is_gone(), "the lock is given back"
