"""The pump: a process between a training's output and where it went before.

It reads what is written to the training's file descriptors 1 and 2, writes it on at once, and then
hands it to a thread that keeps it (``keeping.py``). Run as a file by ``plugin/console.py``, with
the standard library alone until something is to be kept: it serves within milliseconds.

    pump.py CONTROL RESCUE CHANNEL…        CHANNEL is KIND:IN:OUT, descriptors inherited

KIND is the stream (0 both, 1 stdout, 2 stderr) and "p" for a pipe, "t" for a terminal, whose IN is
the master's side, or "w" for text that is only kept, framed. RESCUE is the file in memory that
``rescue.py`` describes, or -1. CONTROL is a socket: lines of JSON both ways.

    to the pump     {"do": "hello", "path"}  {"do": "begin", "run_id", …}  {"do": "end", "run_id"}
                    {"do": "flush"}  {"do": "finish"}; each with a number "n", which is answered
                    Before the first answer with "sizes": what each channel held at that moment.
                    {"do": "hello", "open": [begin…]} has it take over from one that is gone
    from the pump   {"n"}  once all that was written before is where it goes
                    {"n", "journals": [[folder, end]]}  for flush and finish, once it is kept
                    {"broken": channel}  nobody reads its output any more

Promises, with tests of these names in tests/host/test_console_pump.py:

* first_the_terminal: nothing is kept before it was written on; a thread that keeps too slowly, or
  fails, loses lines and nothing else.
* another_takes_over: a child that does nothing else (the *standby*) holds the same descriptors and
  goes on passing on and keeping (``rescue.py``) if this process dies or is stopped. What it had
  read and not written is lost, at most ``_READ_BYTES``; of what is kept a line says so. Where both
  are gone the training starts another pump.
* the_end_is_the_writers: it reads until every writer has closed its end, whatever signals come.
* a_reader_that_is_gone_is_told: when the output's own reader is gone, the training's next write
  fails, as it would have.
"""

from __future__ import annotations

import collections
import errno
import fcntl
import json
import os
import select
import signal
import socket
import stat
import sys
import termios
import threading
import time
from typing import Any

NAME = "weir-console"  # at most 15 characters
_READ_BYTES = 64 << 10
_PIECE_BYTES = 4096  # what a pipe takes without waiting, once it can be written
_HEAD_COST, _RING_COST = 8 << 20, 8 << 20  # bytes waiting to be looked at, and so much a line:
_LINE_COST = 32
_TICK_MS = 250
_STUCK_TICKS = 2
_DRAIN_S, _LAST_DRAIN_S = 1.0, 60.0
_TURN_S = 0.25
_FIRST_S = 5.0
_SIZE_OF_NOTHING = 5  # of a rescue file in which no run is open
# What ends or stops the training is for the training: its last words are still to come.
_DEAF_TO = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGUSR2),
)
_GONE = frozenset({errno.EPIPE, errno.EIO, errno.ENXIO, errno.EBADF, errno.ECONNRESET})


class Channel:
    """One way from the training to an output.

    Attributes:
        is_open: The training, or a process it started, can still write.
        pending: Read, and not written on yet.
        n_read: Bytes, of all that came.
        read_to: Where to stop for now.
    """

    def __init__(self, number: int, words: str) -> None:
        kind, source, target = words.split(":")
        self.number, self.stream, self.kind = number, int(kind[0]), kind[1]
        self.source, self.target = int(source), int(target)
        self.is_open = True
        self.n_read, self.read_to = 0, sys.maxsize
        self.pending = memoryview(b"")
        self.frames = b""
        self.is_file = self.kind != "w" and stat.S_ISREG(os.fstat(self.target).st_mode)

    def size_to_terminal(self) -> None:
        """Give the training's terminal the size that the real one has now."""
        if self.kind != "t":
            return
        try:
            size = fcntl.ioctl(self.target, termios.TIOCGWINSZ, b"\0" * 8)
            if size != fcntl.ioctl(self.source, termios.TIOCGWINSZ, b"\0" * 8):
                fcntl.ioctl(self.source, termios.TIOCSWINSZ, size)
        except OSError:
            pass


