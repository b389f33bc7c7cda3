#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Branches as a user works with them: the seed's commands, and version 4's
# tests, each with contents and once more from the media after all is unmounted.

load helpers

setup() {
	need root fuse
	scratch
	mkdir -p tree/dir/sub tree/empty main spec1 spec2 spec1a again
	printf 'hello\n' >tree/file
	printf 'deep\n' >tree/dir/sub/deep
	head -c 100000 /dev/zero | tr '\0' 'x' >tree/big
	ln -s file tree/link
	mkdaxfs -d tree -o image.daxfs -s 64M -w >/dev/null
}

# Where a command names no region, no other may be mounted.
alone() {
	! grep -q ' - fuse\.daxfs ' /proc/self/mountinfo ||
		skip "other daxfs regions are mounted here"
}

mount_main() {
	run_x daxfs mount image.daxfs main
}

# spec1, which survives being unmounted
persistent() {
	run_x daxfs-branch create spec1 -m spec1 --persist image.daxfs
}

# Everything unmounted, the server gone, the branch read again from the media.
remount() {
	local m

	for m in $(scratch_mounts | sort -r); do
		umount "$m"
	done
	no_servers
	run_x daxfs-inspect validate image.daxfs
	run_x daxfs mount image.daxfs "${1:-spec1}" -o "branch=${1:-spec1}"
}

end() {
	local m

	for m in $(scratch_mounts | sort -r); do
		umount "$m"
	done
	no_servers
	run_x daxfs-inspect validate image.daxfs
}

assert_stale() {
	run_x 1 cat "$1"
	assert_output --partial "Stale file handle"
}

@test "the seed's commands: create, nest, list, commit" {
	alone
	mount_main
	run_x daxfs-branch create spec1 -m "$S/spec1" -p main
	run_x daxfs-branch create spec1a -m "$S/spec1a" -p spec1
	run_x daxfs-branch list
	assert_line --regexp '^main '
	assert_line --regexp "^spec1 +main .* $S/spec1\$"
	assert_line --regexp "^spec1a +spec1 .* $S/spec1a\$"
	echo won >spec1a/result
	run_x daxfs-branch commit -m "$S/spec1a"
	assert_output "'spec1a': committed"
	assert_equal "$(cat main/result)" won
	assert_stale spec1/file
	run_x daxfs-branch list
	assert_equal "${#lines[@]}" 2
	end
	run_x daxfs mount image.daxfs main
	assert_equal "$(cat main/result)" won
	end
}

@test "the seed's commands: abort" {
	alone
	mount_main
	run_x daxfs-branch create spec1 -m "$S/spec1" -p main
	run_x daxfs-branch create spec1a -m "$S/spec1a" -p spec1
	run_x daxfs-branch create spec2 -m "$S/spec2"
	echo lost >spec1a/result
	echo kept >spec2/other
	run_x daxfs-branch abort -m "$S/spec1a"
	assert_stale spec1a/result
	assert_not_exist main/result
	assert_equal "$(cat spec2/other)" kept
	run_x daxfs-branch list --json
	run_x jq -e '[.branches[].name] == ["main", "spec2"]' <<<"$output"
	end
}

@test "the seed's commands: umount drops one level" {
	alone
	mount_main
	run_x daxfs-branch create spec1 -m "$S/spec1" -p main
	echo one >spec1/one
	run_x daxfs-branch create spec1a -m "$S/spec1a" -p spec1
	echo two >spec1a/two
	umount "$S/spec1a"
	for _ in {1..50}; do
		run_x daxfs-branch list --json
		jq -e '.branches | length == 2' <<<"$output" >/dev/null && break
		sleep 0.1
	done
	run_x jq -e '[.branches[].name] == ["main", "spec1"]' <<<"$output"
	assert_equal "$(cat spec1/one)" one
	assert_not_exist spec1/two
	echo three >spec1/three
	assert_equal "$(cat spec1/three)" three
	end
}

@test "daxfs umount returns when the level is dropped" {
	mount_main
	run_x daxfs-branch create spec1 -m spec1 image.daxfs
	run_x daxfs-branch create spec1a -m spec1a -p spec1 image.daxfs
	run_x daxfs umount spec1a
	echo thawed >spec1/new
	assert_equal "$(cat spec1/new)" thawed
	run_x daxfs-branch create spec1a -p spec1 image.daxfs
	end
}

