# SPDX-License-Identifier: Apache-2.0
"""Pools that are missing, damaged, somebody else's, or on a full disk."""

import glob
import os
import shutil
import subprocess

from world import Refused, wait_for

CHAIN = "sha256:" + "89abcdef01234567" * 4
REF = {"containerd.io/snapshot.ref": CHAIN}


def expect(name, call, text=""):
    try:
        call()
    except Refused as e:
        assert e.name == name, f"{e}, expected {name}"
        assert text in e.message, f"'{e.message}' does not say '{text}'"
    else:
        raise AssertionError(f"succeeded, expected {name}")


def end_fuse(w):
    """As a reboot does: its processes and its mounts are gone."""
    w.kill_others()
    for path in w.mounts():
        if path.startswith(w.mnt):
            subprocess.run(["umount", "-l", path], check=True)


def fill(w):
    """A layer, an active snapshot on it with a file, one on nothing."""
    w.call("Prepare", key="base-key")
    w.call("Commit", key="base-key", name=f"k8s.io/1/{CHAIN}")
    w.call("Prepare", key="on-base", parent=f"k8s.io/1/{CHAIN}")
    with open(w.source("on-base") + "/mine", "w", encoding="ascii") as f:
        f.write("on-base")
    w.call("Prepare", key="alone")
    w.call("Cleanup")


def down(w):
    w.stop()
    end_fuse(w)


def lose(w):
    w.start()
    fill(w)
    down(w)
    os.unlink(f"{w.dir}/root/pool.daxfs")


def rest_works(w, was):
    """What was in the lost pool is reported and can be removed; all else works."""
    base = f"k8s.io/1/{CHAIN}"
    lost = {"io.daxfs.lost": "not in the pool"}
    assert w.list() == {k: (v[0], v[1], lost) for k, v in was.items()}, w.list()
    assert w.call("Stat", key="alone")["info"]["labels"] == lost
    for method in ("Mounts", "Usage"):
        expect("FailedPrecondition", lambda m=method: w.call(m, key="alone"),
               "snapshot 'alone' is lost")
    expect("FailedPrecondition", lambda: w.call("Commit", key="alone", name="x"), "'alone'")
    expect("FailedPrecondition", lambda: w.call("Prepare", key="x", parent=base),
           f"parent snapshot '{base}' is lost")
    w.call("Update", info={"name": "alone", "labels": {"a": "1"}})
    # its chain is to be unpacked again
    w.call("Prepare", key="again", labels=REF)
    w.call("Commit", key="again", name=f"k8s.io/2/{CHAIN}")
    w.call("View", key="view", parent=f"k8s.io/2/{CHAIN}")
    w.call("Remove", key="view")
    expect("FailedPrecondition", lambda: w.call("Remove", key=base), "children")
    for key in ("on-base", base, "alone"):
        w.call("Remove", key=key)
    w.check()


def check_lost(w, was, lost=3):
    w.start()
    with open(w.log, encoding="utf-8") as f:
        log = f.read()
    assert f"snapshots_lost={lost}" in log, "the log does not count them"
    assert 'key=alone' in log, "the log does not name them"
    # nor does another start make anything up
    down(w)
    w.start()
    rest_works(w, was)
    down(w)


def missing(make_world):
    w = make_world()
    w.start()
    fill(w)
    was = w.list()
    down(w)
    os.unlink(f"{w.dir}/root/pool.daxfs")
    check_lost(w, was)


def damaged(make_world):
    """Superblock overwritten; an empty file; cut short."""
    for damage in (lambda f: f.write(b"\xff" * 4096), lambda f: f.truncate(0),
                   lambda f: f.truncate(1 << 20)):
        w = make_world()
        w.start()
        fill(w)
        was = w.list()
        down(w)
        with open(f"{w.dir}/root/pool.daxfs", "r+b") as f:
            damage(f)
        check_lost(w, was)
        assert len(glob.glob(f"{w.dir}/root/pool.daxfs.lost-*")) == 1, "nothing is kept"


def damaged_branch(make_world):
    """One log that cannot be read takes its own snapshot along, and no other."""
    w = make_world()
    w.start()
    fill(w)
    with open(w.source("on-base") + "/a-name-to-find", "w", encoding="ascii") as f:
        f.write("x")
    down(w)
    with open(f"{w.dir}/root/pool.daxfs", "r+b") as f:
        data = f.read()
        at = data.find(b"a-name-to-find")
        assert at > 0
        f.seek(at)
        f.write(b"A")
    w.start()
    expect("FailedPrecondition", lambda: w.call("Mounts", key="on-base"), "'on-base'")
    expect("FailedPrecondition", lambda: w.call("Commit", key="on-base", name="x"),
           "snapshot 'on-base': pool: branch 's-2' is damaged")
    assert "on-base" in w.list()
    w.call("Stat", key="on-base")
    w.source("alone")
    w.call("View", key="view", parent=f"k8s.io/1/{CHAIN}")
    for key in ("on-base", "view", f"k8s.io/1/{CHAIN}"):
        w.call("Remove", key=key)
    w.check()
    down(w)


