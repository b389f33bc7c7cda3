#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the daemons with mounts may do no more, and who may talk to them.

load helpers
load snapshotter

setup() {
	need root fuse /usr/bin/python3
	scratch
	mkdir -p root
	snapshotter_start
	active a >/dev/null
}

teardown() {
	snapshotter_end
}

# CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN, CAP_SYS_RESOURCE: those of them
# that we have.
OURS=0x$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
CAPS=$(printf '%016x' $((0x1200005 & OURS)))

assert_confined() { # PID
	# shellcheck disable=SC2016 # awk's dollars
	run_x awk '$1 ~ /^(NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Bnd|Amb)):$/ {
		print $1 $2 }' "/proc/$1/status"
	assert_line NoNewPrivs:1
	assert_line Seccomp:2
	assert_line CapInh:0000000000000000
	assert_line CapAmb:0000000000000000
	assert_line "CapPrm:$CAPS"
	assert_line "CapEff:$CAPS"
	assert_line "CapBnd:$CAPS"
}

# To the sockets in the scratch folder.
let_others_in() {
	local d=$S/state/fuse

	while [[ $d != / ]]; do
		[[ -z $(find "$d" -maxdepth 0 ! -perm -o=x) ]] || chmod o+x "$d"
		d=$(dirname "$d")
	done
}

# What a socket answers to GetInfo; nothing: it hangs up.
info_as() { # USER SOCKET
	/usr/bin/python3 - "$@" <<-'EOT'
		import os, pwd, socket, sys
		uid = pwd.getpwnam(sys.argv[1]).pw_uid
		os.setgroups([])
		os.setresgid(uid, uid, uid)
		os.setresuid(uid, uid, uid)
		s = socket.socket(socket.AF_UNIX)
		s.settimeout(20)
		s.connect(sys.argv[2])
		try:
		    s.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
		    print(s.recv(4096).decode().rstrip("\0"))
		except (BrokenPipeError, ConnectionResetError):
		    pass
	EOT
}

@test "the snapshotter, and what serves its pool, are confined" {
	local pid n=0

	assert_confined "$SNAPSHOTTER"
	for pid in $(servers); do
		assert_confined "$pid"
		n=$((n + 1))
	done
	assert [ "$n" -ge 1 ]
}

@test "other users are refused, whatever the mode of a socket says" {
	local socket

	let_others_in
	for socket in "$S/state/daxfs.sock" "$S"/state/fuse/*.sock; do
		assert [ -S "$socket" ]
		chmod 666 "$socket"
		run info_as root "$socket"
		assert_output --partial '"vendor"'
		run info_as nobody "$socket"
		assert_output ''
	done
	run_x grep -c 'msg="connection refused".*user 65534 may not use' "$S/log"
	assert_output 1
}

# The kernel's PF_MEMALLOC_NOIO, in the ninth field of stat.
@test "who serves mounts may have memory while it is written back through them" {
	local pid task n=0

	pid=$(servers)
	for task in "/proc/$pid"/task/*; do
		read -r -a stat < <(sed 's/.*) //' "$task/stat")
		[[ $((stat[6] & 0x80000)) -eq 0 ]] || n=$((n + 1))
	done
	if [[ $((OURS & 1 << 24)) -ne 0 ]]; then
		assert [ "$n" -ge 2 ]
	else # it takes CAP_SYS_RESOURCE
		assert_equal "$n" 0
	fi
}

@test "keepers and servers that follow one another do not pile up filters" {
	local i k pid

	for i in {1..12}; do
		k=$(keepers)
		kill -KILL "$k"
		for _ in {1..250}; do
			[[ -z $(keepers) || $(keepers) == "$k" ]] || break
			sleep 0.02
		done
		pid=$(servers)
		kill -USR2 "$pid"
		for _ in {1..250}; do
			[[ -z $(servers) || $(servers) == *"$pid"* ]] || break
			sleep 0.02
		done
	done
	i=$(awk '$1 == "Seccomp_filters:" { print $2 }' "/proc/$(servers)/status")
	assert [ "$i" -le 8 ]
	assert_confined "$(servers)"
}
