#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# mkdaxfs as a user runs it.

load helpers

make_tree() {
	mkdir -p "$1/dir/sub"
	printf 'hello\n' >"$1/file"
	printf 'deep\n' >"$1/dir/sub/deep"
	ln "$1/file" "$1/dir/hard"
	ln -s sub/deep "$1/dir/link"
	find "$1" -exec touch -h -d '2024-01-02 03:04:05.678 UTC' {} +
}

@test "the seed's command: a region of a tree" {
	make_tree tree
	run_x mkdaxfs -d tree -o image.daxfs -w
	assert_output --partial "'image.daxfs': writable region"
	run_x daxfs-inspect validate image.daxfs
	assert_output "image.daxfs: valid"
	run_x daxfs-inspect tree image.daxfs
	assert_line --regexp ' /dir/link -> sub/deep$'
	assert_line --regexp '^-rw-r--r-- +2 .* 6 2024-01-02 03:04:05 /file$'
}

@test "the size is the region's, and the file is sparse" {
	make_tree tree
	run_x mkdaxfs -d tree -o r -s 1G -w
	assert_equal "$(stat -c %s r)" $((1 << 30))
	assert [ "$(stat -c '%b' r)" -lt 2048 ]
	assert_equal "$(stat -c %a r)" 600
}

@test "static image: no larger than its tree, no branches" {
	make_tree tree
	run_x mkdaxfs -d tree -o r
	assert_output --partial "static image"
	run_x daxfs-inspect info --json r
	run_x jq -e '.kind == "static image" and .branch_slots == 0 and
		.total_bytes == 4096 + .base_bytes' <<<"$output"
	run_x 1 daxfs-branch create x r
	assert_output --partial "'x'"
	run_x mkdaxfs -d tree -o padded -s 1M
	assert_equal "$(stat -c %s padded)" 1048576
	run_x daxfs-inspect validate padded
}

@test "a region without a tree is an empty root" {
	run_x mkdaxfs -o r -s 16M -w
	run_x daxfs-inspect tree r
	assert_output --regexp '^drwxr-xr-x +2 +0 +0 .* /$'
}

@test "the same tree gives the same bytes" {
	make_tree tree
	cp -a tree copy
	run_x mkdaxfs -d tree -o a -s 16M -w
	run_x mkdaxfs -d copy -o b -s 16M -w
	run_x cmp a b
	run_x daxfs-inspect info --json a
	uuid=$(jq -r .uuid <<<"$output")
	echo more >>copy/file
	run_x mkdaxfs -d copy -o b -s 16M -w --force
	run_x daxfs-inspect info --json b
	assert [ "$uuid" != "$(jq -r .uuid <<<"$output")" ]
}

@test "--json tells what was made" {
	make_tree tree
	run_x mkdaxfs -d tree -o r -s 16M -w --json
	run_x jq -e '.path == "r" and .writable and .total_bytes == 16777216 and
		.files == 2 and .directories == 3 and .base_inodes == 6 and
		.data_bytes == 11 and (.uuid | length) == 36' <<<"$output"
}

@test "a size of 0 is none" {
	run_x 2 mkdaxfs -o r -s 0 -w
	assert_output --partial "mkdaxfs: -s 0: no region is that small"
	assert_file_not_exist r
}

@test "too small a size: both sizes are named, nothing is left" {
	make_tree tree
	run_x 1 mkdaxfs -d tree -o r -s 64K -w
	assert_output --regexp "'r': a size of 65536 bytes .* at least [0-9]+ bytes"
	assert_not_exist r
	need=$(sed -E 's/.*at least ([0-9]+) bytes.*/\1/' <<<"$output")
	run_x mkdaxfs -d tree -o r -s "$need" -w
	run_x daxfs-inspect validate r
	assert_equal "$(find . -mindepth 1 -maxdepth 1 -name '.*' | wc -l)" 0
}

@test "--branches and --segment-size are kept" {
	run_x mkdaxfs -o r -s 64M -w --branches 1000 --segment-size 128K
	run_x daxfs-inspect info --json r
	run_x jq -e '.branch_slots == 1000 and .segment_bytes == 131072' \
		<<<"$output"
}

@test "an existing file needs --force" {
	make_tree tree
	echo precious >r
	run_x 1 mkdaxfs -d tree -o r
	assert_output --partial "'r': exists; --force"
	assert_equal "$(cat r)" precious
	run_x mkdaxfs -d tree -o r --force
	run_x daxfs-inspect validate r
}

@test "--force through a link replaces what it names" {
	make_tree tree
	mkdir sub
	echo old >sub/real
	ln -s sub/real r
	run_x mkdaxfs -d tree -o r --force
	assert_link_exists r
	run_x daxfs-inspect validate sub/real
}

@test "a region in use is refused, forced or not" {
	make_tree tree
	run_x mkdaxfs -d tree -o r -w
	sum=$(cksum <r)
	exec 9<r
	flock -s 9
	run_x 1 mkdaxfs -d tree -o r -w --force
	assert_output --partial "'r': in use"
	exec 9>&-
	assert_equal "$(cksum <r)" "$sum"
}

