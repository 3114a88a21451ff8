"""Where the agent of a spool keeps its lock, socket and log.

    SPOOL/agent/            0700
      agent.lock            flock held for the agent's life; content: who holds it, as JSON
      fencing               the last fencing number handed out, in decimal
      agent.sock            AF_UNIX datagram socket, 0600
      socket-path           where the socket is when that path is too long for one
      agent.log, agent.log.1

The standard library alone: this is imported by every process that logs.
"""

from __future__ import annotations

import os
from pathlib import Path

MAX_SOCKET_PATH_BYTES = 100  # of the 107 that Linux allows, 103 on macOS


class AgentFiles:
    """The paths of one spool's agent.

    Attributes:
        folder: Private folder of the agent's files.
        lock: File whose flock is the agent's lease.
        fencing: Counter of leases handed out.
        socket_path: File that names the socket when it lies elsewhere.
        log: The agent's log; ``log_before`` is what it was before the last rotation.
    """

    def __init__(self, spool: Path) -> None:
        self.folder = spool / "agent"
        self.lock = self.folder / "agent.lock"
        self.fencing = self.folder / "fencing"
        self.socket = self.folder / "agent.sock"
        self.socket_path = self.folder / "socket-path"
        self.log = self.folder / "agent.log"
        self.log_before = self.folder / "agent.log.1"

    def has_short_socket(self) -> bool:
        """Say whether a socket can be bound inside the folder."""
        return len(os.fsencode(self.socket)) <= MAX_SOCKET_PATH_BYTES

    def address(self) -> str | None:
        """Return the path to send datagrams to; None when no agent ever said where it listens."""
        if self.has_short_socket():
            return str(self.socket)
        try:
            return self.socket_path.read_text(encoding="utf-8", errors="surrogateescape").strip()
        except OSError:
            return None
