#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# daxfs snapshot ls, tree and usage.

load helpers
load snapshotter

DIGEST=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

setup() {
	need root fuse python3
	scratch
	printf '[snapshotter]\npool_size = 256M\npool_branches = 1024\n' >conf
	snapshotter_start --config conf
}

teardown() {
	snapshotter_end
}

make_some() {
	layer "$DIGEST" "" 200000
	layer two "$DIGEST"
	active web two >/dev/null
	head -c 300000 /dev/zero >state/mnt/3/f && sync state/mnt/3/f
	call io.daxfs.Snapshots.View "{\"key\": \"look\", \"parent\": \"$DIGEST\"}" >/dev/null
}

@test "ls" {
	run_x daxfs snapshot ls
	assert_output --regexp '^NAME +KIND +PARENT +SIZE +AGE$'
	make_some
	run_x daxfs snapshot ls
	assert_equal "${#lines[@]}" 5
	assert_line --regexp "^look +view +$DIGEST +0 B +[0-9]+s\$"
	assert_line --regexp "^$DIGEST +committed +- +[0-9.]+ KiB +[0-9]+s\$"
	assert_line --regexp "^two +committed +$DIGEST +0 B +[0-9]+s\$"
	assert_line --regexp '^web +active +two +[0-9.]+ KiB +[0-9]+s$'

	run_x daxfs snapshot ls kind==active kind==view
	assert_equal "${#lines[@]}" 3
	run_x daxfs snapshot ls 'kind==committed,name~=/^t/'
	assert_equal "${#lines[@]}" 2
	run_x 1 daxfs snapshot ls 'kind=='
	assert_output --partial "filter 'kind==': a value is expected"
}

@test "ls --json" {
	run_x daxfs snapshot ls --json
	assert_equal "$(jq -c . <<<"$output")" "[]"
	make_some
	run_x daxfs snapshot ls --json
	jq -e --arg d "$DIGEST" 'map([.name, .kind, .parent]) == [
		["look", "view", $d], [$d, "committed", ""],
		["two", "committed", $d], ["web", "active", "two"]]' <<<"$output"
	jq -e 'map(select(.name == "web"))[0] | .size >= 300000 and .inodes == 1 and
		.created_ns > 1600000000000000000 and .labels == {}' <<<"$output"
	jq -e 'map(.size | type) | unique == ["number"]' <<<"$output"
}

@test "tree" {
	make_some
	LC_ALL=C run_x daxfs snapshot tree
	assert_equal "${#lines[@]}" 4
	assert_line --index 0 --regexp "^$DIGEST +committed +[0-9.]+ KiB\$"
	assert_line --index 1 --regexp '^\|- look +view +0 B$'
	assert_line --index 2 --regexp '^`- two +committed +0 B$'
	assert_line --index 3 --regexp '^   `- web +active +[0-9.]+ KiB$'
	run_x daxfs snapshot tree --json
	jq -e 'map(.name) | length == 4' <<<"$output"
	jq -e 'map(select(.name == "two"))[0].parent | startswith("sha256:")' <<<"$output"
	jq -e 'map(has("labels")) | any | not' <<<"$output"
}

@test "usage" {
	make_some
	run_x daxfs snapshot usage web look
	assert_equal "${#lines[@]}" 4
	assert_line --index 1 --regexp '^ +[0-9.]+ KiB +1  web$'
	assert_line --index 2 --regexp '^ +0 B +0  look$'
	assert_line --index 3 --regexp ' 2 snapshots$'
	run_x daxfs snapshot usage
	assert_equal "${#lines[@]}" 6
	assert_line --regexp ' 4 snapshots$'
	run_x daxfs snapshot usage --json
	jq -e 'length == 4 and (map(keys) | unique == [["inodes", "name", "size"]])' <<<"$output"
	# both agree
	assert_equal "$(jq -c 'map(.size)' <<<"$output")" \
		"$(daxfs snapshot ls --json | jq -c 'map(.size)')"
}

@test "a key that does not exist" {
	make_some
	run_x 1 daxfs snapshot usage nope web
	assert_line "daxfs snapshot usage: snapshot 'nope' does not exist"
	assert_line --regexp '^ +[0-9.]+ KiB +1  web$' # the others are told
	run_x 2 daxfs snapshot usage $'\xff'
	assert_output --partial "is not"
}

@test "names of any bytes do not reach a terminal as they are" {
	call io.daxfs.Snapshots.Prepare '{"key": "a\u001b[31m\n\u009b\\é"}' >/dev/null
	for verb in ls tree usage; do
		LC_ALL=C.UTF-8 run_x daxfs snapshot $verb
		assert_output --partial 'a\033[31m\012\302\233\134é'
		run_x 1 grep -q $'[\x1b]' <<<"$output"
	done
	run_x daxfs snapshot ls --json
	jq -e '.[0].name == "a\u001b[31m\n\u009b\\é"' <<<"$output"
}

@test "long names are shortened on a terminal, and only there" {
	make_some
	LC_ALL=C.UTF-8 run_x "$REPO/tests/tools/on-terminal" 24x70 -- daxfs snapshot ls
	assert_line --partial "end: exit 0"
	run_x tr -d '\r' <<<"$output"
	assert_line --regexp '^sha256:01…[0-9a-f]{8}  committed  -                   +[0-9.]+ KiB +[0-9]+s$'
	while read -r l; do
		((${#l} <= 70)) || fail "longer than the terminal: $l"
	done <<<"$output"
	LC_ALL=C.UTF-8 run_x "$REPO/tests/tools/on-terminal" 24x70 -- daxfs snapshot tree
	refute_output --partial "$DIGEST"
	run_x daxfs snapshot ls
	assert_output --partial "$DIGEST"
}

# Rows are written to the store as the snapshotter would: making so many
# branches is not what is looked at here.
@test "100,000 snapshots are listed as they come" {
	need sqlite3
	layer base
	sqlite3 -cmd '.timeout 20000' root/metadata.db "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL
		SELECT i + 1 FROM n WHERE i < 100000)
		INSERT INTO snapshots (name, kind, state, branch, labels, created,
		updated, size) SELECT printf('layer-%06d', i), 3, 2, 's-1',
		'{\"n\": \"' || i || '\"}', 1, 1, i FROM n"
	run_x python3 - <<-'END'
		import resource, subprocess
		with open("list", "w") as f:
		    subprocess.run(["daxfs", "snapshot", "ls", "--json"], stdout=f, check=True)
		print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
	END
	echo "peak: $output KiB"
	((output < 32768))
	jq -e 'length == 100001 and (map(.size) | add) == 5000050000' list
	assert_equal "$(daxfs snapshot ls | wc -l)" 100002
	run_x daxfs snapshot ls name==layer-070000
	assert_equal "${#lines[@]}" 2
	assert_equal "$(daxfs snapshot tree | wc -l)" 100001
}
