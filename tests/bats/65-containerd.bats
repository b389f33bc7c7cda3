#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# contrib/containerd with a real containerd: it takes the configuration, for its
# plugins and for CRI. contrib/kubernetes agrees with it.

bats_require_minimum_version 1.5.0
load helpers
load snapshotter

setup() {
	need root fuse containerd ctr
	scratch
	pids=()
}

teardown() {
	local i

	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		kill -TERM "${pids[i]}" 2>/dev/null
		wait "${pids[i]}" || true
	done
	snapshotter_end
}

start_grpc() {
	daxfs-grpc --state "$S/state" --address "$S/grpc.sock" 2>grpc.log 3>&- &
	pids+=("$!")
	for _ in {1..100}; do
		[[ ! -S grpc.sock ]] || return 0
		sleep 0.05
	done
	cat grpc.log
	return 1
}

# The shipped file with our paths, and what keeps the rest of it private.
config() { # FILE
	sed "s,/run/daxfs/grpc.sock,$S/grpc.sock,; s,/var/lib/daxfs,$S/root," "$1" |
		sed "/^version = /a root = \"$S/c\"\nstate = \"$S/c-run\"\ntemp = \"$S/tmp\"" >config.toml
	cat >>config.toml <<-EOT

	[grpc]
	  address = "$S/c.sock"
	[plugins."io.containerd.internal.v1.opt"]
	  path = "$S/opt"
	[plugins."io.containerd.grpc.v1.cri"]
	  stream_server_address = "127.0.0.1"
	  stream_server_port = "0"
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "$S/cni"
	    conf_dir = "$S/cni"
	EOT
	mkdir -p tmp cni
}

start_containerd() {
	containerd --config config.toml >containerd.log 2>&1 3>&- &
	pids+=("$!")
	for _ in {1..200}; do
		! ctr_run version >/dev/null 2>&1 || return 0
		kill -0 "${pids[-1]}" || break
		sleep 0.1
	done
	tail -n 20 containerd.log
	return 1
}

ctr_run() {
	timeout 30 ctr --address "$S/c.sock" "$@"
}

status_of() { # PLUGIN TYPE, ID
	ctr_run plugins ls | awk -v t="$1" -v i="$2" '$1 == t && $2 == i { print $NF }'
}

@test "containerd loads the plugin, and CRI runs on it" {
	snapshotter_start
	start_grpc
	config "$REPO/contrib/containerd/config.toml"
	start_containerd
	run -0 status_of io.containerd.snapshotter.v1 daxfs
	assert_output ok
	run -0 status_of io.containerd.grpc.v1 cri
	assert_output ok
	# what CRI itself says that it uses
	run -0 grep -F "Start cri plugin with config" containerd.log
	assert_output --partial "Snapshotter:daxfs"
	assert_output --partial "DisableSnapshotAnnotations:false"
	run -0 ctr_run snapshots --snapshotter daxfs ls
	run -0 ctr_run snapshots --snapshotter daxfs prepare key
	run -0 ctr_run snapshots --snapshotter daxfs ls
	assert_line --regexp '^key +Active'
	run -0 ctr_run snapshots --snapshotter daxfs rm key
}

@test "containerd starts without the daemons, and uses them once they are there" {
	config "$REPO/contrib/containerd/config.toml"
	start_containerd
	run -0 status_of io.containerd.snapshotter.v1 daxfs
	assert_output ok
	run -0 status_of io.containerd.grpc.v1 cri
	assert_output ok
	run -1 ctr_run snapshots --snapshotter daxfs prepare key
	assert_output --partial "$S/grpc.sock"
	snapshotter_start
	start_grpc
	for _ in {1..100}; do
		! ctr_run snapshots --snapshotter daxfs prepare key >/dev/null 2>&1 || break
		sleep 0.1
	done
	run -0 ctr_run snapshots --snapshotter daxfs rm key
}

@test "both versions say the same, and what Kubernetes is told fits" {
	need /usr/bin/python3
	run -0 /usr/bin/python3 - "$REPO/contrib" <<'EOT'
import sys, tomllib
contrib = sys.argv[1]
def load(name):
    with open(contrib + "/containerd/" + name, "rb") as f:
        return tomllib.load(f)
two, three = load("config.toml"), load("config-v3.toml")
assert (two["version"], three["version"]) == (2, 3)
assert two["proxy_plugins"] == three["proxy_plugins"]
assert two["plugins"]["io.containerd.grpc.v1.cri"]["containerd"] == \
    three["plugins"]["io.containerd.cri.v1.images"]
# the pieces in the text are TOML, for one runtime
text = open(contrib + "/kubernetes/README.md").read()
block, runtimes = "", []
for line in text.splitlines() + [""]:
    if line.startswith("      "):
        block += line + "\n"
    elif block:
        cri = next(iter(tomllib.loads(block)["plugins"].values()))
        runtimes.append(cri["containerd"]["runtimes"])
        block = ""
assert len(runtimes) == 2 and runtimes[0] == runtimes[1], runtimes
assert runtimes[0]["daxfs"]["snapshotter"] == "daxfs"
assert "\nhandler: daxfs\n" in open(contrib + "/kubernetes/runtimeclass.yaml").read()
EOT
}