@test "main_readonly" {
	mount_main
	run_x 1 touch main/new
	assert_output --partial "Read-only file system"
	run_x 1 bash -c 'echo no >>main/file'
	run_x 1 rm main/file
	run_x 1 mkdir main/d
	assert_equal "$(cat main/file)" hello
	assert_equal "$(cat main/link)" hello
	remount main
	run_x 1 touch main/file
	run_x cmp main/big tree/big
	run_x diff -r --no-dereference tree main
	end
}

@test "branch_writable" {
	persistent
	echo world >>spec1/file
	echo new >spec1/dir/new
	printf 'MID' | dd of=spec1/big bs=1 seek=50000 conv=notrunc status=none
	cp tree/big expect
	printf 'MID' | dd of=expect bs=1 seek=50000 conv=notrunc status=none
	for pass in 1 2; do
		run_x cat spec1/file
		assert_output $'hello\nworld'
		assert_equal "$(cat spec1/dir/new)" new
		run_x cmp spec1/big expect
		assert_equal "$(cat spec1/dir/sub/deep)" deep
		[[ $pass == 2 ]] || remount
	done
	mount_main
	run_x diff -r --no-dereference tree main
	end
}

@test "branch_isolation" {
	persistent
	run_x daxfs-branch create spec2 -m spec2 --persist image.daxfs
	echo one >spec1/file
	echo two >spec2/file
	echo mine >spec1/only1
	rm spec2/link
	for pass in 1 2; do
		assert_equal "$(cat spec1/file)" one
		assert_equal "$(cat spec2/file)" two
		assert_equal "$(cat spec1/only1)" mine
		assert_not_exist spec2/only1
		assert_equal "$(cat spec1/link)" one
		assert_link_not_exists spec2/link
		if [[ $pass == 1 ]]; then
			remount
			run_x daxfs mount image.daxfs spec2 -o branch=spec2
		fi
	done
	assert [ "$(stat -c %d spec1)" != "$(stat -c %d spec2)" ]
	end
}

@test "nested_branch" {
	persistent
	echo parent >spec1/p
	echo changed >spec1/file
	run_x daxfs-branch create spec1a -m spec1a -p spec1 --persist image.daxfs
	assert_equal "$(cat spec1a/p)" parent
	assert_equal "$(cat spec1a/file)" changed
	echo child >spec1a/c
	echo child >>spec1a/p
	# a parent is frozen while it has children
	run_x 1 bash -c 'echo no >spec1/q'
	assert_output --partial "Read-only file system"
	for pass in 1 2; do
		assert_equal "$(cat spec1/p)" parent
		assert_not_exist spec1/c
		assert_equal "$(cat spec1a/c)" child
		assert_equal "$(cat spec1a/p)" $'parent\nchild'
		if [[ $pass == 1 ]]; then
			remount
			run_x daxfs mount image.daxfs spec1a -o branch=spec1a
		fi
	done
	end
}

@test "branch_abort" {
	persistent
	echo gone >spec1/file
	head -c 3M /dev/urandom >spec1/data
	sync -f spec1
	run_x daxfs-branch abort -m spec1
	assert_output "'spec1': aborted"
	assert_stale spec1/file
	umount spec1
	no_servers
	run_x 1 daxfs mount image.daxfs spec1 -o branch=spec1
	assert_output --partial "spec1"
	run_x daxfs-inspect info --json image.daxfs
	run_x jq -e '.segments == .segments_free and .branches == 1' <<<"$output"
	mount_main
	assert_equal "$(cat main/file)" hello
	end
}

@test "mkdir" {
	persistent
	mkdir spec1/new spec1/new/nested spec1/dir/more
	chmod 1777 spec1/new
	echo in >spec1/new/nested/f
	run_x 1 mkdir spec1/dir
	assert_output --partial "File exists"
	for pass in 1 2; do
		assert_equal "$(cat spec1/new/nested/f)" in
		assert_equal "$(stat -c '%a %h' spec1/new)" "1777 3"
		assert_equal "$(stat -c %h spec1/dir)" 4
		assert_equal "$(find spec1/dir -printf '%P ')" \
			"$(cd spec1/dir && find . -printf '%P ')"
		run_x ls spec1/dir
		assert_output $'more\nsub'
		[[ $pass == 2 ]] || remount
	done
	end
}

@test "unlink" {
	persistent
	echo temp >spec1/temp
	rm spec1/temp spec1/file spec1/dir/sub/deep
	echo again >spec1/dir/sub/deep
	for pass in 1 2; do
		assert_not_exist spec1/file
		assert_not_exist spec1/temp
		run_x 1 cat spec1/link
		assert_output --partial "No such file or directory"
		assert_equal "$(cat spec1/dir/sub/deep)" again
		run_x ls spec1
		assert_output $'big\ndir\nempty\nlink'
		[[ $pass == 2 ]] || remount
	done
	mount_main
	assert_equal "$(cat main/file)" hello
	assert_equal "$(cat main/dir/sub/deep)" deep
	end
}

