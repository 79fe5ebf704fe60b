"""Where a file lies: SQLite's locks and its shared memory don't hold on a network file system.

>>> network_file_system("/net/me", "server:/net /net nfs4 rw 0 0")
'nfs4'
"""

import re
from pathlib import Path

_NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|9p|virtiofs|ceph|lustre|gpfs|beegfs|glusterfs|panfs|pvfs2|orangefs|davfs)$"
)
_LOCAL_FUSE = {"ntfs-3g", "fuse-overlayfs", "gocryptfs", "encfs", "cryfs", "bindfs", "mergerfs", "lxcfs", "portal"}
_MOUNTS = Path("/proc/mounts")


def mounted() -> str:
    """Return the mounts of this machine as text, "" where it doesn't tell them."""
    try:
        return _MOUNTS.read_text(errors="replace")
    except OSError:  # not Linux
        return ""


def network_file_system(folder: str | Path, mounts: str) -> str:
    """Return the kind of network file system that a folder lies on, "" if none.

    Args:
        folder: an existing folder.
        mounts: lines of device, mount point and kind, as in /proc/mounts; of equal points the last counts.
    """
    place = Path(folder).resolve()
    kind, depth = "", -1
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if place.is_relative_to(point) and len(point.parts) >= depth:
            kind, depth = fields[2], len(point.parts)
    fuse = kind.startswith("fuse.") and kind.removeprefix("fuse.") not in _LOCAL_FUSE
    return kind if fuse or _NETWORK.match(kind) else ""