def put_back(make_world):
    w = make_world()
    w.start()
    fill(w)
    down(w)
    pool = f"{w.dir}/root/pool.daxfs"
    os.rename(pool, pool + ".old")
    w.start()
    w.call("Remove", key="alone")
    w.call("Prepare", key="new")
    w.call("Cleanup")
    down(w)
    os.rename(pool + ".old", pool)
    for _ in range(2):
        w.start()
        expect("FailedPrecondition", lambda: w.call("Mounts", key="new"), "'new' is lost")
        with open(w.source("on-base") + "/mine", encoding="ascii") as f:
            assert f.read() == "on-base"
        down(w)
    w.start()
    w.call("Remove", key="new")
    w.check()
    assert sorted(w.list()) == [f"k8s.io/1/{CHAIN}", "on-base"]
    down(w)


def refuses(w, text):
    w.start(wait=False)
    assert w.daemon.wait(20) == 1, f"exit status {w.daemon.returncode}"
    with open(w.log, encoding="utf-8") as f:
        errors = [line for line in f if "level=error" in line]
    assert errors and text in errors[-1], errors


def refused(make_world):
    """Where a loss is not certain, or must not be taken for granted."""
    w = make_world()
    w.start()
    fill(w)
    was = w.list()
    down(w)
    pool, conf = f"{w.dir}/root/pool.daxfs", f"{w.dir}/conf"
    shutil.copy(conf, conf + ".was")
    os.rename(pool, pool + ".x")
    with open(conf, "a", encoding="ascii") as f:
        f.write("replace_lost_pool = no\n")
    refuses(w, "put it back, or set replace_lost_pool = yes")
    os.rename(conf + ".was", conf)
    os.symlink("/nonexistent/pool", pool)
    refuses(w, "mount what it leads to")
    os.unlink(pool)
    subprocess.run([f"{w.build}/mkdaxfs", "-o", pool, "-s", "64M", "-w"], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([f"{w.build}/daxfs-branch", "create", "s-1", "--persist", "-r", pool],
                   check=True, stdout=subprocess.DEVNULL)
    refuses(w, "is not the pool that metadata.db")
    end_fuse(w)
    out = subprocess.run([f"{w.build}/daxfs-branch", "list", pool], check=True,
                         capture_output=True, text=True).stdout
    assert "s-1" in out, "a foreign branch is gone"
    os.rename(pool + ".x", pool)
    w.start()
    assert w.list() == was
    w.check()
    down(w)


def small_disk(w):
    os.mkdir(f"{w.dir}/root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40M", "tmpfs", f"{w.dir}/root"],
                   check=True)


def write_until_full(path):
    try:
        with open(path, "wb", buffering=0) as f:
            while True:
                f.write(b"x" * 65536)
    except OSError as e:
        return e.errno
    return 0


def works(call, *args, **params):
    try:
        call(*args, **params)
    except Refused as e:
        assert e.name == "ResourceExhausted", str(e)
        return False
    return True


def full_disk(make_world):
    """The pool is sparse: the disk is full before it is."""
    w = make_world()
    small_disk(w)
    # as on a disk that filled up later
    subprocess.run([f"{w.build}/mkdaxfs", "-o", f"{w.dir}/root/pool.daxfs", "-s", "64M",
                    "-w", "--branches", "256"], check=True, stdout=subprocess.DEVNULL)
    w.start()
    fill(w)
    was = w.list()
    assert write_until_full(w.source("on-base") + "/big") == 28
    write_until_full(f"{w.dir}/root/filler")
    failed = 0
    labels = {f"label{i}": "x" * 1500 for i in range(20)}
    for i in range(100):
        try:
            w.call("Prepare", key=f"k{i}", parent=f"k8s.io/1/{CHAIN}", labels=labels)
        except Refused as e:
            assert e.name == "ResourceExhausted", str(e)
            failed += 1
    assert failed, "a full disk was not felt"
    # what makes room is still possible
    for name in set(w.list()) - set(was):
        w.call("Remove", key=name)
    os.unlink(w.source("on-base") + "/big")
    os.unlink(f"{w.dir}/root/filler")
    wait_for("a commit works again", lambda: works(w.call, "Commit", key="on-base",
                                                   name="committed"))
    w.check()
    down(w)
    w.start()
    w.check()
    w.call("Prepare", key="k0", parent="committed")
    down(w)


def readonly_disk(make_world):
    w = make_world()
    small_disk(w)
    subprocess.run(["mount", "-o", "remount,ro", f"{w.dir}/root"], check=True)
    refuses(w, f"cannot write to {w.dir}/root: Read-only file system")


ALL = [missing, damaged, damaged_branch, put_back, refused, full_disk, readonly_disk]