class Waiting:
    """What was printed and is not looked at yet: its head, and beyond it the newest.

    One thread puts, one takes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: collections.deque[Any] = collections.deque()
        self._ring: collections.deque[Any] = collections.deque()
        self._head_left, self._ring_cost = _HEAD_COST, 0
        self._skipped = 0
        self.is_new, self.is_urgent = threading.Event(), threading.Event()

    def put(self, stream: int, data: bytes) -> None:
        """Add what was printed."""
        at_ms, n_lines = time.time_ns() // 1_000_000, data.count(b"\n")
        cost = len(data) + _LINE_COST * n_lines
        with self._lock:
            if self._head_left > 0 and not self._ring and not self._skipped:
                self._head_left -= cost
                self._items.append((at_ms, stream, data))
            else:
                self._ring.append((cost, n_lines, (at_ms, stream, data)))
                self._ring_cost += cost
                while self._ring_cost > _RING_COST:
                    cost, n_lines, _ = self._ring.popleft()
                    self._ring_cost -= cost
                    self._skipped += n_lines
        self.is_new.set()

    def mark(self, said: dict[str, Any]) -> None:
        """Add something to be done once all before it was looked at."""
        with self._lock:
            self._settle()
            self._items.append(said)
            if said["do"] == "begin":
                self._head_left = _HEAD_COST
        self.is_new.set()
        self.is_urgent.set()

    def take(self) -> Any:
        """Return the next, ("skip", n) for what was too much; None when there is nothing."""
        with self._lock:
            if not self._items:
                self._settle()
            if not self._items:
                self._head_left = max(self._head_left, _READ_BYTES)
                self.is_new.clear()
                return None
            return self._items.popleft()

    @property
    def is_flooded(self) -> bool:
        """Say whether more comes than can be looked at."""
        return bool(self._ring)

    def _settle(self) -> None:
        if self._skipped:
            self._items.append(("skip", self._skipped))
            self._skipped = 0
        self._items.extend(item for _, _, item in self._ring)
        self._ring.clear()
        self._ring_cost = 0


class Mover:
    """Reads and writes on; tells the keeping thread, where there is one."""

    def __init__(self, control: socket.socket, channels: list[Channel]) -> None:
        self._control, self._channels = control, channels
        self._heard = b""
        self._is_heard, self._has_begun = True, False
        self.waiting: Waiting | None = None
        self.standby: socket.socket | None = None
        self.n_open_runs = 0
        self.first: list[dict[str, Any]] = []  # what was said until the first run
        self._says = threading.Lock()

    def hear_first(self) -> None:
        """Hear of the first run, which began before anything was written to us."""
        self._control.setblocking(False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        give_up_s = time.monotonic() + _FIRST_S
        while self._is_heard and not self._has_begun and time.monotonic() < give_up_s:
            if poll.poll(_TICK_MS):
                self._listen()

    def run(self) -> None:
        """Pass on until nobody can write any more."""
        self._control.setblocking(False)
        self._has_begun = True
        while self._is_heard or any(one.is_open for one in self._channels):
            self._turn(_TICK_MS)
        while any(one.pending for one in self._channels):
            self._turn(_TICK_MS)

    def say(self, said: dict[str, Any]) -> None:
        """Tell the training something; nothing, if it is gone."""
        with self._says:
            try:
                self._control.sendall(json.dumps(said).encode() + b"\n")
            except OSError:
                pass

    def _turn(self, timeout_ms: int) -> bool:
        """Do what can be done now; False when nothing could."""
        poll = select.poll()
        by_file = {}
        for one in self._channels:
            one.size_to_terminal()
            if one.pending and not one.is_file:
                poll.register(one.target, select.POLLOUT)
                by_file[one.target] = one
            elif one.is_open and one.n_read < one.read_to:
                poll.register(one.source, select.POLLIN)
                by_file[one.source] = one
        if self._is_heard:
            poll.register(self._control, select.POLLIN)
        ready = [file for file, _ in poll.poll(timeout_ms)]
        if self._is_heard and self._control.fileno() in ready:
            self._listen()  # first: what it says is about what was not read yet
            return True
        is_any = False
        for file in ready:
            one = by_file[file]
            if one.pending:
                self._write(one)
                is_any = True
            else:
                is_any |= self._read(one)
        return is_any

    def _read(self, one: Channel) -> bool:
        try:
            data = os.read(one.source, min(_READ_BYTES, one.read_to - one.n_read))
        except BlockingIOError:
            return False
        except OSError:  # a terminal's way of saying that the last writer has closed it
            data = b""
        if not data:
            one.is_open = False
            os.close(one.source)
            return False
        one.n_read += len(data)
        if one.kind == "w":
            self._take_frames(one, data)
            return True
        one.pending = memoryview(data)
        self._write(one)
        if self.waiting is not None and self.n_open_runs:
            self.waiting.put(one.stream, data)
        return True

    def _take_frames(self, one: Channel, data: bytes) -> None:
        data = one.frames + data
        while len(data) >= 5:
            end = 5 + int.from_bytes(data[1:5], "little")
            if len(data) < end:
                break
            if self.waiting is not None and self.n_open_runs:
                self.waiting.put(data[0], data[5:end])
            data = data[end:]
        one.frames = data

    def _write(self, one: Channel) -> None:
        poll = select.poll()
        poll.register(one.target, select.POLLOUT)
        try:
            while one.pending:
                if one.is_file:
                    n = os.write(one.target, one.pending)
                elif poll.poll(0):
                    n = os.write(one.target, one.pending[:_PIECE_BYTES])
                else:
                    return
                one.pending = one.pending[n:]
        except BlockingIOError:
            return
        except OSError as exc:
            one.pending = memoryview(b"")
            if exc.errno in _GONE:
                self._break(one)
            # A full disk: what does not fit is lost, and the training goes on.

    def _break(self, one: Channel) -> None:
        """Let the training's next write fail: nobody reads what it writes."""
        if one.is_open:
            one.is_open = False
            os.close(one.source)
        if self.standby is not None:
            try:
                self.standby.send(bytes([one.number]))
            except OSError:
                pass
        self.say({"broken": one.number})

    def _listen(self) -> None:
        try:
            data = self._control.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._is_heard = False
            self._drain(_LAST_DRAIN_S)
            if self.waiting is not None:
                self.n_open_runs = 0
                self.waiting.mark({"do": "gone"})
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._do(json.loads(line))

    def _do(self, said: dict[str, Any]) -> None:
        what = said["do"]
        if not self._has_begun:
            self.first.append(said)
            self._has_begun = "open" in said
        else:
            for one, size in zip(self._channels, said.get("sizes", ()), strict=False):
                one.read_to = max(size, one.n_read)
            self._drain(_LAST_DRAIN_S if what == "finish" else _DRAIN_S)
            for one in self._channels:
                one.read_to = sys.maxsize
        if what == "begin":
            self.n_open_runs += 1
            self._has_begun = True
        elif "open" in said:
            self.n_open_runs = len(said["open"])
        elif what == "end":
            self.n_open_runs = max(self.n_open_runs - 1, 0)
        waiting = self.waiting
        if what in ("flush", "finish") and waiting is None:
            self.say({"n": said["n"], "journals": []})
        elif what != "hello" or "open" in said:
            self.say({"n": said["n"]})
        if waiting is not None:  # then: what the keeping thread says of it is the last word
            waiting.mark(said)

    def _drain(self, longest_s: float = _DRAIN_S) -> None:
        """Pass on all that was written before this moment."""
        give_up_s = time.monotonic() + longest_s
        has_terminal = any(one.kind == "t" and one.is_open for one in self._channels)
        is_heard, self._is_heard = self._is_heard, False
        try:
            while time.monotonic() < give_up_s:
                # The kernel hands a terminal's text over a moment after it was written.
                timeout_ms = 5 if has_terminal or self._is_pending() else 0
                if not self._turn(timeout_ms) and not self._is_pending():
                    return
        finally:
            self._is_heard = is_heard

    def _is_pending(self) -> bool:
        return any(one.pending for one in self._channels)