@test "something else than a file is never replaced" {
	make_tree tree
	mkdir d
	run_x 1 mkdaxfs -d tree -o d --force
	assert_output --partial "'d': exists and is not a regular file"
	mkfifo p
	run_x 1 mkdaxfs -d tree -o p --force
	assert_output --partial "'p': exists and is not a regular file"
}

@test "what is missing is named" {
	run_x 1 mkdaxfs -d none -o r
	assert_output --partial "'none'"
	assert_output --partial "No such file or directory"
	make_tree tree
	run_x 1 mkdaxfs -d tree -o no/such/r
	assert_output --partial "'no/such/r'"
	run_x 1 mkdaxfs -d tree/file -o r
	assert_output --partial "'tree/file'"
	assert_not_exist r
}

@test "a wrong command line is exit status 2" {
	run_x 2 mkdaxfs
	assert_output --partial "-o FILE is missing"
	run_x 2 mkdaxfs -o r
	assert_output --partial "nothing to do"
	run_x 2 mkdaxfs -o r -w -s 12Q
	assert_output --partial "12Q"
	run_x 2 mkdaxfs -o r -w --branches 1
	run_x 2 mkdaxfs -o r -w --branches 65537
	run_x 2 mkdaxfs -o r -w --segment-size 100K
	run_x 2 mkdaxfs -o r -w extra
	run_x 2 mkdaxfs --no-such-option
	assert_not_exist r
}

@test "a full disk: a clear error, nothing is left" {
	need root
	make_tree tree
	head -c 3M /dev/urandom >tree/big
	mkdir small
	mount -t tmpfs -o size=2m tmpfs small
	run_x 1 mkdaxfs -d tree -o small/r -s 64M -w
	assert_output --partial "No space left on device"
	assert_equal "$(find small -mindepth 1)" ""
	rm tree/big
	run_x mkdaxfs -d tree -o small/r -s 64M -w
	umount small
}

@test "a killed mkdaxfs leaves nothing, or all of it" {
	mkdir tree
	for i in {1..8}; do head -c 32M /dev/zero >"tree/f$i"; done
	for delay in 0.01 0.05 0.1; do
		mkdaxfs -d tree -o r 3>&- &
		pid=$!
		sleep $delay
		kill -KILL "$pid" || true
		wait "$pid" || true
		if [[ -e r ]]; then
			run_x daxfs-inspect validate r
			rm r
		fi
		assert_equal "$(find . -mindepth 1 -maxdepth 1)" ./tree
	done
}

@test "special files, owners and attributes are kept" {
	need root setfattr setcap
	make_tree tree
	mknod tree/null c 1 3
	mknod tree/disk b 259 70000
	mkfifo tree/fifo
	chown 1234:4321 tree/file
	chmod 6750 tree/file
	cp /bin/true tree/ping
	setcap cap_net_raw+ep tree/ping
	run_x mkdaxfs -d tree -o r
	run_x daxfs-inspect validate r
	run_x daxfs-inspect tree r
	assert_line --regexp '^crw-.* 1, 3 .* /null$'
	assert_line --regexp '^brw-.* 259, 70000 .* /disk$'
	assert_line --regexp '^prw-.* /fifo$'
	assert_line --regexp '^-rwsr-s--- +2 +1234 +4321 .* /file$'
	run_x daxfs-inspect tree --json r
	run_x jq -e '[.[] | select(.nlink == 2 and .ino ==
		(.ino)) | select(.path == "/file" or .path == "/dir/hard") |
		.ino] | length == 2 and .[0] == .[1]' <<<"$output"
}

@test "odd names are kept and shown harmlessly" {
	mkdir tree
	printf 1 >$'tree/new\nline'
	printf 2 >$'tree/\e[31mred'
	printf 3 >"tree/ space 'and' \"quotes\""
	printf 4 >"tree/$(printf 'x%.0s' {1..255})"
	run_x mkdaxfs -d tree -o r
	run_x daxfs-inspect validate r
	run_x daxfs-inspect tree r
	assert_equal "${#lines[@]}" 5
	assert_output --partial '/new\012line'
	refute_output --partial $'\e'
}

@test "names that are not UTF-8 leave the JSON valid" {
	mkdir tree
	printf 1 >$'tree/caf\xe9'
	printf 2 >$'tree/\xed\xa0\x80'
	printf 3 >'tree/日本'
	run_x mkdaxfs -d tree -o r
	run_x daxfs-inspect tree --json r
	run_x iconv -f UTF-8 -t UTF-8 <<<"$output"
	run_x jq -e 'length == 4 and .[1].path == "/caf\ufffd" and
		(map(.path) | index("/日本"))' <<<"$output"
}

@test "daxfs mkfs is mkdaxfs" {
	make_tree tree
	run_x daxfs mkfs -d tree -o r
	run_x daxfs-inspect validate r
}

@test "output that cannot be written is a failure" {
	make_tree tree
	run_x 1 bash -c 'mkdaxfs -d tree -o r --json >/dev/full'
	assert_output --partial "No space left on device"
}
