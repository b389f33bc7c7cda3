#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The configuration file: keys, man page and sample agree; what is wrong is
# named with file and line.

load helpers

# The sections and keys that the daemons have, "section key = value".
keys() {
	{
		daxfs-snapshotter --config /dev/null --print-config
		daxfs-grpc --config /dev/null --print-config
	} | flatten
}

flatten() {
	awk '/^\[/ { s = $1; next } NF { print s, $0 }' | sort
}

refused() { # DAEMON, TEXT OF THE FILE, MESSAGE
	printf '%b' "$2" >conf
	run_x 2 "$1" --config "$S/conf" --print-config
	assert_output "$1: $S/conf$3"
}

@test "the sample has all keys with their defaults" {
	run_x diff <(keys) <(sed -n 's/^#\([a-z_]* =.*\)/\1/p; /^\[/p' \
		"$REPO/contrib/daxfs.conf" | flatten)
	# as it is, it changes nothing; and with its keys switched on neither
	for p in daxfs-snapshotter daxfs-grpc; do
		run_x diff <($p --config /dev/null --print-config) \
			<($p --config "$REPO/contrib/daxfs.conf" --print-config)
		sed 's/^#\([a-z_]* =\)/\1/' "$REPO/contrib/daxfs.conf" >all
		run_x diff <($p --config /dev/null --print-config) \
			<($p --config all --print-config)
	done
}

@test "the man page has all keys with their defaults" {
	sed 's/\\-/-/g' "$REPO/docs/man/daxfs.conf.5" >page
	run_x diff <(keys | awk '{ print $1, $2 }') <(awk '
		/^\.SH SECTION/ { s = $3; next }
		/^\.SH/ { s = "" }
		s && was == ".TP" && /^\.B / { print s, $2 }
		{ was = $0 }' page | sort)
	while read -r section key _ value; do
		awk -v s="$section" -v k="$key" -v d="$value" '
			/^\.SH/ { in_s = $3 == s }
			in_s && /^\.TP/ { in_k = 0 }
			in_s && $0 == ".B " k { in_k = 1 }
			in_k && index($0, "Default " d) == 1 { found = 1 }
			END { exit !found }' page || fail "$section $key"
	done < <(keys)
}

@test "values are taken over, and the command line counts more" {
	cat >conf <<-EOT
	; all kinds of lines
	[snapshotter]
	  pool_size = 2048M ; more
	root=/a
	log_level : debug

	[fuse]
	log_size = 0
	[grpc]
	address = /b c
	EOT
	run_x daxfs-snapshotter --config conf --print-config
	assert_line "pool_size = 2G"
	assert_line "root = /a"
	assert_line "log_level = debug"
	assert_line "log_size = 0"
	daxfs-snapshotter --config conf --print-config >again
	run_x diff again <(daxfs-snapshotter --config again --print-config)
	run_x daxfs-snapshotter --config conf --print-config --root /r \
		--log-level error
	assert_line "root = /r"
	assert_line "pool_size = 2G"
	assert_equal "$(grep -cx 'log_level = error' <<<"$output")" 2
	run_x daxfs-grpc --config conf --print-config --state /s
	assert_line "address = /b c"
	assert_line "state = /s"
}

@test "what is wrong is named with file and line" {
	p=daxfs-snapshotter
	refused $p '[snapshoter]\n' ":1: unknown section [snapshoter]"
	refused $p '\n[grpc]\nx = 1\n[fuse]\nx = 1\n' \
		":5: unknown key 'x' in [fuse]"
	refused $p 'root = /x\n' ":1: key 'root' before any [section]"
	refused $p '[snapshotter]\npool_size = 1K\n' \
		":2: pool_size = 1K: must be 0, or from 64M to 64T"
	refused $p '[snapshotter]\npool_size = big\n' \
		":2: pool_size = big: not a size (a number, or one with K, M, G or T)"
	refused $p '[snapshotter]\nworkers = 1K\n' \
		":2: workers = 1K: not a number"
	refused $p '[snapshotter]\nworkers = 65\n' \
		":2: workers = 65: must be from 1 to 64"
	refused $p '[snapshotter]\nlog_level = loud\n' \
		":2: log_level = loud: not error, warn, info or debug"
	refused $p '[snapshotter]\nworkers\n' \
		":2: neither [section] nor key = value"
	refused daxfs-grpc '[grpc]\nstop_timeout = 0\n' \
		":2: stop_timeout = 0: must be from 1 to 3600"
	refused daxfs-grpc '[grpc]\nlog_format = xml\n' \
		":2: log_format = xml: not text or json"
	for p in daxfs-snapshotter daxfs-grpc; do
		run_x 2 $p --config "$S/none"
		assert_output "$p: $S/none: cannot open: No such file or directory"
	done
}
