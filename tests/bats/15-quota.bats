#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Quotas of branches: the verb, and what users of a mount meet.

load helpers

setup() {
	need root fuse jq
	scratch
	mkdir tree mnt two
	head -c 1M /dev/zero | tr '\0' 'x' >tree/big
	mkdaxfs -d tree -o r -s 64M -w >/dev/null
}

branch_json() {
	daxfs-branch list --json r |
		jq -e --arg name "$1" '.branches[] | select(.name == $name)'
}

# Blocks of 1 KiB: all and free.
df_of() {
	stat -f -c '%b %f %S' "$1" | awk '{ print $1 * $3 / 1024, $2 * $3 / 1024 }'
}

end() {
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
}

@test "create with a quota, show it, change it, take it away" {
	run_x daxfs-branch create b --quota 2M --quota-inodes 100 r
	run_x daxfs-branch quota b r
	assert_output "'b': 0 B of 2.0 MiB, 0 inodes of 100"
	run_x daxfs-branch list r
	assert_line --regexp '^b +main +active +no +0 B +2\.0 MiB +0/100 '
	run_x jq -e '.quota_bytes == 2097152 and .quota_inodes == 100' \
		<<<"$(branch_json b)"
	# what is not given stays
	run_x daxfs-branch quota b --bytes 3M r
	assert_output "'b': 0 B of 3.0 MiB, 0 inodes of 100"
	run_x daxfs-branch quota b --inodes 7 r --json
	run_x jq -e '.quota_bytes == 3145728 and .quota_inodes == 7' <<<"$output"
	run_x daxfs-branch quota b --bytes none -r r
	assert_output "'b': 0 B of any, 0 inodes of 7"
	run_x daxfs-branch quota b --inodes none r
	assert_output "'b': 0 B of any, 0 inodes of any"
	# in whole segments
	run_x daxfs-branch quota b --bytes 1 r --json
	run_x jq -e '.quota_bytes == 65536' <<<"$output"
}

@test "what is no quota, or not a branch that has one" {
	run_x daxfs-branch create b r
	for bad in 0 -1 x 1.5 5000000000000000000; do
		run_x 2 daxfs-branch quota b --inodes="$bad" r
		assert_output --partial "'$bad': not a number of inodes"
	done
	for bad in 0 much 9999999T; do
		run_x 2 daxfs-branch quota b --bytes "$bad" r
		assert_output --partial "'$bad': not a size"
		run_x 2 daxfs-branch create c --quota "$bad" r
		assert_output --partial "'$bad': not a size"
	done
	run_x 1 daxfs-branch quota main --bytes 1M r
	assert_output --partial "main cannot be changed"
	run_x 1 daxfs-branch quota none --bytes 1M r
	assert_output --partial "'none': there is no such branch"
	run_x 2 daxfs-branch quota
	assert_output --partial "which branch?"
	run_x daxfs-branch list --json r
	run_x jq -e '[.branches[].name] == ["main", "b"]' <<<"$output"
}

@test "bytes: writing ends with EDQUOT, df shows it, deleting helps" {
	run_x daxfs-branch create b --quota 4M -m "$S/mnt" --persist r
	assert_equal "$(df_of mnt | cut -d' ' -f1)" 4096
	run_x 1 dd if=/dev/zero of=mnt/f bs=64k
	assert_output --partial "Disk quota exceeded"
	assert [ "$(stat -c %s mnt/f)" -gt 3500000 ]
	run_x cmp -n "$(stat -c %s mnt/f)" mnt/f /dev/zero
	run_x df --output=size,avail mnt
	assert_line --regexp '^ *4096 +0$'
	# the reason is the same where the page cache is passed by
	run_x rm mnt/f
	run_x 1 dd if=/dev/zero of=mnt/f bs=640k oflag=direct
	assert_output --partial "Disk quota exceeded"
	# others go on
	run_x daxfs-branch create c -m "$S/two" r
	run_x dd if=/dev/zero of=two/f bs=1M count=8 status=none
	umount two
	# what is there can be read, written over and removed
	run_x dd if=/dev/urandom of=mnt/f bs=64k count=4 conv=notrunc status=none
	run_x cat mnt/big
	run_x rm mnt/f
	run_x dd if=/dev/zero of=mnt/g bs=64k count=50 status=none
	run_x daxfs-branch quota -m mnt --bytes 8M
	run_x dd if=/dev/zero of=mnt/h bs=64k count=50 status=none
	umount mnt
	no_servers
	run_x daxfs mount r mnt -o branch=b
	assert_equal "$(df_of mnt | cut -d' ' -f1)" 8192
	run_x 1 dd if=/dev/zero of=mnt/i bs=64k
	assert_output --partial "Disk quota exceeded"
	end
}

@test "inodes: making ends with EDQUOT, df shows it, deleting helps" {
	run_x daxfs-branch create b --quota-inodes 10 r --persist
	run_x daxfs mount r mnt -o branch=b
	run_x touch mnt/{0..9}
	run_x 1 touch mnt/more
	assert_output --partial "Disk quota exceeded"
	run_x 1 mkdir mnt/more
	assert_output --partial "Disk quota exceeded"
	run_x 1 ln -s x mnt/more
	assert_output --partial "Disk quota exceeded"
	run_x ln mnt/1 mnt/link
	run_x df --output=itotal,iused,iavail mnt
	assert_line --regexp '^ *10 +10 +0$'
	echo text >mnt/big
	rm mnt/5
	run_x mkdir mnt/more
	run_x 1 touch mnt/5
	end
}

@test "a child owns what it writes, its parent's quota is its parent's" {
	run_x daxfs-branch create b --quota 1M -m "$S/mnt" --persist r
	run_x dd if=/dev/zero of=mnt/f bs=64k count=8 status=none
	run_x daxfs-branch create c -p b -m "$S/two" r
	run_x jq -e 'has("quota_bytes") | not' <<<"$(branch_json c)"
	run_x dd if=/dev/zero of=two/f bs=1M count=8 status=none
	run_x daxfs-branch quota c --bytes 9M r
	run_x 1 dd if=/dev/zero of=two/g bs=64k
	assert_output --partial "Disk quota exceeded"
	umount two
	for _ in {1..50}; do
		! branch_json c >/dev/null || sleep 0.1
	done
	run_x 1 dd if=/dev/zero of=mnt/g bs=64k
	assert_output --partial "Disk quota exceeded"
	end
}

@test "pages written through a mapping meet the quota at msync" {
	run_x daxfs-branch create b --quota 1M -m "$S/mnt" --persist r
	truncate -s 4M mnt/map
	run_x 1 mapfill mnt/map
	assert_output --partial "Disk quota exceeded"
	rm mnt/map
	run_x dd if=/dev/zero of=mnt/g bs=64k count=10 status=none
	end
}
