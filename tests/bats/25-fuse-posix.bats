#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What programs see of files on a mounted branch, to the last detail, beside
# what they see on tmpfs: the same.

load helpers

setup() {
	need root fuse setfacl setfattr
	scratch
	chmod 755 "$S"
	mkdir mnt ref
	mkdaxfs -o r -s 1G -w >/dev/null
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	mount -t tmpfs -o mode=755 none ref
}

remount() {
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
	run_x daxfs-fuse r mnt -o branch=b"${1:+,$1}"
}

finish() {
	umount ref mnt
	no_servers
	run_x daxfs-inspect validate r
}

# The same output of fsprobe on both, for each of the probes.
probe() {
	local p

	for p in "$@"; do
		mkdir "ref/$p" "mnt/$p"
		run_x fsprobe "$p" "ref/$p"
		echo "$output" >want
		run_x fsprobe "$p" "mnt/$p"
		echo "$output" >have
		diff want have || fail "$p differs from tmpfs"
	done
}

# Skip where the kernel's FUSE is older than this version of Linux.
need_linux() {
	if ! printf '%s\n' "$1" "$(uname -r)" | sort -CV; then
		finish
		skip "needs Linux $1"
	fi
}

@test "appends of four processes, line by line" {
	probe append
	mkdir mnt/again
	run_x fsprobe append mnt/again
	assert_output "failed 0, torn 0, lines 1000 1000 1000 1000"
	finish
}

@test "mappings, reads and writes are one; SIGBUS behind the end" {
	probe mmap
	assert_line "behind the cut: SIGBUS"
	finish
}

@test "fallocate: allocate, keep the size, punch" {
	probe fallocate
	finish
}

@test "fallocate: zero a range" {
	mkdir mnt/d
	run_x fsprobe zero-range mnt/d
	assert_output - <<-EOT
	zero: 0
	is: a*8197 .*8192 a*16379
	mapped: 0
	zero beyond: 0
	is: a*8197 .*8192 a*12284 .*8192
	zero keep: 0
	is: .*36865
	EOT
	finish
}

@test "what fallocate set aside can be written when all else is taken" {
	fallocate -l 100M mnt/f
	run_x 1 dd if=/dev/zero of=mnt/rest bs=1M status=none
	assert_output --partial "No space left on device"
	run_x dd if=/dev/urandom of=mnt/f bs=1M count=100 conv=notrunc status=none
	sync mnt/f
	run_x 1 fallocate -l 2G mnt/g
	assert_output --partial "No space left on device"
	finish
}

@test "copy_file_range, within a file and between two" {
	probe copy
	finish
}

@test "SEEK_DATA and SEEK_HOLE; a sparse file of 16 TiB" {
	probe seek sparse
	finish
}

@test "O_TMPFILE" {
	need_linux 6.2
	probe tmpfile
	assert_line "link: 0"
	finish
}

@test "files and directories that are open but have no name" {
	probe unlinked
	finish
}

@test "flock, fcntl locks, leases" {
	probe locks
	finish
}

@test "directories: positions stay valid, many entries" {
	mkdir mnt/d
	run_x fsprobe positions mnt/d
	assert_output "entries 2002, more: 0
not found again: 0, entries now 2002"
	# shellcheck disable=SC2034 # for run_x
	[[ -z ${LONG:-} ]] || RUN_TIMEOUT=1200
	probe many
	finish
}

@test "error numbers" {
	probe errors
	finish
}

@test "times: what changes which" {
	probe times
	finish
}

@test "the time of birth" {
	need_linux 6.6
	mkdir mnt/d
	run_x fsprobe birth mnt/d
	assert_output "has it: 1, stays: 1, before mtime: 1, size 10"
	finish
}

@test "atime: reads, listings and readlink, as with relatime" {
	local d

	for d in ref mnt; do
		(
			mkdir $d/t $d/t/d
			cd $d/t
			echo hello >f
			echo hello >g
			ln -s target s
			touch d/e
		)
	done
	# What is cached is not read.
	remount
	run_x fsprobe atime ref/t
	echo "$output" >want
	assert_line "read(fd, buf, 5): atime"
	run_x fsprobe atime mnt/t
	diff want - <<<"$output"
	remount
	run_x fsprobe atime mnt/t
	refute_output --partial ": atime"
	finish
}

@test "noatime" {
	mkdir mnt/t mnt/t/d
	echo hello >mnt/t/f
	cp mnt/t/f mnt/t/g
	ln -s target mnt/t/s
	remount noatime
	run_x grep -c " $S/mnt rw,noatime" /proc/self/mountinfo
	run_x fsprobe atime mnt/t
	refute_output --partial ": atime"
	finish
}

# In the protocol, fallocate and chown(-1, -1) look alike by who may not change
# the owner; and root's chown(-1, -1) of a file with capabilities like a write.
comparable() {
	grep -vE '^chown-nothing +(member|member-too|other) |^chown-nothing +root .* cap ->'
}

@test "setuid, setgid and capabilities: who loses what by which call" {
	mkdir -m 777 ref/d mnt/d
	run_x fspriv ref/d
	comparable <<<"$output" >want
	assert [ "$(wc -l <want)" -gt 1500 ]
	run_x fspriv mnt/d
	comparable <<<"$output" | diff want -
	# Nobody takes setuid off another's file with it.
	assert_output --regexp 'chown-nothing +other +4777 -> 4777'
	finish
}