@test "rmdir" {
	persistent
	run_x 1 rmdir spec1/dir
	assert_output --partial "Directory not empty"
	rmdir spec1/empty
	rm spec1/dir/sub/deep
	rmdir spec1/dir/sub spec1/dir
	mkdir spec1/empty
	echo new >spec1/empty/f
	for pass in 1 2; do
		assert_not_exist spec1/dir
		run_x ls spec1/empty
		assert_output f
		assert_equal "$(cat spec1/empty/f)" new
		assert_equal "$(stat -c %h spec1)" 3
		[[ $pass == 2 ]] || remount
	done
	mount_main
	assert_equal "$(cat main/dir/sub/deep)" deep
	end
}

@test "symlink" {
	persistent
	ln -s dir/sub/deep spec1/new
	ln -s nowhere spec1/dangling
	long=$(printf 'd/%.0s' {1..1000})
	ln -s "$long" spec1/long
	ln -sf dir/sub spec1/link
	for pass in 1 2; do
		assert_equal "$(readlink spec1/new)" dir/sub/deep
		assert_equal "$(cat spec1/new)" deep
		assert_equal "$(readlink spec1/dangling)" nowhere
		assert_equal "$(readlink spec1/long)" "$long"
		assert_equal "$(cat spec1/link/deep)" deep
		[[ $pass == 2 ]] || remount
	done
	mount_main
	assert_equal "$(readlink main/link)" file
	assert_equal "$(cat main/link)" hello
	end
}

@test "rename" {
	persistent
	mv spec1/file spec1/renamed
	mv spec1/dir/sub spec1/moved
	echo over >spec1/over
	mv spec1/over spec1/big
	mv spec1/dir spec1/empty/dir
	run_x 1 mv spec1/empty spec1/empty/dir/loop
	for pass in 1 2; do
		assert_not_exist spec1/file
		assert_equal "$(cat spec1/renamed)" hello
		assert_equal "$(cat spec1/moved/deep)" deep
		assert_equal "$(cat spec1/big)" over
		assert_dir_exist spec1/empty/dir
		assert_equal "$(find spec1 | sort | paste -sd' ')" \
			"spec1 spec1/big spec1/empty spec1/empty/dir spec1/link spec1/moved spec1/moved/deep spec1/renamed"
		# once the kernel has forgotten the names
		echo 2 >/proc/sys/vm/drop_caches 2>/dev/null || true
		assert_equal "$(cat spec1/moved/deep)" deep
		[[ $pass == 2 ]] || remount
	done
	mount_main
	run_x diff -r --no-dereference tree main
	end
}

@test "truncate" {
	persistent
	truncate -s 3 spec1/file
	truncate -s 10 spec1/file
	truncate -s 50000 spec1/big
	truncate -s 5M spec1/new
	printf 'x' | dd of=spec1/new bs=1 seek=4M conv=notrunc status=none
	truncate -s 0 spec1/dir/sub/deep
	cp tree/big expect
	truncate -s 50000 expect
	for pass in 1 2; do
		run_x od -An -c spec1/file
		assert_output '   h   e   l  \0  \0  \0  \0  \0  \0  \0'
		run_x cmp spec1/big expect
		assert_equal "$(stat -c %s spec1/new)" $((5 << 20))
		assert_equal "$(tr -d '\0' <spec1/new)" x
		assert_equal "$(stat -c %s spec1/dir/sub/deep)" 0
		[[ $pass == 2 ]] || remount
	done
	end
}

@test "branch_commit" {
	persistent
	echo changed >spec1/file
	run_x daxfs-branch create spec1a -m spec1a -p spec1 image.daxfs
	echo new >spec1a/new
	rm spec1a/big
	run_x daxfs-branch commit spec1a image.daxfs
	assert_output "'spec1a': committed"
	end
	for pass in 1 2; do
		mount_main
		assert_equal "$(cat main/file)" changed
		assert_equal "$(cat main/new)" new
		assert_not_exist main/big
		assert_equal "$(cat main/dir/sub/deep)" deep
		end
	done
	# what was committed is a base for more
	run_x daxfs-branch create more -m again image.daxfs
	echo more >>again/new
	run_x daxfs-branch commit -m again
	end
	mount_main
	assert_equal "$(cat main/new)" $'new\nmore'
	end
}

