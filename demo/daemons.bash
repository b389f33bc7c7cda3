# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# A private containerd with our two daemons beside it, all below the scratch
# folder $S.

pids=()

# Start a daemon out of reach of the terminal's Ctrl-C; its log is NAME.log.
daemon() { # NAME, COMMAND...
	local name=$1
	shift

	setsid "$@" </dev/null >"$LOGS/$name.log" 2>&1 3>&- &
	pids+=("$!")
	daemon_pid=$!
}

ctr() {
	command ctr --address "$S/containerd.sock" --namespace "$NS" "$@" </dev/null
}

daemon_ready() { # NAME, PID, COMMAND...: wait until COMMAND succeeds
	local name=$1 pid=$2
	shift 2

	wait_for 20 answers_or_gone "$pid" "$@" || true
	if ! "$@"; then
		tail -n 5 "$LOGS/$name.log"
		kill -0 "$pid" 2>/dev/null ||
			die "$name has ended; its log is $LOGS/$name.log"
		die "$name does not answer; its log is $LOGS/$name.log"
	fi
}

answers_or_gone() { # PID, COMMAND...
	local pid=$1
	shift

	"$@" || process_gone "$pid"
}

start_daxfs() {
	sed "s/^#pool_size = .*/pool_size = ${DEMO_POOL_SIZE:-0}/" \
		"$src/contrib/daxfs.conf" >"$S/daxfs.conf"
	daemon daxfs-snapshotter "$BUILD/daxfs-snapshotter" --root "$S/daxfs" \
		--state "$S/run" --config "$S/daxfs.conf"
	daemon_ready daxfs-snapshotter "$daemon_pid" test -S "$S/run/daxfs.sock"
	daemon daxfs-grpc "$BUILD/daxfs-grpc" --address "$S/grpc.sock" \
		--state "$S/run"
	daemon_ready daxfs-grpc "$daemon_pid" test -S "$S/grpc.sock"
}

start_containerd() {
	local config=$S/containerd.toml

	cat >"$config" <<-EOT
	version = 2
	root = "$S/containerd"
	state = "$S/containerd-run"
	temp = "$S/tmp"
	disabled_plugins = ["io.containerd.grpc.v1.cri",
	    "io.containerd.snapshotter.v1.aufs",
	    "io.containerd.snapshotter.v1.btrfs",
	    "io.containerd.snapshotter.v1.devmapper",
	    "io.containerd.snapshotter.v1.zfs"]

	[grpc]
	address = "$S/containerd.sock"

	[plugins."io.containerd.internal.v1.opt"]
	path = "$S/opt"
	EOT
	if [[ $SNAPSHOTTER == daxfs ]]; then
		cat >>"$config" <<-EOT

		[proxy_plugins.daxfs]
		type = "snapshot"
		address = "$S/grpc.sock"
		EOT
	fi
	daemon containerd containerd --config "$config"
	daemon_ready containerd "$daemon_pid" ctr version
	wait_for 10 ctr plugins ls
	ctr plugins ls | awk -v s="$SNAPSHOTTER" \
		'$2 == s && $NF == "ok" { found = 1 } END { exit !found }' ||
		die "containerd does not list the snapshotter '$SNAPSHOTTER'"
	note=$(containerd --version | awk '{ print $1, $3 }')
}

# kill -9 of all processes of daxfs at once, and a service manager's part: those
# that nobody else starts again. (daxfs-fuse has its keeper. Before Linux 6.9
# its users would lose what they have open.)
kill_daxfs() {
	local pid victims=()

	find_processes
	for pid in "${found[@]}"; do
		case $(program_of "$pid") in
		daxfs-snapshotter | daxfs-grpc) victims+=("$pid") ;;
		daxfs-fuse) ! resends || victims+=("$pid") ;;
		esac
	done
	kill -KILL "${victims[@]}"
	rm -f "$S/run/daxfs.sock" "$S/grpc.sock"
	start_daxfs
	wait_for 20 snapshots ls || die "containerd does not reach the snapshotter"
	note="${#victims[@]} processes killed"
}

resends() {
	printf '%s\n' 6.9 "$(uname -r)" | sort -C -V
}

# End the daemons, the last started first, each within its time.
stop_daemons() {
	local i pid

	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		pid=${pids[i]}
		kill -TERM "$pid" 2>/dev/null || continue
		wait_for 15 process_gone "$pid" || return 1
	done
	pids=()
}

process_gone() { # PID
	local stat

	read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	[[ ${stat##*) } == Z* ]]
}
