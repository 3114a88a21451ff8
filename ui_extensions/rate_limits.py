"""How often somebody may ask: buckets that fill by time, in the memory of one process."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

_MAX_KEPT = 20_000


def network_of(address: str) -> str:
    """Return what an address is counted by: of IPv6 its /64, all of which one machine may have."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))


class RateLimit:
    """A bucket for each name, full at first."""

    def __init__(
        self, burst: int, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Set how many may come at once, and how many a second after that."""
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> bool:
        """Take one from a name's bucket; False where it is empty."""
        with self._lock:
            left = self._fill(name)
            is_taken = left >= 1
            self._left[name] = (left - 1 if is_taken else left, self._clock())
            self._left.move_to_end(name)
            if len(self._left) > _MAX_KEPT:
                self._left.popitem(last=False)  # who has not asked for longest
            return is_taken

    def is_empty(self, name: str) -> bool:
        """Say whether nothing is left to take, without taking."""
        with self._lock:
            return self._fill(name) < 1

    def _fill(self, name: str) -> float:
        left, at = self._left.get(name, (float(self._burst), self._clock()))
        return min(float(self._burst), left + (self._clock() - at) * self._per_second)