@test "sibling_invalidation" {
	mount_main
	run_x daxfs-branch create spec1 -m spec1 --persist image.daxfs
	run_x daxfs-branch create spec2 -m spec2 --persist image.daxfs
	run_x daxfs-branch create spec1a -m spec1a -p spec1 --persist image.daxfs
	echo loser >spec2/file
	echo winner >spec1a/file
	exec 9<spec2/file
	run_x daxfs-branch commit -m spec1a
	assert_stale spec2/file
	run_x 1 bash -c 'cat <&9'
	assert_output --partial "Stale file handle"
	run_x 1 touch spec2/new
	assert_output --partial "Stale file handle"
	exec 9<&-
	assert_equal "$(cat main/file)" winner
	end
	run_x daxfs-branch list --json image.daxfs
	run_x jq -e '[.branches[].name] == ["main"]' <<<"$output"
	mount_main
	assert_equal "$(cat main/file)" winner
	end
}

@test "a persistent branch survives umount, another does not" {
	persistent
	echo kept >spec1/kept
	run_x daxfs-branch create spec2 -m spec2 image.daxfs
	umount spec1 spec2
	no_servers
	run_x daxfs-branch list --json image.daxfs
	run_x jq -e '[.branches[].name] == ["main", "spec1"]' <<<"$output"
	run_x daxfs mount image.daxfs spec1 -o branch=spec1
	assert_equal "$(cat spec1/kept)" kept
	end
}

@test "umount --keep keeps a branch that is not persistent" {
	mount_main
	run_x daxfs-branch create spec1 -m spec1 image.daxfs
	echo kept >spec1/kept
	run_x daxfs umount --keep spec1
	run_x daxfs-branch list --json image.daxfs
	run_x jq -e '[.branches[].name] == ["main", "spec1"]' <<<"$output"
	run_x daxfs mount image.daxfs again -o branch=spec1
	assert_equal "$(cat again/kept)" kept
	end
}

@test "a killed server: unmount, mount again, nothing is lost" {
	persistent
	run_x daxfs-branch create spec2 -m spec2 image.daxfs
	echo written >spec1/new
	echo more >>spec1/file
	sync -f spec1
	kill_server
	run_x 1 cat spec1/new
	run_x daxfs umount spec1
	run_x daxfs umount spec2
	run_x daxfs-inspect validate image.daxfs
	run_x daxfs mount image.daxfs spec1 -o branch=spec1
	assert_equal "$(cat spec1/new)" written
	assert_equal "$(cat spec1/file)" $'hello\nmore'
	# the end of spec2's mount was not seen: it is there until it is dropped
	run_x daxfs-branch delete spec2 image.daxfs
	end
}

@test "umount says when a mount is in use" {
	mount_main
	run_x daxfs-branch create spec1 -m spec1 image.daxfs
	exec 9<spec1/file
	run_x 1 daxfs umount spec1
	assert_output --partial "'spec1': in use"
	exec 9<&-
	run_x daxfs umount spec1
	run_x 1 daxfs umount spec1
	assert_output --partial "'spec1': no daxfs branch is mounted here"
	end
}

@test "delete refuses a mounted branch, unless forced" {
	mount_main
	run_x daxfs-branch create spec1 -m spec1 --persist image.daxfs
	run_x 1 daxfs-branch delete spec1 image.daxfs
	assert_output --partial "spec1"
	assert_equal "$(cat spec1/file)" hello
	run_x daxfs-branch delete spec1 --force image.daxfs
	run_x daxfs-branch list --json image.daxfs
	run_x jq -e '[.branches[].name] == ["main"]' <<<"$output"
	end
}

@test "a sealed branch is immutable and a parent for ever" {
	persistent
	echo layer >spec1/layer
	run_x daxfs-branch seal -m spec1
	run_x 1 touch spec1/no
	assert_output --partial "Read-only file system"
	run_x daxfs-branch create spec1a -m spec1a -p spec1 --persist image.daxfs
	run_x daxfs-branch create spec2 -m spec2 -p spec1 --persist image.daxfs
	echo a >>spec1a/layer
	echo b >>spec2/layer
	remount spec1
	run_x 1 touch spec1/no
	run_x daxfs mount image.daxfs spec1a -o branch=spec1a
	run_x daxfs mount image.daxfs spec2 -o branch=spec2
	assert_equal "$(cat spec1/layer)" layer
	assert_equal "$(cat spec1a/layer)" $'layer\na'
	assert_equal "$(cat spec2/layer)" $'layer\nb'
	# nothing but delete ends it, and that only without children
	run_x 1 daxfs-branch commit -m spec1a
	assert_output --partial "sealed branch 'spec1' would have to end"
	run_x 1 daxfs-branch abort -m spec1
	assert_output --partial "branch 'spec1' is the parent of 2 live branches"
	run_x daxfs-branch abort -m spec1a
	run_x daxfs-branch abort -m spec2
	run_x 1 daxfs-branch abort -m spec1
	assert_output --partial "branch 'spec1' is sealed"
	run_x daxfs-branch delete spec1 image.daxfs --force
	umount spec1a spec2
	end
}