# Who may what, through ACLs; run in the current folder.
acls() {
	local nobody=(setpriv --reuid 2000 --regid 2000 --clear-groups)
	local member=(setpriv --reuid 2001 --regid 2001 --groups 3000)
	local owner=(setpriv --reuid 1000 --regid 1000 --clear-groups)
	show() {
		getfacl -cn "$@" 2>&1
		stat -c '%a %F' "$@"
	}

	umask 022
	echo secret >f
	chown 1000:1000 f
	chmod 640 f
	"${nobody[@]}" cat f
	setfacl -m u:2000:r f
	"${nobody[@]}" cat f
	"${nobody[@]}" sh -c 'echo x >>f'
	setfacl -m u:2000:rw f
	"${nobody[@]}" sh -c 'echo x >>f'
	show f
	echo "# the mode is the mask"
	chmod 600 f
	show f
	"${nobody[@]}" cat f
	chmod 660 f
	show f
	"${nobody[@]}" cat f
	setfacl -m g:3000:r f
	"${member[@]}" cat f
	setfacl -x u:2000 f
	show f
	"${nobody[@]}" cat f
	setfacl -b f
	show f
	echo "# one that says no more than the mode is none"
	setfacl -m u::rwx,g::rx,o::x f
	show f
	getfattr -m- f

	echo "# default ACLs"
	mkdir d
	setfacl -d -m u:2000:rwx,g:3000:rx,o::- d
	show d
	umask 077
	touch d/a
	mkdir d/sub
	mkfifo d/p
	mknod d/n c 1 3
	ln -s a d/l
	install -m 640 /dev/null d/i
	umask 022
	show d/a d/sub d/p d/n d/i
	stat -c %a d/l
	setfacl -k d
	umask 027
	touch d/b
	mkdir d/s2
	show d d/b d/s2

	echo "# errors"
	setfacl -d -m u:2000:r f
	getfacl -n d/l
	"${nobody[@]}" setfacl -m u:2000:rw d/b
	setfattr -n system.posix_acl_access -v 0x0200 f
	setfattr -n system.posix_acl_access -v 0x01000000 f
	setfattr -n system.posix_acl_foo -v 1 f
	setfattr -n system.posix_acl_access -v \
		0x0200000001000600ffffffff04000400ffffffff20000400ffffffff f
	show f
	setfacl -m u:2000:r f
	getfattr -m- f
	setfattr -x system.posix_acl_access f
	show f
	getfattr -n system.posix_acl_access f

	echo "# setgid"
	chmod 2775 f
	chown 1000:100 f
	chmod 2775 f
	"${owner[@]}" setfacl -m u:5:r f
	show f
	chown 1000:1000 f
	chmod 2775 f
	"${owner[@]}" setfacl -m u:6:r f
	show f

	echo "# copies, links, names"
	cp -a f g
	ln f h
	setfacl -m u:7:rwx h
	mv f f2
	show g f2
	mkdir e
	setfacl -d -m u:8:rwx e
	cp -a e e2
	show e2
	tar --acls -cf t e f2
	mkdir out
	tar -C out --acls -xpf t
	show out/e out/f2
}

@test "access control lists: enforced, inherited, part of the mode" {
	mkdir ref/t mnt/t
	bash -c "$(declare -f acls); cd ref/t && acls" >want 2>&1
	bash -c "$(declare -f acls); cd mnt/t && acls" >have 2>&1
	run_x grep -c 'user:2000:rw' want
	diff want have
	all() { (cd "$1" && find . ! -type l | sort | xargs getfacl -n); }
	all ref/t >want
	remount
	diff want <(all mnt/t)
	finish
}

@test "access control lists of an image, and on a branch of a branch" {
	mkdir mnt/d
	setfacl -m u:2000:rwx,d:u:2001:rx mnt/d
	run_x daxfs-fuse r ref -o branch=c,parent=b
	touch ref/d/f
	assert_equal "$(getfacl -cn ref/d/f | sed -n 2p)" "user:2001:r-x	#effective:r--"
	assert_equal "$(getfacl -cn ref/d | sed -n 2p)" user:2000:rwx
	setfacl -b ref/d
	assert_equal "$(getfacl -cn mnt/d | sed -n 2p)" user:2000:rwx
	umount ref
	finish
}

@test "statfs follows what is written and freed" {
	local before

	sync -f mnt
	before=$(stat -f -c %f mnt)
	head -c 20M /dev/urandom >mnt/f
	assert [ $((before - $(stat -f -c %f mnt))) -ge 5120 ]
	assert [ $((before - $(stat -f -c %f mnt))) -le 5900 ]
	rm mnt/f
	for _ in {1..50}; do
		[[ $((before - $(stat -f -c %f mnt))) -gt 600 ]] || break
		sleep 0.1
	done
	assert [ $((before - $(stat -f -c %f mnt))) -le 600 ]
	assert_equal "$(stat -f -c %S mnt)" 4096
	assert_equal "$(stat -f -c %l mnt)" 255
	finish
}
