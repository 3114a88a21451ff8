"""The thread that delivers to one target: its journals in turn, each strictly in order.

What nobody waits for is delivered each half second, of all journals together: each delivery is a
transaction, and work beside a training that should cost it nothing. So what is written while a
turn goes on has the next one.

One target that is away, or that is slow to say so, holds up nobody else's journals. While it is
away it is tried again after 0.2 s, then twice as long each time up to 30 s; a training that waits
for its delivery is a reason to try each second.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlflow_weir.errors import (
    ConfigError,
    JournalCorrupt,
    JournalError,
    LeaseLost,
    RunNotThereYet,
    SchemaMismatch,
    StoreUnavailable,
)
from mlflow_weir.plugin.agent.client import SET_ASIDE
from mlflow_weir.plugin.agent.drain import JournalDelivery, end_of
from mlflow_weir.plugin.agent.exit_states import Evidence, Ownership
from mlflow_weir.plugin.agent.liveness import try_watch
from mlflow_weir.plugin.agent.targets import Address, DeliveryTarget, open_target
from mlflow_weir.plugin.agent.uploads import Uploads
from mlflow_weir.plugin.journal.spool import Header, JournalFolder

_log = logging.getLogger(__name__)

HEARTBEAT_S = 10.0
_TURN_S = 0.5  # between two deliveries that nobody waits for
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _URGED_PAUSE_S = 0.2, 30.0, 1.0
_YIELD_S = 2.0  # to whoever else delivers a journal
_CLOSE_IDLE_S = 2.0  # then the connection is given back, and with it SQLite's write-ahead log
_LOOK_AT_CHILD_S = 0.05
_REST_S = 3.0  # before ended runs are compacted: a sweep's next one starts at that moment
_SAY_AGAIN_S = 600.0


class Pause:
    """A growing pause between tries."""

    def __init__(self) -> None:
        self._next_s = _FIRST_PAUSE_S
        self.until_s = 0.0

    def is_over(self) -> bool:
        """Say whether it is time to try."""
        return time.monotonic() >= self.until_s

    def grow(self, at_least_s: float = 0.0) -> None:
        """Begin the next pause, twice as long as the one before."""
        self.until_s = time.monotonic() + max(self._next_s, at_least_s)
        self._next_s = min(2 * self._next_s, _LONGEST_PAUSE_S)

    def is_longest(self) -> bool:
        """Say whether it has grown for as long as it does."""
        return self._next_s >= _LONGEST_PAUSE_S

    def urge(self) -> None:
        """Let it be short: somebody waits."""
        self.until_s = min(self.until_s, time.monotonic() + _URGED_PAUSE_S)

    def end(self) -> None:
        """Begin afresh: it went well."""
        self._next_s, self.until_s = _FIRST_PAUSE_S, 0.0


@dataclass
class Tracked:
    """One journal as the agent sees it; the worker's thread alone touches ``delivery``.

    Attributes:
        credentials_ns: When what the address is made of was written, wall time.
        end: Size of the journal, as last looked at, in bytes.
        start: Where its last segment begins.
        evidence: How its process ended; None while it lives.
        turn_end: Where it ended when this turn began, in bytes.
        is_released: Its process lives, but closed the journal.
        is_done: Delivered to the end and removed.
        is_stuck: Nothing but a person can deliver it.
        is_moved: Its process has renewed what delivery needs: another worker's it is to be.
        has_files: It is delivered, and artifacts beside it wait for their store.
        waits_for: Journals, and how far each is to be delivered before this one may name a run
            that does not exist.
    """

    folder: JournalFolder
    header: Header
    address: Address
    credentials_ns: int = 0
    end: int = 0
    start: int = 0
    turn_end: int = 0
    evidence: Evidence | None = None
    is_released: bool = False
    is_done: bool = False
    is_stuck: bool = False
    is_moved: bool = False
    has_files: bool = False
    delivery: JournalDelivery | None = None
    pause: Pause = field(default_factory=Pause)
    is_closed: bool = False
    waits_for: list[tuple[Tracked, int]] | None = None

    def keeps(self, run_id: str, how: Ownership) -> bool:
        """Say whether its process lives and a run goes on with it that another had in this way."""
        delivery = self.delivery
        mine = None if delivery is None else delivery.open_runs.get(run_id)
        return self.evidence is None and mine is not None and how.yields_to(mine)


class Worker(threading.Thread):
    """Delivers the journals of one address."""

    def __init__(
        self,
        address: Address,
        next_fencing: Callable[[], int],
        is_open_elsewhere: Callable[[str, Ownership, Tracked], bool],
    ) -> None:
        super().__init__(name=f"weir-deliver-{address.kind}", daemon=True)
        self.address = address
        self._next_fencing = next_fencing
        self._is_open_elsewhere = is_open_elsewhere
        self._fencing = next_fencing()
        self._target: DeliveryTarget | None = None
        self._uploads = Uploads(address, self.wake)
        self._journals: list[Tracked] = []
        self._signal = threading.Condition()
        self._is_awake = self._is_urged = False
        self._next_turn_s = 0.0
        self._stop_asked = threading.Event()
        self._pause = Pause()
        self._said: tuple[str, float] = ("", 0.0)
        self._due: dict[str, bool] = {}
        self._compaction_pause = Pause()
        self._next_beat_s = 0.0
        self._idle_since_s = time.monotonic()

    def add(self, journal: Tracked) -> None:
        """Deliver this journal too; any thread."""
        with self._signal:
            self._journals.append(journal)
        self.wake()

    def wake(self) -> None:
        """Look at the journals now; any thread."""
        with self._signal:
            self._is_awake = True
            self._signal.notify()

    def urge(self) -> None:
        """Do not let somebody wait for the next turn, or a long pause to end; any thread."""
        self._is_urged = True
        self._pause.urge()
        for journal in list(self._journals):
            journal.pause.urge()
        self._uploads.urge()
        self.wake()

    def ask_to_stop(self) -> None:
        """Finish the transaction in hand and end; any thread."""
        with self._signal:
            self._stop_asked.set()
            self._signal.notify()

    def is_idle(self) -> bool:
        """Say whether it has neither journals nor housekeeping."""
        return not self._journals and not self._due

    def run(self) -> None:
        """Deliver until asked to stop."""
        while not self._stop_asked.is_set():
            try:
                self._pass()
            except Exception:  # noqa: BLE001 - one target's fault must not end the others' delivery
                _log.exception("delivery to %s", self.address.shown)
                self._pause.grow()
            with self._signal:
                if not self._is_awake and not self._stop_asked.is_set():
                    self._signal.wait(self._wait_s())
                self._is_awake = False
        for journal in self._journals:
            if journal.delivery is not None:
                journal.delivery.close()
        self._uploads.close()
        self._close_target()

    def _wait_s(self) -> float:
        now = time.monotonic()
        moments = [self._next_beat_s if self._journals else now + _CLOSE_IDLE_S]
        if any(_has_work(one) and _is_due(one) for one in self._journals):
            moments.append(self._pause.until_s)
        elif any(map(_has_work, self._journals)):
            moments.append(max(self._pause.until_s, self._next_turn_s))
        moments += [one.pause.until_s for one in self._journals if one.pause.until_s > now]
        if self._due:
            moments.append(self._compaction_pause.until_s)
        return max(min(moments) - now, 0.02)

    def _pass(self) -> None:
        """Go round the journals until none has anything new, and keep house in between."""
        is_turn = self._is_urged or time.monotonic() >= self._next_turn_s
        self._is_urged = False
        for journal in self._journals if is_turn else ():
            journal.turn_end = end_of(journal.folder)
        for journal in self._journals:
            if journal.is_moved:
                self._forget(journal)
        with self._signal:
            self._journals = [one for one in self._journals if not one.is_done]
        is_more = True
        while is_more and not self._stop_asked.is_set() and self._pause.is_over():
            is_more = False
            for journal in list(self._journals):
                if self._stop_asked.is_set() or not self._pause.is_over():
                    break
                if not (journal.pause.is_over() and (is_turn or _is_due(journal))):
                    continue
                is_more |= self._try(journal)
            with self._signal:
                self._journals = [one for one in self._journals if not one.is_done]
            if self._journals or self._due:
                self._idle_since_s = time.monotonic()
            self._beat()
            self._keep_house()
        if time.monotonic() - self._idle_since_s > _CLOSE_IDLE_S:
            self._close_target()

    def _try(self, journal: Tracked) -> bool:
        """Do one step of one journal; True when it has more to do at once."""
        try:
            is_more = self._step(journal)
        except RunNotThereYet as exc:
            # Begun by another process, perhaps, whose journal comes after this one. What it wrote
            # before this record is in its file by now.
            _log.debug("journal %s: %s", journal.header.journal_id, exc)
            others = [one for one in self._journals if one is not journal and not one.is_done]
            journal.waits_for = [(one, end_of(one.folder)) for one in others]
            return True
        except StoreUnavailable as exc:
            self._put_off(journal, exc, self._pause)
        except LeaseLost as exc:  # weir sync is at it; what it did is found in the database
            _log.info("journal %s: %s", journal.header.journal_id, exc)
            self._begin_again(journal)
            journal.pause.grow(_YIELD_S)
        except (ConfigError, SchemaMismatch) as exc:
            journal.is_stuck = True
            self._put_off(journal, exc, self._pause)
        except FileNotFoundError:  # delivered elsewhere and removed
            self._forget(journal)
        except Exception as exc:  # noqa: BLE001 - one journal's fault must not stop the others
            self._set_aside(journal, exc)
        else:
            # Files that a store refuses wait for a person.
            journal.is_stuck = self._uploads.is_failing(journal.folder)
            journal.pause.end()
            return is_more
        return False

    def _step(self, journal: Tracked) -> bool:
        if not journal.folder.path.is_dir():
            self._forget(journal)
            return False
        if journal.delivery is None:
            journal.delivery = JournalDelivery(journal.folder, self._fencing)
        delivery = journal.delivery
        if journal.evidence is not None:
            delivery.owner_is_gone()
        if self._target is None:
            self._target = open_target(self.address, journal.folder.path.parent.parent)
        if journal.waits_for is not None and any(map(_is_behind, journal.waits_for)):
            return False  # the others' steps bring us back here
        if delivery.step(self._target, is_patient=journal.waits_for is None):
            journal.waits_for = None
            if delivery.due and not self._due and all(delivery.due.values()):
                self._compaction_pause.until_s = time.monotonic() + _REST_S
            self._due.update(delivery.due)
            delivery.due.clear()
            self._said = ("", 0.0)
            self._pause.end()
            self._next_turn_s = time.monotonic() + _TURN_S
            if delivery.position < journal.turn_end or _is_due(journal):
                return True
        self._uploads.look(journal.folder, delivery.position)
        if journal.evidence is not None:
            return self._settle(journal, delivery, journal.evidence)
        if journal.is_released and not delivery.open_runs:
            return self._settle(journal, delivery, Evidence(None))
        return False

    def _settle(self, journal: Tracked, delivery: JournalDelivery, evidence: Evidence) -> bool:
        """End the runs of a journal that is delivered, then remove it."""
        if not journal.is_closed:
            causes = delivery.close_runs(
                evidence, lambda run_id, how: self._is_open_elsewhere(run_id, how, journal)
            )
            journal.is_closed = True
            for run_id, cause in causes.items():
                _log.info("run %s: %s", run_id, cause)
            return True
        journal.has_files = self._uploads.look(journal.folder, delivery.position)
        if journal.has_files:
            return False  # whoever uploads them wakes us
        delivery.remove()
        journal.is_done = True
        _log.info("journal %s: delivered and removed", journal.header.journal_id)
        return False

    def _begin_again(self, journal: Tracked) -> None:
        if journal.delivery is not None:
            journal.delivery.close()
        journal.delivery, journal.is_closed = None, False
        self._fencing = self._next_fencing()

    def _forget(self, journal: Tracked) -> None:
        if journal.delivery is not None:
            journal.delivery.close()
        journal.is_done = True

    def _put_off(self, journal: Tracked, error: Exception, pause: Pause) -> None:
        reason = self.address.redacted(str(error))
        pause.grow()
        for one in self._journals:
            if one.delivery is not None and (one is journal or one.end > one.delivery.position):
                one.delivery.fail(reason)
        if reason != self._said[0] or time.monotonic() - self._said[1] > _SAY_AGAIN_S:
            _log.warning("%s is not available: %s", self.address.shown, reason)
            self._said = (reason, time.monotonic())

    def _set_aside(self, journal: Tracked, error: Exception) -> None:
        """Leave a journal that cannot be delivered; look again now and then."""
        reason = self.address.redacted(str(error)) or type(error).__name__
        is_expected = isinstance(error, JournalError)
        if not journal.is_stuck:
            _log.error(
                "journal %s is set aside: %s",
                journal.header.journal_id,
                reason,
                exc_info=None if is_expected else error,
            )
        if journal.delivery is not None:
            is_for_good = isinstance(error, JournalCorrupt)
            journal.delivery.fail(f"{SET_ASIDE}{reason}" if is_for_good else reason)
        journal.is_stuck = True
        journal.pause.grow()

    def _beat(self) -> None:
        """Say now and then that the runs of living processes are alive."""
        now = time.monotonic()
        if now < self._next_beat_s or self._target is None:
            return
        self._next_beat_s = now + HEARTBEAT_S
        for journal in self._journals:
            delivery = journal.delivery
            if delivery is None or journal.evidence is not None or not self._pause.is_over():
                continue
            run_ids = delivery.active_runs()
            if run_ids:
                header, at_ms = journal.header, time.time_ns() // 1_000_000
                try:
                    stops = self._target.beat(header.journal_id, header.node, run_ids, at_ms)
                except StoreUnavailable as exc:
                    self._put_off(journal, exc, self._pause)
                    continue
                if stops:
                    self._interrupt(header, stops)

    def _interrupt(self, header: Header, run_ids: Sequence[str]) -> None:
        """Send SIGINT to a journal's process, as Ctrl-C would: somebody asked to stop its run."""
        if not header.may_stop:
            asked = f"process {header.pid} was asked to stop, for run {', '.join(run_ids)}"
            _log.warning("%s, which WEIR_STOP=off forbids", asked)
            return
        watch = try_watch(header.pid, header.pid_start_ticks)
        if watch is None:
            return  # it has ended by itself
        try:
            watch.send_signal(signal.SIGINT)
            _log.info("process %d was asked to stop, for run %s", header.pid, ", ".join(run_ids))
        finally:
            watch.close()

    def _keep_house(self) -> None:
        """Do one step of compaction, between two rounds of delivery."""
        if not self._due or self._target is None or not self._compaction_pause.is_over():
            return
        run_id = next(iter(self._due))
        try:
            is_more = self._target.compact(run_id, is_final=self._due[run_id])
        except StoreUnavailable as exc:
            _log.info("put off: %s", self.address.redacted(str(exc)))
            self._compaction_pause.grow()
            if self._compaction_pause.is_longest():  # the run's next batches are a reason again
                del self._due[run_id]
            return
        except Exception:  # noqa: BLE001 - points are safe in batches; the rest must go on
            _log.exception("compaction of run %s", run_id)
            is_more = False
        if is_more:  # which is no success yet: the pause after a failure goes on growing
            self._compaction_pause.until_s = time.monotonic() + _LOOK_AT_CHILD_S
            return
        self._compaction_pause.end()
        del self._due[run_id]

    def _close_target(self) -> None:
        if self._target is not None:
            self._target.close()
            self._target = None


def _has_work(journal: Tracked) -> bool:
    """Say whether there is something to deliver, or to settle."""
    return (
        journal.delivery is None
        or journal.end > journal.delivery.position
        or (journal.evidence is not None and not journal.has_files)
    )


def _is_due(journal: Tracked) -> bool:
    """Say whether a journal is delivered at once, and not with the next turn.

    It is new, and perhaps begins a run, or it is all there will be.
    """
    return journal.delivery is None or journal.evidence is not None or journal.is_released


def _is_behind(awaited: tuple[Tracked, int]) -> bool:
    """Say whether a journal has yet to be delivered up to a position, and will be."""
    journal, position = awaited
    if journal.is_done or journal.is_stuck or journal.waits_for is not None:
        return False  # of two that wait for each other one has to go on
    return journal.delivery is None or journal.delivery.position < position
