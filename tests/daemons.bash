# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Start the daemons from $build in folders below $scratch, and end all of them.
# For conformance and bench/snapshotter, which set these two.

: "${build:?}" "${scratch=}"
pids=()

# Wait for a socket; fail as soon as its process is gone.
await() { # SOCKET, PID, LOG
	local i

	for ((i = 0; i < 200; i++)); do
		[[ ! -S $1 ]] || return 0
		kill -0 "$2" 2>/dev/null || break
		sleep 0.05
	done
	echo "${0##*/}: no socket $1; the end of its log:" >&2
	tail -n 20 "$3" >&2
	return 1
}

# Start a program that serves SOCKET.
launch() { # SOCKET, LOG, PROGRAM...
	local socket=$1 log=$2

	shift 2
	"$@" >"$log" 2>&1 &
	pids+=($!)
	await "$socket" $! "$log"
}

# Both daemons with all they keep in DIR, and containerd's socket there.
start() { # DIR [OPTION-OF-THE-SNAPSHOTTER...]
	local dir=$1

	shift
	mkdir -p "$dir/root" "$dir/state" "$dir/tmp" || return 1
	launch "$dir/state/daxfs.sock" "$dir/snapshotter.log" \
		"$build/daxfs-snapshotter" --root "$dir/root" --state "$dir/state" "$@" &&
		launch "$dir/grpc.sock" "$dir/grpc.log" \
			"$build/daxfs-grpc" --address "$dir/grpc.sock" --state "$dir/state"
}

# In reverse order; each must end by itself, and well.
stop() {
	local i pid n rc=0

	for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
		pid=${pids[i]}
		kill -TERM "$pid" 2>/dev/null
		for ((n = 0; n < 200; n++)); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.05
		done
		if kill -KILL "$pid" 2>/dev/null; then
			echo "${0##*/}: process $pid did not stop on SIGTERM" >&2
			rc=1
		fi
		wait "$pid" 2>/dev/null || rc=1
	done
	pids=()
	return $rc
}

# Processes of this run: they have the scratch folder on their command line.
# The pattern is not on grep's.
ours() {
	grep -alsF -f <(echo "$scratch/") /proc/[0-9]*/cmdline | cut -d/ -f3
}

# Mounts and the FUSE process outlive the snapshotter, so that containers do not
# notice; here they end. A FUSE process that does not is an error.
sweep() {
	local m p i

	awk -v d="$scratch/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo |
		sort -ru | while read -r m; do umount -l "$m"; done
	for p in $(ours); do kill -TERM "$p" 2>/dev/null; done
	for ((i = 0; i < 100; i++)); do
		[[ -n $(ours) ]] || return 0
		sleep 0.05
	done
	for p in $(ours); do
		echo "${0##*/}: ignores SIGTERM: $(tr '\0' ' ' <"/proc/$p/cmdline")" >&2
		kill -KILL "$p" 2>/dev/null
	done
	return 1
}

# By trap.
clean_up() {
	[[ ${#pids[@]} -eq 0 ]] || stop
	sweep
	rm -rf --one-file-system "$scratch"
}

# Build a Go package, or its test, with Debian's sources alone. Go's cache is
# kept between runs; all else is in the scratch folder.
go_build() { # FOLDER, build|test -c, OPTIONS...
	local dir=$1

	shift
	mkdir -p "$build/cache/go" "$scratch/gopath" &&
		(cd "$dir" &&
			GO111MODULE=off GOFLAGS='' GOTOOLCHAIN=local CGO_ENABLED=0 \
				GOCACHE=$build/cache/go \
				GOPATH=$scratch/gopath:/usr/share/gocode go "$@")
}
