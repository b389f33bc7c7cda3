# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A daxfs-snapshotter in the test's scratch folder: `load snapshotter`.

VCALL=$REPO/tests/tools/varlink-call

# Options are the daemon's. Its state folder is $S/state, its log $S/log.
snapshotter_start() {
	daxfs-snapshotter --root "$S/root" --state "$S/state" "$@" \
		2>>"$S/log" 3>&- &
	SNAPSHOTTER=$!
	for _ in {1..200}; do
		[[ ! -S $S/state/daxfs.sock ]] || return 0
		kill -0 "$SNAPSHOTTER" 2>/dev/null || break
		sleep 0.05
	done
	cat "$S/log"
	return 1
}

snapshotter_stop() {
	[[ -n ${SNAPSHOTTER:-} ]] || return 0
	kill -TERM "$SNAPSHOTTER" 2>/dev/null
	wait "$SNAPSHOTTER"
	SNAPSHOTTER=
}

# For teardown: nothing may be left, whatever the test did.
snapshotter_end() {
	local pid

	for pid in $(servers); do
		kill -CONT "$pid"
	done
	# first: it would start another daxfs-fuse
	snapshotter_stop || true
	for pid in $(servers); do
		kill -TERM "$pid"
	done
	scratch_mounts | sort -r | while read -r m; do umount -l "$m"; done
	scratch_end
}

# call METHOD [PARAMETERS] ...: calls of the snapshotter.
call() {
	"$VCALL" "$S/state/daxfs.sock" "$@"
}

# A snapshot that is committed as NAME, of PARENT if given, with a file of BYTES.
layer() { # NAME [PARENT [BYTES]]
	call io.daxfs.Snapshots.Prepare \
		"{\"key\": \"prepare-$1\", \"parent\": \"${2:-}\"}" >answer
	if [[ -n ${3:-} ]]; then
		head -c "$3" /dev/zero >"$(jq -r '.mounts[0].source' answer)/$1"
	fi
	call io.daxfs.Snapshots.Commit \
		"{\"key\": \"prepare-$1\", \"name\": \"$1\"}" >/dev/null
}

active() { # KEY [PARENT]
	call io.daxfs.Snapshots.Prepare \
		"{\"key\": \"$1\", \"parent\": \"${2:-}\"}" | jq -r '.mounts[0].source'
}
