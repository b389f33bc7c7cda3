# SPDX-License-Identifier: Apache-2.0
"""Real daemons in a scratch folder, and what can be seen of them from outside."""

import glob
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time

TIMEOUT = 60


class Lost(Exception):
    """The connection ended before the answer."""


class Refused(Exception):
    """The call's error; .name is the last part of it."""

    def __init__(self, error, message):
        super().__init__(f"{error}: {message}")
        self.name = error.rpartition(".")[2]
        self.message = message


def varlink(path, method, **params):
    """One call on a connection of its own."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(TIMEOUT)
        try:
            s.connect(path)
            s.sendall(json.dumps({"method": method, "parameters": params}).encode() + b"\0")
            data = b""
            while not data.endswith(b"\0"):
                part = s.recv(1 << 20)
                if not part:
                    raise Lost(method)
                data += part
        except (ConnectionError, FileNotFoundError) as e:
            raise Lost(method) from e
    reply = json.loads(data[:-1])
    if "error" in reply:
        raise Refused(reply["error"], reply.get("parameters", {}).get("message", ""))
    return reply.get("parameters", {})


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.005)


class World:
    def __init__(self, directory, build):
        self.dir = directory
        self.build = build
        self.state = f"{directory}/state"
        self.mnt = f"{self.state}/mnt/"
        self.faults = f"{directory}/faults"
        self.socket = f"{self.state}/daxfs.sock"
        self.log = f"{directory}/log"
        self.daemon = None
        os.makedirs(self.faults)
        with open(f"{directory}/conf", "w", encoding="ascii") as f:
            f.write("[snapshotter]\npool_size = 64M\npool_branches = 256\n")

    # ---- Processes ----------------------------------------------------------

    def start(self, wait=True):
        env = dict(os.environ, DAXFS_FAULTS=self.faults)
        with open(self.log, "a", encoding="utf-8") as log:
            self.daemon = subprocess.Popen(
                [f"{self.build}/daxfs-snapshotter", "--root", f"{self.dir}/root",
                 "--state", self.state, "--config", f"{self.dir}/conf"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        if wait:
            wait_for("daxfs-snapshotter serves", self.serves)
        return self.daemon

    def serves(self):
        if self.daemon.poll() is not None:
            raise AssertionError(f"daxfs-snapshotter ended: {self.daemon.returncode}")
        try:
            varlink(self.socket, "org.varlink.service.GetInfo")
        except Lost:
            return False
        return True

    def died(self):
        """Was it killed? It is waited for then."""
        return self.daemon.poll() is not None

    def restart_if_dead(self):
        if self.died():
            if self.daemon.returncode != -signal.SIGKILL:
                raise AssertionError(f"daxfs-snapshotter ended: {self.daemon.returncode}")
            self.start()

    def stop(self):
        self.daemon.terminate()
        if self.daemon.wait(TIMEOUT) != 0:
            raise AssertionError(f"daxfs-snapshotter ended: {self.daemon.returncode}")

    def kill(self):
        self.daemon.kill()
        self.daemon.wait(TIMEOUT)

    def processes(self):
        """Processes that name the scratch folder, but for us and the daemon."""
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            pid = int(path.split("/")[2])
            try:
                with open(path, "rb") as f:
                    if self.dir.encode() + b"/" in f.read() and pid != os.getpid():
                        found.append(pid)
            except OSError:
                pass
        return [p for p in found if p != self.daemon.pid or not self.died()]

    def kill_others(self):
        """daxfs-fuse and its keeper, of which each starts the other again."""

        def gone():
            for pid in self.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return not self.processes()

        wait_for("daxfs-fuse and daxfs-keeper are gone", gone)

    def end_all(self):
        """For the way out: whatever the test was doing."""
        if self.daemon and not self.died():
            self.kill()
        self.kill_others()
        for path in reversed(self.mounts()):
            subprocess.run(["umount", "-l", path], check=False)

    # ---- Faults -------------------------------------------------------------

    def trace(self, run):
        """The points that were come to while run() ran: (program, point)."""
        path = f"{self.faults}/trace"
        with open(path, "w", encoding="ascii"):
            pass
        run()
        with open(path, encoding="ascii") as f:
            hits = [tuple(line.split()) for line in f]
        os.unlink(path)
        return hits

    def plan(self, point, count, action="kill"):
        with open(f"{self.faults}/plan", "w", encoding="ascii") as f:
            f.write(f"{point} {count} {action}\n")

    def struck(self):
        with open(f"{self.faults}/plan", encoding="ascii") as f:
            return f.read().split()[1:2] == ["0"]

    def no_plan(self):
        if os.path.exists(f"{self.faults}/plan"):
            os.unlink(f"{self.faults}/plan")

    # ---- Calls --------------------------------------------------------------

    def call(self, method, **params):
        return varlink(self.socket, f"io.daxfs.Snapshots.{method}", **params)

    def pool(self, method, **params):
        for path in glob.glob(f"{self.state}/fuse/*.sock"):
            try:
                return varlink(path, f"io.daxfs.Branches.{method}", **params)
            except Lost:
                pass
        raise AssertionError("no daxfs-fuse answers")

    # ---- What is there ------------------------------------------------------

    def list(self):
        """Our view: name → kind, parent, labels."""
        infos = self.call("List")["infos"]
        return {i["name"]: (i["kind"], i["parent"], i["labels"]) for i in infos}

    def rows(self):
        db = sqlite3.connect(f"file:{self.dir}/root/metadata.db?mode=ro", uri=True)
        try:
            return db.execute("SELECT id, name, kind, state, branch FROM snapshots").fetchall()
        finally:
            db.close()

    def branches(self):
        return sorted(b["name"] for b in self.pool("List")["branches"] if b["name"] != "main")

    def mounts(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as f:
            paths = [line.split()[4] for line in f]
        return [p for p in paths if p.startswith(self.dir + "/")]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def source(self, key):
        return self.call("Mounts", key=key)["mounts"][0]["source"]

    def check(self):
        """Rows, branches, mounts and folders agree; nothing is half-made."""
        self.call("Cleanup")
        rows = self.rows()
        odd = [r for r in rows if r[3] != 2]
        if odd:
            raise AssertionError(f"half-made rows: {odd}")
        want = sorted({r[4] for r in rows})
        if self.branches() != want:
            raise AssertionError(f"branches {self.branches()}, rows have {want}")
        active = [r for r in rows if r[2] != 3]
        for _, name, _, _, _ in active:
            os.listdir(self.source(name))
        want = sorted(self.mnt + str(r[0]) for r in active)
        there = sorted(m for m in self.mounts() if m.startswith(self.mnt))
        if there != want:
            raise AssertionError(f"mounts {there}, want {want}")
        folders = sorted(self.mnt + d for d in os.listdir(self.mnt))
        if folders != want:
            raise AssertionError(f"folders {folders}, want {want}")
