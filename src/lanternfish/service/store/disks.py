"""Whether a folder is on a disk of this machine, which SQLite needs."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from lanternfish.service.store.errors import StoreError

NETWORK = frozenset(
    (  # noqa: SIM905 - read as a list of words
        "9p afpfs afs beegfs beegfs_nodev ceph cifs coda davfs fhgfs fuse.ceph fuse.davfs "
        "fuse.gcsfuse fuse.glusterfs fuse.goofys fuse.juicefs fuse.mfs fuse.rclone fuse.s3fs "
        "fuse.sshfs glusterfs gfs gfs2 gpfs lustre mfs nfs nfs3 nfs4 ocfs2 orangefs panfs pvfs2 "
        "s3fs smb smb2 smb3 smbfs webdav wekafs"
    ).split()
)


def filesystem(path: Path) -> str:
    """The kind of file system that `path` (which need not exist yet) is on; "" if not known."""
    place = os.path.realpath(path)
    best, kind = "", ""
    for disk in psutil.disk_partitions(all=True):
        mount = disk.mountpoint
        inside = place == mount or place.startswith(mount.rstrip(os.sep) + os.sep)
        if inside and len(mount) >= len(best):
            best, kind = mount, disk.fstype
    return kind.lower()


def refuse_network(path: Path) -> None:
    """Raise `StoreError` if `path` is on a network file system, which loses SQLite's writes."""
    kind = filesystem(path)
    if kind in NETWORK or kind.startswith("nfs"):
        raise StoreError(
            f"Expected a folder on a disk of this machine for SQLite; got {path}, on a network "
            f"file system ({kind}), where SQLite's locks fail and jobs can be lost. Use a local "
            "folder, or PostgreSQL: database = 'postgresql://user@host/name'."
        )