def _keep(mover: Mover, waiting: Waiting, rescue: int) -> None:
    """Look at what was printed, in a thread of its own, and never too much of the time."""
    keeper: Any = None
    is_over = False
    while not is_over:
        waiting.is_new.wait()
        if not waiting.is_flooded:
            waiting.is_urgent.wait(_TURN_S)
        waiting.is_urgent.clear()
        began_s = time.monotonic()
        while (item := waiting.take()) is not None:
            if isinstance(item, tuple):
                if keeper is not None and item[0] == "skip":
                    keeper.skip(item[1])
                elif keeper is not None:
                    keeper.feed(*item)
                    if waiting.is_flooded:  # a quarter of the time, and the terminal first
                        time.sleep(3 * (time.monotonic() - began_s))
                        began_s = time.monotonic()
                continue
            if item["do"] == "hello":
                _find_packages(item)
            if keeper is None and (item["do"] in ("begin", "take_over") or "open" in item):
                keeper = _keeper(rescue)
            answer = _keep_up(keeper, item)
            is_over |= item["do"] in ("gone", "finish")
            if answer is not None:
                mover.say(answer)
            if is_over:
                mover.waiting = None
                break
        if keeper is not None and not is_over:
            keeper.flush()


def _keeper(rescue: int) -> Any:
    from mlflow_weir.plugin.capture.console.keeping import Keeper
    from mlflow_weir.plugin.capture.console.rescue import Rescue

    return Keeper(Rescue(rescue) if rescue >= 0 else None)


