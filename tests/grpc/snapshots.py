# SPDX-License-Identifier: Apache-2.0
"""containerd's snapshot service through grpcio, gRPC's C core: calls made of
hand-written protobuf bytes, so that no generated code is needed."""

import grpc

SNAPSHOTS = "/containerd.services.snapshots.v1.Snapshots/"
HEALTH = "/grpc.health.v1.Health/"


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def labels(number, values):
    return b"".join(field(number, field(1, k) + field(2, v)) for k, v in values.items())


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, value) of a message; value is an int or bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            n, at = read_varint(data, at)
            if at + n > len(data):
                raise ValueError("field beyond the message's end")
            value = data[at : at + n]
            at += n
        else:
            raise ValueError("wire type %d" % (key & 7))
        yield key >> 3, value


def all_of(data, number):
    return [v for n, v in fields(data) if n == number]


class Client:
    """One connection. Further arguments of calls are grpcio's: timeout=…"""

    def __init__(self, socket, **options):
        options.setdefault("grpc.use_local_subchannel_pool", 1)
        self.channel = grpc.insecure_channel("unix:" + socket, list(options.items()))

    def unary(self, path):
        return self.channel.unary_unary(path)

    def stream(self, path):
        return self.channel.unary_stream(path)

    def create(self, rpc, key, parent="", values=None, **how):
        request = field(2, key) + field(3, parent) + labels(4, values or {})
        answer = self.unary(SNAPSHOTS + rpc)(request, **how)
        return [all_of(m, 2)[0].decode() for m in all_of(answer, 1)]

    def prepare(self, key, parent="", values=None, **how):
        return self.create("Prepare", key, parent, values, **how)

    def view(self, key, parent="", values=None, **how):
        return self.create("View", key, parent, values, **how)

    def with_key(self, rpc, key, **how):
        return self.unary(SNAPSHOTS + rpc)(field(2, key), **how)

    def remove(self, key, **how):
        self.with_key("Remove", key, **how)

    def commit(self, name, key, values=None, **how):
        request = field(2, name) + field(3, key) + labels(4, values or {})
        self.unary(SNAPSHOTS + "Commit")(request, **how)

    def names(self, *filters, **how):
        request = b"".join(field(2, f) for f in filters)
        return [
            all_of(info, 1)[0].decode()
            for batch in self.stream(SNAPSHOTS + "List")(request, **how)
            for info in all_of(batch, 1)
        ]

    def health(self, service="", **how):
        answer = self.unary(HEALTH + "Check")(field(1, service), **how)
        return all_of(answer, 1)[0]

    def watch(self, service="", **how):
        for answer in self.stream(HEALTH + "Watch")(field(1, service), **how):
            yield all_of(answer, 1)[0]


def status(call, *args, **how):
    """The name of the status that a call ends with, and its text."""
    try:
        call(*args, **how)
    except grpc.RpcError as e:
        return e.code().name, e.details()
    return "OK", ""