@test "which region: by mountpoint, by being the only one, by name" {
	alone
	cp image.daxfs other.daxfs
	mount_main
	run_x daxfs-branch create x
	run_x daxfs mount other.daxfs again
	run_x 1 daxfs-branch list
	assert_output --partial "several daxfs regions are mounted"
	assert_line "  '$S/image.daxfs'"
	assert_line "  '$S/other.daxfs'"
	run_x daxfs-branch create y -r other.daxfs
	run_x daxfs-branch create z -m spec1 image.daxfs
	run_x daxfs-branch list image.daxfs --json
	run_x jq -e '[.branches[].name] == ["main", "x", "z"]' <<<"$output"
	run_x daxfs-branch list other.daxfs --json
	run_x jq -e '[.branches[].name] == ["main", "y"]' <<<"$output"
	run_x 1 daxfs-branch abort -m spec1 other.daxfs
	assert_output --partial "other.daxfs"
	run_x daxfs-branch abort -m spec1
	run_x 2 daxfs-branch commit
	run_x 2 daxfs-branch commit a b c
	end
}

@test "names with blanks and hashes, paths with commas too" {
	mkdir "my #dir"
	mv image.daxfs "my #dir/an image, #1.daxfs"
	mkdir "my #dir/mnt 1"
	run_x daxfs-branch create "try #1 again" -m "my #dir/mnt 1" \
		--persist "my #dir/an image, #1.daxfs"
	echo here >"my #dir/mnt 1/file"
	run_x daxfs-branch create "#2" -p main "my #dir/an image, #1.daxfs"
	run_x daxfs-branch list --json "my #dir/an image, #1.daxfs"
	run_x jq -e '[.branches[].name] == ["main", "try #1 again", "#2"]' \
		<<<"$output"
	run_x daxfs-branch seal -m "my #dir/mnt 1"
	assert_output "'try #1 again': sealed"
	umount "my #dir/mnt 1"
	no_servers
	run_x daxfs-inspect tree --branch "try #1 again" \
		"my #dir/an image, #1.daxfs"
	assert_line --regexp ' 5 .* /file$'
}

@test "tools that run at once do not disturb each other" {
	for i in {1..12}; do
		daxfs-branch create "b$i" image.daxfs >/dev/null 3>&- &
	done
	wait
	run_x daxfs-branch list --json image.daxfs
	run_x jq -e '.branches | length == 13' <<<"$output"
	run_x daxfs-inspect validate image.daxfs
}

@test "names with backslashes and commas, and such that are no UTF-8" {
	run_x daxfs-branch create 'a\b' -m spec1 --persist image.daxfs
	run_x daxfs-branch list --json image.daxfs
	run_x jq -r '.branches[1].name' <<<"$output"
	assert_output 'a\b'
	umount spec1
	no_servers
	run_x 1 daxfs-branch create 'a,ro' -m spec1 image.daxfs
	assert_output --partial "'a,ro': not a name"
	run_x 1 daxfs-branch create x -p 'main,ro' -m spec1 image.daxfs
	assert_output --partial "'main,ro'"
	run_x 1 daxfs-branch create 'a,ro' image.daxfs

	# a path may be anything, and an answer is still JSON
	mkdir $'mnt\xff'
	run_x daxfs mount image.daxfs $'mnt\xff' -o 'branch=a\b'
	run_x daxfs-branch list --json image.daxfs
	run_x jq -r '.branches[1].mountpoints[0]' <<<"$output"
	assert_output "$S/mnt"$'\xef\xbf\xbd'
	umount $'mnt\xff'
	no_servers
	ln -s image.daxfs $'l\xff'
	for cmd in info validate; do
		run_x daxfs-inspect "$cmd" --json $'l\xff'
		run_x jq -r .path <<<"$output"
		assert_output $'l\xef\xbf\xbd'
	done
}