def _keep_up(keeper: Any, said: dict[str, Any]) -> dict[str, Any] | None:
    what = said["do"]
    if keeper is not None:
        if what == "begin":
            keeper.begin(said)
        elif what == "take_over" or "open" in said:
            keeper.take_over(said.get("open"))
        elif what == "end":
            keeper.end(said["run_id"])
        elif what == "flush":
            keeper.flush(is_last=False)
        elif what in ("finish", "gone"):
            keeper.close()
    if what in ("flush", "finish"):
        return {"n": said["n"], "journals": [] if keeper is None else keeper.ends()}
    return None


def _find_packages(said: dict[str, Any]) -> None:
    """Import from where the training does; ours may be found by a hook of ``site``."""
    import importlib.util

    sys.argv = [said["program"]]
    sys.path[:] = [one for one in said["path"] if one]
    if importlib.util.find_spec("mlflow_weir") is None:
        import site

        site.main()


def _stand_by(
    mover: Mover, leader: int, link: socket.socket, channels: list[Channel], rescue: int
) -> None:
    """Wait for the other to die or to be stopped, then go on in its place."""
    link.setblocking(False)
    poll = select.poll()
    poll.register(link, select.POLLIN)
    n_stuck = 0
    while True:
        if poll.poll(_TICK_MS):
            try:
                broken = link.recv(64)
            except BlockingIOError:
                continue
            except OSError:
                broken = b""
            if not broken:
                break
            for number in broken:
                if channels[number].is_open:
                    channels[number].is_open = False
                    os.close(channels[number].source)
            continue
        n_stuck = n_stuck + 1 if _is_stopped(leader) and _has_input(channels) else 0
        if n_stuck >= _STUCK_TICKS:
            os.kill(leader, signal.SIGKILL)  # it must not write later what was read by then
            break
    thread = _start_keeping(mover, rescue)
    mover.run()
    _last_words(mover, thread)


def _start_keeping(mover: Mover, rescue: int) -> threading.Thread | None:
    """Keep on from where the other was killed; nothing where all it had is written."""
    size = os.fstat(rescue).st_size if rescue >= 0 else 0
    if rescue < 0 or size == _SIZE_OF_NOTHING:
        return None
    waiting = mover.waiting = Waiting()
    for said in mover.first:
        if not size:
            waiting.mark(said)
        elif said["do"] == "hello":
            waiting.mark({name: value for name, value in said.items() if name != "open"})
    if size:
        waiting.mark({"do": "take_over"})
    mover.n_open_runs = sys.maxsize  # whichever they are, the keeper knows
    return _keeping(mover, waiting, rescue)


def _keeping(mover: Mover, waiting: Waiting, rescue: int) -> threading.Thread:
    thread = threading.Thread(target=_keep, args=(mover, waiting, rescue), daemon=True)
    thread.start()
    return thread


def _take_name() -> None:
    """Be told apart from the training, in ``ps`` and by who measures it (``processes.py``)."""
    try:
        with open("/proc/self/comm", "w") as file:
            file.write(NAME)
    except OSError:  # not Linux
        pass


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def _has_input(channels: list[Channel]) -> bool:
    poll = select.poll()
    for one in channels:
        if one.is_open:
            poll.register(one.source, select.POLLIN)
    return bool(poll.poll(0))


def main(words: list[str]) -> None:
    """Run until nobody can write any more."""
    _take_name()
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    control, rescue = socket.socket(fileno=int(words[0])), int(words[1])
    channels = [Channel(number, one) for number, one in enumerate(words[2:])]
    for one in channels:
        os.set_blocking(one.source, False)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    leader = os.getpid()
    mover = Mover(control, channels)
    waiting = mover.waiting = Waiting()
    mover.hear_first()
    if os.fork() == 0:
        ours.close()
        _stand_by(mover, leader, theirs, channels, rescue)
        os._exit(0)
    theirs.close()
    mover.standby = ours
    sys.setswitchinterval(0.001)
    thread = _keeping(mover, waiting, rescue)
    mover.run()
    _last_words(mover, thread)
    os._exit(0)


def _last_words(mover: Mover, thread: threading.Thread | None) -> None:
    """Let what was printed last be kept."""
    waiting = mover.waiting
    if waiting is not None:
        waiting.mark({"do": "gone"})
    if thread is not None:
        thread.join(60.0)


if __name__ == "__main__":
    main(sys.argv[1:])
