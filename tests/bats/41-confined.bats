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

# CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN
CAPS=0000000000200005

assert_confined() { # PID
	# shellcheck disable=SC2016 # awk's dollars
	run_x awk '$1 ~ /^(NoNewPrivs|Seccomp|Cap(Inh|Prm|Eff|Bnd|Amb)):$/ {
		print $1 $2 }' "/proc/$1/status"
	assert_line NoNewPrivs:1
	assert_line Seccomp:2
	assert_line CapInh:0000000000000000
	assert_line CapAmb:0000000000000000
	assert_line CapPrm:$CAPS
	assert_line CapEff:$CAPS
	assert_line CapBnd:$CAPS
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
