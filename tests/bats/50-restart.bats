#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# containerd and runc on daxfs while our daemons are killed, and after a reboot.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154

load helpers
. "$REPO/tests/bats/containers.bash"
. "$REPO/demo/cleanup.bash"

NS=daxfs-test-$$ IMAGE=daxfs.test/busybox:latest

setup() {
	need root fuse containerd ctr runc busybox
	scratch
	containers_setup
}

teardown() {
	containers_teardown
	[[ ${BATS_TEST_COMPLETED:-} == 1 ]] || kill_all
	remove_cgroups
	scratch_end
}

# All processes at once, as when the power goes.
kill_all() {
	local i

	for ((i = 0; i < 50; i++)); do
		find_processes
		[[ ${#found[@]} -gt 0 ]] || break
		kill -KILL "${found[@]}" 2>/dev/null || true
		sleep 0.1
	done
	pids=()
}

start_all() {
	start_daxfs
	start_containerd
}

import() {
	make_image
	ctr images import --snapshotter daxfs --base-name "${IMAGE%:*}" image.tar
}

run_x_ctr() { # COMMAND...
	run_x ctr --address "$S/containerd.sock" --namespace "$NS" "$@"
}

stopped() { # ID
	ctr task ls | grep -q "^$1 .*STOPPED"
}

# Nothing of it is left: snapshots, branches, mounts, processes.
nothing_left() {
	local mounts

	ctr images rm --sync "$IMAGE"
	wait_for 20 no_snapshots
	stop_daemons
	mounts=$(scratch_mounts)
	assert_equal "$mounts" ""
	no_servers
	find_processes
	assert_equal "${found[*]}" ""
	assert_equal "$(sqlite3 "$S/daxfs/metadata.db" \
		'SELECT count(*) FROM snapshots')" 0
	run_x daxfs-branch list --json "$S/daxfs/pool.daxfs"
	assert_equal "$(jq -c '[.branches[].name]' <<<"$output")" '["main"]'
}

@test "after a reboot containers start again from their snapshots" {
	local m

	start_all
	import
	ctr run --detach --snapshotter daxfs --runc-root "$S/runc" "$IMAGE" a \
		sh -c 'echo kept >/mine && rm /srv/added && sync && >/ready && sleep 1000'
	wait_for 10 compgen -G "$S/run/mnt/*/ready"
	# it is killed in the midst of things
	kill_all
	while read -r m; do
		umount -l "$m"
	done < <(scratch_mounts | sort -r)
	rm -r "$S/run" "$S/containerd-run" "$S/runc"
	remove_cgroups

	start_all
	assert_equal "$(scratch_mounts)" ""
	ctr task delete a || true # of the last boot
	# its command makes no second /srv/added: it fails, having seen its files
	run_x 1 timeout 30 ctr --address "$S/containerd.sock" -n "$NS" \
		task start --fifo-dir "$S/fifo" a
	assert_output --partial "rm: can't remove '/srv/added'"
	ctr snapshots --snapshotter daxfs mounts "$S/look" a >"$S/mounts"
	mkdir "$S/look"
	sh -e "$S/mounts"
	assert_equal "$(cat "$S/look/mine")" kept
	umount "$S/look"
	# and the image needs no pull
	ctr run --rm --snapshotter daxfs --runc-root "$S/runc" --fifo-dir "$S/fifo" \
		"$IMAGE" b sh -c 'test "$(cat /etc/motd)" = two && test ! -e /mine'
	ctr container delete a
	nothing_left
}

@test "where the pool is lost, its images are removed and imported again" {
	start_all
	import
	ctr run --snapshotter daxfs --runc-root "$S/runc" --fifo-dir "$S/fifo" \
		"$IMAGE" a sh -c :
	kill_all
	umount -l "$S"/run/mnt/*
	rm "$S/daxfs/pool.daxfs"

	start_all
	run_x grep -c 'msg="snapshot is lost' "$LOGS/daxfs-snapshotter.log"
	assert_output 3
	ctr snapshots --snapshotter daxfs ls | grep -q '^a .* Active'
	ctr snapshots --snapshotter daxfs info a | grep -q io.daxfs.lost
	# neither what was there works, nor is it taken for whole
	run_x 1 timeout 30 ctr --address "$S/containerd.sock" -n "$NS" \
		task start --fifo-dir "$S/fifo" a
	assert_output --partial "is lost: the pool does not have its branch"
	run_x 1 timeout 30 ctr --address "$S/containerd.sock" -n "$NS" run \
		--snapshotter daxfs --runc-root "$S/runc" "$IMAGE" b sh
	assert_output --partial "is lost: the pool does not have its branch"
	ctr container delete a
	ctr images rm --sync "$IMAGE"
	wait_for 20 no_snapshots
	ctr images import --snapshotter daxfs --base-name "${IMAGE%:*}" image.tar
	ctr run --rm --snapshotter daxfs --runc-root "$S/runc" --fifo-dir "$S/fifo" \
		"$IMAGE" c sh -c 'test "$(cat /etc/motd)" = two'
	nothing_left
}

# ---- While they are killed ---------------------------------------------------

# A service manager starts again what has been killed.
start_snapshotter() {
	daemon "daxfs-snapshotter-$1" "$BUILD/daxfs-snapshotter" \
		--root "$S/daxfs" --state "$S/run" --config "$S/daxfs.conf"
	snapshotter_pid=$daemon_pid
}

start_grpc() {
	daemon "daxfs-grpc-$1" "$BUILD/daxfs-grpc" --address "$S/grpc.sock" \
		--state "$S/run"
	grpc_pid=$daemon_pid
}

fuse_pid() {
	servers | head -n 1
}

kill_wait() { # PID...
	local pid

	kill -KILL "$@"
	for pid in "$@"; do
		wait_for 10 process_gone "$pid"
	done
}

kill_one() { # ROUND
	local what=${victims[$1 % ${#victims[@]}]}

	case $what in
	grpc) kill_wait "$grpc_pid" && start_grpc "$1" ;;
	snapshotter) kill_wait "$snapshotter_pid" && start_snapshotter "$1" ;;
	fuse) kill_wait "$(fuse_pid)" ;;
	keeper) kill_wait "$(keepers | head -n 1)" ;;
	all)
		kill_wait "$snapshotter_pid" "$grpc_pid" "$(fuse_pid)"
		start_snapshotter "$1"
		start_grpc "$1"
		;;
	esac
	echo "$what" >>"$S/killed"
}

# What runs in each container: it has its own files, and only those, however
# often something was killed meanwhile.
CONTAINER='
set -e
echo "$0" >/mine
mkdir /many
i=0
while [ $i -lt 20 ]; do
	echo "$0 $i" >/many/$i
	i=$((i + 1))
	sleep 0.1
done
[ "$(cat /mine)" = "$0" ]
[ "$(cat /many/19)" = "$0 19" ]
[ "$(cat /etc/motd)" = two ]
rm /srv/added
cp /bin/busybox /copy
cmp /copy /bin/busybox
echo "done $0"
'

# As kubelet: what could not be done is done again. Only that a container which
# runs fails would be our fault.
again() { # COMMAND...
	local i

	for ((i = 0; i < 20; i++)); do
		"$@" && return
		echo "again: $*"
		echo "$1 $2" >>"$S/repeated"
		sleep 0.3
	done
	return 1
}

container() { # ID
	local id=$1

	again run_container "$id" || return 1
	wait_for 60 stopped "$id" || return 1
	ctr task delete "$id" || echo "$id failed: exit status $?"
	again remove_container "$id"
}

# A start that failed half-way is taken back, as kubelet does.
run_container() { # ID
	ctr run --detach --snapshotter daxfs --runc-root "$S/runc" \
		--log-uri "file://$S/out/$1" "$IMAGE" "$1" sh -c "$CONTAINER" "$1" &&
		return
	ctr task delete --force "$1"
	ctr container delete "$1"
	ctr snapshots --snapshotter daxfs rm "$1"
	return 1
}

remove_container() { # ID
	ctr container delete "$1" && return
	ctr container info "$1" >/dev/null || return 0
	return 1
}

list_on() {
	while [[ ! -e $S/end ]]; do
		ctr snapshots --snapshotter daxfs ls >/dev/null || echo list >>"$S/repeated"
		sleep 0.2
	done
}

kill_on() {
	local round

	for ((round = 0; ; round++)); do
		sleep 1
		[[ ! -e $S/end ]] || break
		kill_one "$round"
	done
	echo "$snapshotter_pid $grpc_pid" >"$S/pids"
}

@test "containers come and go while daemons are killed each second" {
	local n=20 at_once=8 i jobs=() killer lister victims=(all snapshotter grpc fuse keeper)

	[[ -z ${LONG:-} ]] || n=100
	start_daxfs
	snapshotter_pid=${pids[0]} grpc_pid=${pids[1]}
	start_containerd
	import
	mkdir out
	kill_on 3>&- & killer=$!
	list_on 3>&- & lister=$!
	for ((i = 0; i < n; i++)); do
		container "c$i" >"$LOGS/c$i.log" 2>&1 3>&- & jobs+=($!)
		[[ $((i % at_once)) -ne $((at_once - 1)) ]] || wait "${jobs[@]}"
	done
	wait "${jobs[@]}"
	touch "$S/end"
	wait "$killer" "$lister"
	read -r snapshotter_pid grpc_pid <"$S/pids"
	pids=("$snapshotter_pid" "$grpc_pid" "${pids[@]:2}")

	echo "# killed: $(sort killed | uniq -c | xargs)," \
		"repeated: $(sort repeated 2>/dev/null | uniq -c | xargs)" >&3
	grep -h '^ctr: ' "$LOGS"/c*.log | sed 's/^/# /' | cut -c1-300 >&3 || true
	for ((i = 0; i < n; i++)); do
		assert_equal "$(cat "out/c$i")" "done c$i"
	done
	run_x 1 grep -h 'failed:' "$LOGS"/c*.log
	assert [ "$(wc -l <killed)" -ge 4 ]
	# none is left open by any of those that were begun and broken off
	again ctr snapshots --snapshotter daxfs ls
	assert [ "$(find "/proc/$snapshotter_pid/fd" | wc -l)" -lt 60 ]
	assert [ "$(find "/proc/$grpc_pid/fd" | wc -l)" -lt 60 ]
	nothing_left
}

# ---- Metadata ----------------------------------------------------------------

listing() {
	ctr snapshots --snapshotter daxfs ls | sort
}

@test "containers go on, and new ones start, when metadata.db is lost" {
	local before

	start_daxfs
	snapshotter_pid=${pids[0]} grpc_pid=${pids[1]}
	start_containerd
	import
	ctr run --detach --snapshotter daxfs --runc-root "$S/runc" "$IMAGE" a \
		sh -c 'echo a >/mine && >/ready && sleep 1000'
	wait_for 10 compgen -G "$S/run/mnt/*/ready"
	before=$(listing)
	run_x daxfs-inspect info --json "$S/daxfs/pool.daxfs"
	assert_equal "$(jq -r '.features | index("branch-meta") != null' \
		<<<"$output")" true
	run_x daxfs-inspect branches "$S/daxfs/pool.daxfs"
	assert_output --regexp 's-[0-9]+ .* \+[0-9]+ B metadata'

	kill_wait "$snapshotter_pid"
	rm "$S"/daxfs/metadata.db*
	start_snapshotter rebuilt
	pids=("$snapshotter_pid" "$grpc_pid" "${pids[@]:2:1}")
	again ctr snapshots --snapshotter daxfs ls
	assert_equal "$(listing)" "$before"
	grep -q 'metadata rebuilt from the pool' "$LOGS/daxfs-snapshotter-rebuilt.log"

	# the one that runs has its files still, and its image needs no pull
	run_x_ctr task exec --exec-id e --fifo-dir "$S/fifo" a cat /mine
	assert_output a
	ctr run --rm --snapshotter daxfs --runc-root "$S/runc" --fifo-dir "$S/fifo" \
		"$IMAGE" b sh -c 'test "$(cat /etc/motd)" = two && test ! -e /mine'
	ctr task kill --signal KILL a
	wait_for 10 stopped a
	ctr task delete a || true # it was killed
	ctr container delete a
	nothing_left
}
