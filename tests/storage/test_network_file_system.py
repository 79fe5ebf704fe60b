"""SQLite on a network file system: told once, in one line, and only there."""

import logging

import pytest

from l2l_snn.storage import database
from l2l_snn.storage.network_file_system import mounted, network_file_system
from l2l_snn.storage.store import Store

MOUNTS = r"""
/dev/sda1 / ext4 rw 0 0
server:/net /net nfs4 rw 0 0
/dev/sdb1 /net/local xfs rw 0 0
//nas/share /mnt/my\040share cifs rw 0 0
me@host:/ /mnt/ssh fuse.sshfs rw 0 0
/dev/sdc1 /mnt/usb fuseblk rw 0 0
mergerfs /mnt/pool fuse.mergerfs rw 0 0
lustre@tcp:/scratch /scratch lustre rw 0 0
beegfs_nodev /bee beegfs rw 0 0
gpfs /gpfs gpfs rw 0 0
drvfs /mnt/c 9p rw 0 0
old:/x /twice nfs rw 0 0
/dev/sdd1 /twice ext4 rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", ""),
        ("/tmp", ""),
        ("/nets", ""),
        ("/net", "nfs4"),
        ("/net/me/x", "nfs4"),
        ("/net/local/x", ""),
        ("/net/local/../me", "nfs4"),
        ("/mnt/my share/x", "cifs"),
        ("/mnt/ssh", "fuse.sshfs"),
        ("/mnt/usb", ""),
        ("/mnt/pool", ""),
        ("/scratch/me", "lustre"),
        ("/bee", "beegfs"),
        ("/gpfs/x", "gpfs"),
        ("/mnt/c/Users", "9p"),
        ("/twice", ""),
    ],
)
def test_kind_of_the_file_system_of_a_folder(folder, kind):
    assert network_file_system(folder, MOUNTS) == kind


def test_no_mounts_no_warning(tmp_path):
    assert network_file_system(tmp_path, "") == ""
    assert "/proc" in mounted() or mounted() == ""


def test_a_store_on_a_network_file_system_warns_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(database, "mounted", lambda: f"server:/x {tmp_path.resolve()} nfs rw 0 0")
    url = f"sqlite:///{tmp_path}/net.db"
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            Store(url).close()
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/net.db lies on a network file system (nfs), where SQLite's locks may fail and damage it; "
        "put it on a local disk, or use PostgreSQL"
    ]
