#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Our units under a real systemd, which runs in namespaces of its own
# (tests/systemd/boot).

bats_require_minimum_version 1.5.0
load helpers

SECONDS_MAX=150

setup_file() {
	local p

	[[ $UID -eq 0 && -c /dev/fuse && -x /lib/systemd/systemd ]] || return 0
	for p in nsenter curl jq systemd-sysusers; do
		command -v "$p" >/dev/null || return 0
	done
	grep -q ' - cgroup2 ' /proc/self/mountinfo || return 0
	export D=$BATS_FILE_TMPDIR
	mkdir -p "$D/units" "$D/bin"
	cp "$REPO"/contrib/systemd/*.conf "$D/"
	cp "$REPO"/contrib/systemd/*.{service,socket,target} "$D/units/"
	sed -i 's,/usr/bin/,/run/bin/,' "$D"/units/*.service
	for p in snapshotter grpc; do
		mkdir "$D/units/daxfs-$p.service.d"
		printf '[Service]\nStandardError=append:/run/%s.log\n' $p \
			>"$D/units/daxfs-$p.service.d/log.conf"
	done
	for p in mkdaxfs daxfs daxfs-fuse daxfs-keeper daxfs-snapshotter daxfs-grpc \
		tools/vcall; do
		cp -L "$BUILD/$p" "$D/bin/"
	done
	"$REPO/tests/systemd/boot" "$D" "$SECONDS_MAX" >"$D/log" 2>&1 3>&- &
	export BOOT=$!
	INIT=$(eventually 100 init_of "$BOOT") || {
		cat "$D/log"
		return 1
	}
	export INIT
	eventually 200 active daxfs-grpc daxfs-snapshotter || {
		cat "$D/log"
		inside systemctl --no-pager status
		inside cat /run/snapshotter.log /run/grpc.log
		return 1
	}
}

teardown_file() {
	[[ -n ${BOOT:-} ]] || return 0
	kill -TERM "$BOOT"
	for _ in {1..100}; do
		kill -0 "$BOOT" 2>/dev/null || return 0
		sleep 0.1
	done
	return 1
}

setup() {
	[[ -n ${INIT:-} ]] || skip "needs root, /dev/fuse, cgroup2, systemd, curl, jq, nsenter"
}

teardown() {
	[[ -n ${BATS_TEST_COMPLETED:-} ]] || inside cat /run/snapshotter.log /run/grpc.log
}

eventually() { # TENTHS, COMMAND...
	local i

	for ((i = $1; i > 0; i--)); do
		! "${@:2}" || return 0
		sleep 0.1
	done
	"${@:2}"
}

# The systemd below this process.
init_of() {
	local p=$1 comm

	while p=$(cut -d' ' -f1 "/proc/$p/task/$p/children" 2>/dev/null) && [[ -n $p ]]; do
		read -r comm <"/proc/$p/comm"
		[[ $comm != systemd ]] || break
	done
	[[ -n $p ]] && echo "$p"
}

inside() {
	nsenter -t "$INIT" -m -p -i -u "$@"
}

active() {
	inside systemctl is-active "$@" >/dev/null 2>&1
}

main_pid() { # SERVICE
	inside systemctl show -P MainPID "$1"
}

health() {
	head -c 5 /dev/zero | inside curl -s -m 20 --http2-prior-knowledge -D - \
		-o /dev/null --unix-socket /run/daxfs/grpc.sock \
		-H 'content-type: application/grpc' -H 'te: trailers' \
		--data-binary @- http://daxfs/grpc.health.v1.Health/Check
}

call() { # METHOD, PARAMETERS
	inside /run/bin/vcall /run/daxfs/daxfs.sock \
		"{\"method\":\"io.daxfs.Snapshots.$1\",\"parameters\":$2}"
}

fuse() {
	inside pidof daxfs-fuse
}

@test "one target starts everything, each as the user it is to be" {
	run -0 health
	assert_output --partial "grpc-status: 0"
	run -0 inside stat -c '%U %G %a' /run/daxfs/daxfs.sock /run/daxfs/grpc.sock
	assert_line --index 0 "root daxfs-grpc 660"
	assert_line --index 1 "root root 660"
	run -0 inside cat "/proc/$(main_pid daxfs-grpc)/status"
	assert_line --regexp '^NoNewPrivs:.1$'
	assert_line --regexp '^Seccomp:.2$'
	assert_line --regexp '^CapEff:.0+$'
	assert_line --regexp '^CapBnd:.0+$'
	run -0 inside ps -o user:20= -p "$(main_pid daxfs-grpc)"
	assert_output daxfs-grpc
	run -0 inside cat "/proc/$(main_pid daxfs-snapshotter)/status"
	assert_line --regexp '^NoNewPrivs:.1$'
	assert_line --regexp '^Seccomp:.2$'
	# CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN, CAP_SYS_RESOURCE
	mask=$((16#$(sed -n 's/^CapBnd:\t//p' <<<"$output")))
	[[ $((mask & ~(1 << 0 | 1 << 2 | 1 << 21 | 1 << 24))) -eq 0 ]]
}

@test "mounts of the snapshotter are seen by the host" {
	run -0 call Prepare '{"key":"layer"}'
	at=$(jq -r '.parameters.mounts[0].source' <<<"$output")
	run -0 inside findmnt -n -o FSTYPE "$at"
	assert_output fuse.daxfs
	run -0 inside sh -c "echo here >$at/file && mkdir $at/dir && chown 7:8 $at/dir &&
		chmod 2755 $at/dir && mknod $at/null c 1 3 && ln $at/file $at/dir/file"
	run -0 call Commit '{"name":"done","key":"layer"}'
	run -0 call Prepare '{"key":"container","parent":"done"}'
	at=$(jq -r '.parameters.mounts[0].source' <<<"$output")
	run -0 inside stat -c '%u %g %a %F' "$at/dir" "$at/null"
	assert_line --index 0 "7 8 2755 directory"
	assert_line --index 1 "0 0 644 character special file"
	echo "$at" >"$D/at"
}

@test "daxfs-grpc sees neither the pool nor devices, and writes nowhere" {
	pid=$(main_pid daxfs-grpc)
	run -0 inside ls -A /var/lib/daxfs
	assert_output --partial pool.daxfs
	run -0 inside nsenter -t "$pid" -m ls -A /var/lib/daxfs
	assert_output ""
	run -0 inside nsenter -t "$pid" -m sh -c 'touch /etc/x /var/x 2>&1; true'
	assert_line --index 0 --partial "'/etc/x': Read-only file system"
	assert_line --index 1 --partial "'/var/x': Read-only file system"
	run -0 inside nsenter -t "$pid" -m ls /dev
	refute_line fuse
}

replaced() { # PID
	fuse >/dev/null && [[ $(fuse) != "$1" ]]
}

# What a package does: other files in the place of the programs, then a restart.
@test "an upgrade in place: no connection fails, containers go on" {
	at=$(cat "$D/at")
	before=$(fuse)
	inside sh -c "while sleep 0.05; do cat $at/file || echo failed; done" \
		>"$D/reader" 2>&1 3>&- &
	reader=$!
	for _ in {1..25}; do
		health | grep -q 'grpc-status: 0' || echo "${PIPESTATUS[*]}"
	done >"$D/calls" 3>&- &
	calls=$!
	for p in daxfs-fuse daxfs-keeper daxfs-grpc daxfs-snapshotter; do
		inside sh -c "cp /run/bin/$p /run/bin/new && mv /run/bin/new /run/bin/$p"
	done
	for p in daxfs-snapshotter daxfs-grpc; do
		old=$(main_pid $p)
		inside systemctl restart $p
		[[ $(main_pid $p) != "$old" ]]
	done
	eventually 100 replaced "$before"
	wait "$calls"
	kill "$reader"
	# curl's 7 is a connection that could not be made
	run grep -E '^[0-9]* 7 ' "$D/calls"
	assert_output ""
	run -0 sort -u "$D/reader"
	assert_output here
	run -0 call Stat '{"key":"container"}'
}

@test "a reload reads the configuration" {
	inside sh -c 'mkdir -p /etc/daxfs &&
		printf "[snapshotter]\nlog_level = debug\n" >/etc/daxfs/daxfs.conf'
	run -0 inside systemctl reload daxfs-snapshotter
	eventually 50 inside grep -q 'configuration read again' /run/snapshotter.log
	run -0 call Stat '{"key":"container"}'
	eventually 50 inside grep -q 'level=debug .*msg=call' /run/snapshotter.log
}

@test "a mistake in the configuration is not tried again and again" {
	inside sh -c 'echo "wokers = 3" >>/etc/daxfs/daxfs.conf'
	run inside systemctl restart daxfs-snapshotter
	assert_failure
	run -0 inside systemctl show -P ActiveState -P ExecMainStatus daxfs-snapshotter
	assert_line failed
	assert_line 2
	run -0 inside tail -n 1 /run/snapshotter.log
	assert_output "daxfs-snapshotter: /etc/daxfs/daxfs.conf:3: unknown key 'wokers' in [snapshotter]"
	inside sed -i '/wokers/d' /etc/daxfs/daxfs.conf
	inside systemctl start daxfs-snapshotter.socket daxfs-snapshotter
	run -0 call Stat '{"key":"container"}'
}

@test "metrics, where they are switched on" {
	port=$((20000 + RANDOM % 12000))
	inside sh -c "printf '[grpc]\nmetrics_address = 127.0.0.1:$port\n' \
		>>/etc/daxfs/daxfs.conf"
	run -0 inside systemctl restart daxfs-grpc
	run -0 inside curl -sf -m 20 "http://127.0.0.1:$port/metrics"
	assert_line "daxfs_up 1"
	run -0 inside curl -sf -m 20 "http://127.0.0.1:$port/healthz"
	run -0 health
	assert_output --partial "grpc-status: 0"
}

@test "what is killed is started again" {
	for p in daxfs-snapshotter daxfs-grpc; do
		old=$(main_pid $p)
		inside kill -KILL "$old"
		run -0 health
		run -0 call Stat '{"key":"container"}'
		eventually 100 active $p
		[[ $(main_pid $p) != "$old" ]]
	done
	run -0 health
	assert_output --partial "grpc-status: 0"
}

@test "stopping the target stops all; mounts in use stay" {
	inside systemctl stop daxfs.target
	refute active daxfs-snapshotter
	refute active daxfs-grpc
	run -0 inside ls /run/daxfs
	refute_line daxfs.sock
	refute_line grpc.sock
	run -0 inside cat "$(cat "$D/at")/file"
	assert_output here
	inside systemctl start daxfs.target
	eventually 100 active daxfs-snapshotter daxfs-grpc
	run -0 call Remove '{"key":"container"}'
	run -0 call Remove '{"key":"done"}'
	run -0 call Cleanup '{}'
	inside systemctl stop daxfs.target
	eventually 100 refute fuse
}
