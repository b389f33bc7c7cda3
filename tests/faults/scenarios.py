# SPDX-License-Identifier: Apache-2.0
"""The calls, each with what leads to it, its effect and its repetition."""

import subprocess

CHAIN = "sha256:" + "0123456789abcdef" * 4
REF = {"containerd.io/snapshot.ref": CHAIN}


class Scenario:
    """`n` makes the names of each run differ: keys that were used stay used."""

    #: what the call answers when it is made again after it took effect
    again = None

    def __init__(self, world, n):
        self.w = world
        self.key = f"k8s.io/{n}/key"
        self.name = f"k8s.io/{n}/name"

    def before(self):
        pass

    def call(self):
        raise NotImplementedError

    def expect(self, was):
        """Our view after the call, where `was` is the one before it."""
        raise NotImplementedError

    def clean(self):
        """Remove what is there, children first."""
        names = self.w.list()
        for name in sorted(names, key=lambda x: names[x][0] == "committed"):
            if name in (self.key, self.name):
                self.w.call("Remove", key=name)

    def prepare(self, parent="base"):
        source = self.w.call("Prepare", key=self.key, parent=parent)["mounts"][0]["source"]
        with open(f"{source}/mine", "w", encoding="ascii") as f:
            f.write(self.key)

    def holds(self, key):
        with open(self.w.source(key) + "/mine", encoding="ascii") as f:
            assert f.read() == self.key, f"{key} lost its file"


class Prepare(Scenario):
    again = "AlreadyExists"
    labels = {"a": "1"}

    def call(self):
        self.w.call("Prepare", key=self.key, parent="base", labels=self.labels)

    def expect(self, was):
        return {**was, self.key: ("active", "base", self.labels)}


class PrepareNoParent(Prepare):
    def call(self):
        self.w.call("Prepare", key=self.key, labels=self.labels)

    def expect(self, was):
        return {**was, self.key: ("active", "", self.labels)}


class View(Scenario):
    again = "AlreadyExists"

    def call(self):
        self.w.call("View", key=self.key, parent="base")

    def expect(self, was):
        return {**was, self.key: ("view", "base", {})}


class Adopt(Scenario):
    """Prepare of a chain that is there: its success is AlreadyExists."""

    again = "AlreadyExists"
    first = "AlreadyExists"

    def before(self):
        self.prepare("")
        self.w.call("Commit", key=self.key, name=CHAIN)

    def call(self):
        self.w.call("Prepare", key=self.name, labels=REF)

    def expect(self, was):
        return {**was, self.name: ("committed", "", REF)}

    def clean(self):
        for key in (self.name, CHAIN):
            self.w.call("Remove", key=key)


class Commit(Scenario):
    again = "AlreadyExists"

    def before(self):
        self.prepare()

    def call(self):
        self.w.call("Commit", key=self.key, name=self.name, labels={"b": "2"})

    def expect(self, was):
        now = {**was, self.name: ("committed", "base", {"b": "2"})}
        del now[self.key]
        return now

    def clean(self):
        view = self.key + "-view"
        self.w.call("View", key=view, parent=self.name)
        self.holds(view)
        self.w.call("Remove", key=view)
        super().clean()


class Mounts(Scenario):
    def before(self):
        self.prepare()

    def call(self):
        self.w.call("Mounts", key=self.key)

    def expect(self, was):
        return was

    def clean(self):
        self.holds(self.key)
        super().clean()


class MountsLost(Mounts):
    """As after a reboot."""

    def before(self):
        self.prepare()
        subprocess.run(["umount", "-l", self.w.source(self.key)], check=True)


class Usage(Mounts):
    def call(self):
        assert self.w.call("Usage", key=self.key)["inodes"] > 0


class Update(Mounts):
    def call(self):
        self.w.call("Update", info={"name": self.key, "labels": {"c": "3"}})

    def expect(self, was):
        return {**was, self.key: ("active", "base", {"c": "3"})}


class Remove(Scenario):
    again = "NotFound"

    def before(self):
        self.prepare()

    def call(self):
        self.w.call("Remove", key=self.key)

    def expect(self, was):
        now = dict(was)
        del now[self.key]
        return now


class RemoveCommitted(Remove):
    def before(self):
        self.prepare()
        self.w.call("Commit", key=self.key, name=self.name)
        self.key = self.name


ALL = [Prepare, PrepareNoParent, View, Adopt, Commit, Mounts, MountsLost, Usage, Update,
       Remove, RemoveCommitted]
