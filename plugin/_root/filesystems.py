"""Which file system holds a path, and which of them are on the network.

A network file system has no shared memory for SQLite's write-ahead log, and may keep neither locks
nor the order of writes that the journal counts on.
"""

from __future__ import annotations

import os
from pathlib import Path

NETWORK_FILE_SYSTEMS = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph glusterfs lustre gpfs beegfs fuse.sshfs fuse.s3fs "
    "fuse.gcsfuse fuse.glusterfs fuse.ceph virtiofs".split()
)


def file_system_of(path: Path) -> str:
    """Return the type of the file system that holds a path, such as ``ext4``; "" if unknown."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    target = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        folder = fields[1].replace("\\040", " ")
        inside = target == folder or target.startswith(folder.rstrip("/") + "/")
        if inside and len(folder) >= len(best):
            best, kind = folder, fields[2]
    return kind
