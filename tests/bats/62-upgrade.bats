#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# New programs in the place of those that run: a restart takes them up, under
# whatever is mounted.

load helpers

setup() {
	need root fuse jq
	scratch
	mkdir bin
	cp "$BUILD"/{daxfs,daxfs-fuse,daxfs-keeper,daxfs-snapshotter} bin/
	ln -s daxfs bin/mkdaxfs
	printf '[snapshotter]\nroot = %s/root\nstate = %s/state\npool_size = 64M\n' \
		"$S" "$S" >conf
	snapshotter=
}

teardown() {
	local p

	[[ -z $snapshotter ]] || stop
	for p in $(servers); do kill -TERM "$p"; done
	no_servers
	scratch_end
}

start() {
	bin/daxfs-snapshotter --config conf >>log 2>&1 3>&- &
	snapshotter=$!
	for _ in {1..250}; do
		call List '{}' >/dev/null 2>&1 || { sleep 0.02 && continue; }
		return 0
	done
	cat log
	return 1
}

stop() {
	kill -TERM $snapshotter
	wait $snapshotter
	snapshotter=
}

call() { # METHOD, PARAMETERS
	timeout 30 vcall state/daxfs.sock \
		"{\"method\":\"io.daxfs.Snapshots.$1\",\"parameters\":$2}"
}

# As a package manager does it.
install_again() {
	local p

	for p in daxfs-fuse daxfs-keeper daxfs-snapshotter; do
		cp bin/$p bin/$p.new
		mv bin/$p.new bin/$p
	done
}

@test "daxfs-fuse is followed by the installed one when the snapshotter starts" {
	local mnt old pid

	start
	mnt=$(call Prepare '{"key":"a"}' | jq -r '.parameters.mounts[0].source')
	timeout 60 fsendure "$mnt" 4 2 >rounds 2>err 3>&- &
	pid=$!
	exec 5>"$mnt/f"
	old=$(servers)
	stop
	start
	assert_equal "$(servers)" "$old"
	install_again
	stop
	assert_equal "$(servers)" "$old"
	start
	assert_not_equal "$(servers)" "$old"
	assert_equal "$(readlink "/proc/$(servers)/exe")" "$S/bin/daxfs-fuse"
	run_x grep -c "daxfs-fuse upgraded" log
	assert_output 1
	echo still open >&5
	exec 5>&-
	assert_equal "$(cat "$mnt/f")" "still open"
	wait $pid || { cat err; false; }
	call Remove '{"key":"a"}'
	call Cleanup '{}'
}
