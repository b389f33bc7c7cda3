#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# In the guest: regions in persistent memory, on ext4 with DAX.
# shellcheck disable=SC2154

load ../bats/helpers

setup() {
	need root fuse
	scratch
}

teardown() {
	rm -f /dax/r
	scratch_end
}

# The flags of a process's mapping of a file.
vm_flags() { # PID FILE
	awk -v file="$2" '$6 == file { found = 1 } found && /^VmFlags/ { print; exit }' \
		"/proc/$1/smaps"
}

@test "a region on a file system with DAX is mapped so that flushing is enough" {
	assert_equal "$(stat -f -c %T /dax)" ext2/ext3
	mkdir tree mnt
	echo base >tree/file
	run_x mkdaxfs -d tree -o /dax/r -s 64M -w
	run_x daxfs-branch create b -m mnt --persist /dax/r
	pid=$(pidof daxfs-fuse)
	run vm_flags "$pid" /dax/r
	# a fault is answered once the file system's part is durable
	assert_output --regexp ' sf( |$)'
	echo durable >mnt/new
	echo more >>mnt/file
	run_x sync mnt/new mnt/file
	kill_server
	umount -l mnt
	run_x daxfs mount /dax/r mnt -o branch=b
	assert_equal "$(cat mnt/new mnt/file)" "$(printf 'durable\nbase\nmore')"
	run_x daxfs umount mnt
	no_servers
	run_x daxfs-inspect validate /dax/r
}
