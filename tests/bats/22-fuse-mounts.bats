#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Mounts: which process serves them, what unmounting means, who gets ESTALE.

load helpers

setup() {
	need root fuse
	scratch
	mkdir tree m1 m2 m3
	echo base >tree/file
	mkdir -p tree/dir/sub
	echo deep >tree/dir/sub/deep
	mkdaxfs -d tree -o r -s 128M -w >/dev/null
}

branches() {
	daxfs-branch list -r r --json | jq -r '[.branches[].name] | join(" ")'
}

# A server and its mounts end; the region can be opened again.
all_gone() {
	no_servers
	run_x daxfs-inspect validate r
}

@test "main is mounted read-only by default" {
	run_x daxfs-fuse r m1
	assert_equal "$(cat m1/file)" base
	run_x 1 touch m1/new
	assert_output --partial "Read-only file system"
	run_x findmnt -no FSTYPE,SOURCE,OPTIONS "$S/m1"
	assert_output --regexp "^fuse.daxfs +$S/r#main +ro,"
	umount m1
	all_gone
}

@test "one process, one file system a branch, each with its own st_dev" {
	run_x daxfs-fuse r m1 -o branch=a,parent=main
	run_x daxfs-fuse r m2 -o branch=b,parent=main
	run_x daxfs-fuse r m3 -o branch=a
	assert_equal "$(servers | wc -l)" 1
	assert_equal "$(stat -c %d m1)" "$(stat -c %d m3)"
	assert [ "$(stat -c %d m1)" != "$(stat -c %d m2)" ]
	assert_equal "$(stat -c %i m1/file)" "$(stat -c %i m2/file)"
	echo a >m1/file
	echo b >m2/file
	assert_equal "$(cat m1/file m2/file m3/file)" $'a\nb\na'
	umount m1 m2 m3
	all_gone
	assert_equal "$(branches)" main
}

@test "unmounting drops a speculative branch with its last mount only" {
	run_x daxfs-fuse r m1 -o branch=s,parent=main
	run_x daxfs-fuse r m2 -o branch=s
	mount --bind m2 m3
	umount m1 m2
	assert_equal "$(cat m3/file)" base
	assert_equal "$(branches)" "main s"
	run_x 1 daxfs-branch delete s -r r
	assert_output --partial "'s' is mounted"
	umount m3
	all_gone
	assert_equal "$(branches)" main
}

@test "what is open keeps a detached mount, and a new mount finds it" {
	run_x daxfs-fuse r m1 -o branch=s,parent=main
	echo 1 >m1/f
	exec 5<m1/f
	umount -l m1
	assert_equal "$(branches)" "main s"
	run_x daxfs-fuse r m2 -o branch=s
	echo 2 >>m2/f
	assert_equal "$(cat <&5)" $'1\n2'
	exec 5<&-
	umount m2
	all_gone
	assert_equal "$(branches)" main
}

@test "a persistent branch stays, and one with children does too" {
	run_x daxfs-fuse r m1 -o branch=p,parent=main,persist
	echo kept >m1/f
	umount m1
	all_gone
	assert_equal "$(branches)" "main p"
	run_x daxfs-fuse r m1 -o branch=s,parent=p
	run_x daxfs-fuse r m2 -o branch=t,parent=s,persist
	umount m1
	assert_equal "$(branches)" "main p s t"
	assert_equal "$(cat m2/f)" kept
	umount m2
	all_gone
	assert_equal "$(branches)" "main p s t"
}

@test "an unmounted branch that was kept for its children goes with the last" {
	run_x daxfs-fuse r m1 -o branch=a,parent=main
	run_x daxfs-fuse r m2 -o branch=b,parent=a
	run_x daxfs-fuse r m3 -o branch=c,parent=b
	# from the middle, so that two wait for one
	run_x daxfs umount m2
	run_x daxfs umount m1
	assert_equal "$(branches)" "main a b c"
	run_x daxfs umount m3
	all_gone
	assert_equal "$(branches)" main

	# mounted again it is somebody's again
	run_x daxfs-fuse r m1 -o branch=a,parent=main
	run_x daxfs-fuse r m2 -o branch=b,parent=a
	run_x daxfs umount m1
	run_x daxfs-fuse r m1 -o branch=a
	run_x daxfs umount m2
	assert_equal "$(branches)" "main a"
	touch m1/thawed
	run_x daxfs umount m1
	all_gone
	assert_equal "$(branches)" main

	# the server may have ended in between
	run_x daxfs-fuse r m1 -o branch=a,parent=main
	run_x daxfs-fuse r m2 -o branch=b,parent=a,persist
	run_x daxfs umount m1
	run_x daxfs umount m2
	all_gone
	assert_equal "$(branches)" "main a b"
	run_x daxfs-branch delete b -r r
	assert_equal "$(branches)" main

	# whoever asks to keep it keeps it
	run_x daxfs-fuse r m1 -o branch=a,parent=main
	run_x daxfs-fuse r m2 -o branch=b,parent=a
	run_x daxfs umount --keep m1
	run_x daxfs umount m2
	all_gone
	assert_equal "$(branches)" "main a"
}

@test "a mounted parent is frozen until its child ends" {
	run_x daxfs-fuse r m1 -o branch=a,parent=main,persist
	echo 1 >m1/f
	run_x daxfs-fuse r m2 -o branch=b,parent=a
	run_x 2 sh -c 'echo 2 >m1/f'
	assert_output --partial "Read-only file system"
	assert_equal "$(cat m1/f m2/f)" $'1\n1'
	umount m2
	for _ in {1..50}; do
		[[ $(branches) != "main a" ]] || break
		sleep 0.1
	done
	echo 2 >m1/f
	assert_equal "$(cat m1/f)" 2
	umount m1
	all_gone
}

@test "read-only mounts of a writable branch, beside writable ones" {
	run_x daxfs-fuse r m1 -o branch=a,parent=main,ro
	run_x daxfs-fuse r m2 -o branch=a
	run_x 1 touch m1/f
	assert_output --partial "Read-only file system"
	echo x >m2/f
	assert_equal "$(cat m1/f)" x
	umount m1 m2
	all_gone
}

@test "a sealed branch is mounted read-only; sealing while mounted freezes" {
	run_x daxfs-fuse r m1 -o branch=a,parent=main,persist
	echo x >m1/f
	run_x daxfs-branch seal a -r r
	run_x 2 sh -c 'echo y >m1/f'
	assert_output --partial "Read-only file system"
	assert_equal "$(cat m1/f)" x
	umount m1
	no_servers
	run_x daxfs-fuse r m1 -o branch=a
	run_x findmnt -no OPTIONS "$S/m1"
	assert_output --regexp '^ro,'
	umount m1
	all_gone
}

@test "commit: the others get ESTALE at once, main shows what is new" {
	run_x daxfs-fuse r m1
	run_x daxfs-fuse r m2 -o branch=win,parent=main
	run_x daxfs-fuse r m3 -o branch=lose,parent=main
	# Have the kernel know all names and data of main, and of the loser.
	for m in m1 m3; do
		find $m -type f -exec cat {} + >/dev/null
		assert_not_exist $m/new
	done
	echo changed >m2/dir/sub/deep
	echo new >m2/new
	mv m2/file m2/dir/moved
	exec 5<m3/file
	cd m3/dir
	run_x daxfs-branch commit win -r "$S/r"
	run_x 1 cat deep
	assert_output --partial "Stale file handle"
	run_x 2 ls .
	assert_output --partial "Stale file handle"
	cd "$S"
	run_x 1 cat /dev/fd/5
	assert_output --partial "Stale file handle"
	exec 5<&-
	for m in m2 m3; do
		run_x 1 cat $m/file
		assert_output --partial "Stale file handle"
		run_x 1 touch $m/x
		assert_output --partial "Stale file handle"
	done
	assert_equal "$(cat m1/new m1/dir/sub/deep m1/dir/moved)" \
		$'new\nchanged\nbase'
	assert_not_exist m1/file
	assert_equal "$(cd m1 && find . | sort | paste -sd' ')" \
		". ./dir ./dir/moved ./dir/sub ./dir/sub/deep ./new"
	umount m1 m2 m3
	all_gone
	assert_equal "$(branches)" main
}

@test "mappings: written to, they are part of a child; ended, they are SIGBUS" {
	local pid line rc=0

	run_x daxfs-fuse r m1 -o branch=a,parent=main
	truncate -s 20000 m1/map
	coproc MAP { exec mapwrite m1/map 8192 mapped-text 3>&- 2>/dev/null; }
	pid=$MAP_PID
	read -r -t 10 line <&"${MAP[0]}"
	assert_equal "$line" mapped
	run_x daxfs-fuse r m2 -o branch=b,parent=a
	assert_equal "$(dd if=m2/map bs=1 skip=8192 count=11 status=none)" mapped-text
	umount m2
	run_x daxfs-branch delete a -r r --force
	echo read >&"${MAP[1]}"
	wait "$pid" || rc=$?
	assert_equal $rc $((128 + $(kill -l BUS)))
	all_gone
	assert_equal "$(branches)" main
}

@test "SIGTERM: all is unmounted and written, no branch is dropped" {
	run_x daxfs-fuse r m1 -o branch=a,parent=main
	run_x daxfs-fuse r m2 -o branch=b,parent=main,persist
	mount --bind m2 m3
	echo a >m1/f
	echo b >m2/f
	kill -TERM "$(servers)"
	no_servers
	run_x findmnt "$S/m3"
	umount m3
	assert_equal "$(scratch_mounts)" ""
	assert_equal "$(branches)" "main a b"
	run_x daxfs-fuse r m1 -o branch=a
	run_x daxfs-fuse r m2 -o branch=b
	assert_equal "$(cat m1/f m2/f)" $'a\nb'
	umount m1 m2
	all_gone
	assert_equal "$(branches)" "main b"
}

@test "-f stays until its mount is gone, whoever serves it" {
	daxfs-fuse -f r m1 -o branch=a,parent=main 2>log1 3>&- &
	first=$!
	for _ in {1..100}; do
		! findmnt "$S/m1" >/dev/null || break
		sleep 0.05
	done
	daxfs-fuse -f r m2 -o branch=b,parent=main 2>log2 3>&- &
	second=$!
	for _ in {1..100}; do
		! findmnt "$S/m2" >/dev/null || break
		sleep 0.05
	done
	umount m2
	wait $second
	kill -0 $first
	umount m1
	wait $first
	run_x cat log1
	assert_output --partial 'level=info program=daxfs-fuse msg=mounted branch=a'
	all_gone
}

@test "--control-only serves branches and mounts until SIGTERM" {
	daxfs-fuse --control-only -f r 2>log --log-format json 3>&- &
	server=$!
	for _ in {1..100}; do
		! compgen -G "state/fuse/*.sock" >/dev/null || break
		sleep 0.05
	done
	run_x 1 daxfs-fuse --control-only r
	assert_output --partial "is served by another daxfs-fuse"
	run_x daxfs-fuse r m1 -o branch=a,parent=main
	umount m1
	run_x daxfs-branch create b -r r -m m2
	echo x >m2/f
	umount m2
	kill -0 $server
	for _ in {1..50}; do
		[[ $(branches) != main ]] || break
		sleep 0.1
	done
	assert_equal "$(branches)" main
	kill -TERM $server
	wait $server
	run_x jq -es 'map(.msg) | index("mounted") != null' log
	all_gone
	assert [ -z "$(compgen -G 'state/fuse/*.sock')" ]
}

@test "many mounts come and go at once, nothing is left of them" {
	local w

	daxfs-fuse --control-only -f r 2>log 3>&- &
	server=$!
	for _ in {1..100}; do
		! compgen -G "state/fuse/*.sock" >/dev/null || break
		sleep 0.05
	done
	run_x daxfs-branch create first -r r -m "$S/m1"
	umount m1
	for _ in {1..50}; do
		[[ $(branches) != main ]] || break
		sleep 0.1
	done
	fds=$(find /proc/$server/fd | wc -l)
	for w in 1 2 3 4; do
		(
			set -e
			mkdir w$w
			for i in {1..25}; do
				daxfs-branch create "b$w-$i" -r r -m "$S/w$w"
				echo "$w-$i" >w$w/f
				[[ $(cat w$w/f) == "$w-$i" ]]
				case $((i % 3)) in
				0) daxfs-branch delete "b$w-$i" -r r --force ;;
				*) umount w$w ;;
				esac
			done
			echo ok >ok$w
		) >/dev/null 3>&- &
		eval "worker$w=\$!"
	done
	# shellcheck disable=SC2154 # set by eval
	wait "$worker1" "$worker2" "$worker3" "$worker4"
	assert_equal "$(cat ok?)" $'ok\nok\nok\nok'
	for _ in {1..50}; do
		[[ $(branches) != main ]] || break
		sleep 0.1
	done
	assert_equal "$(branches)" main
	for _ in {1..50}; do
		[[ $(find /proc/$server/fd | wc -l) -gt $fds ]] || break
		sleep 0.1
	done
	assert_equal "$(find /proc/$server/fd | wc -l)" "$fds"
	kill -TERM $server
	wait $server
	all_gone
}

@test "a mount that is asked for while the server ends is made all the same" {
	local i

	for i in {1..40}; do
		run_x daxfs-fuse r m1 -o branch="a$i",parent=main
		umount m1 &
		run_x daxfs-fuse r m2 -o branch="b$i",parent=main
		wait
		echo "$i" >m2/f
		umount m2
	done
	all_gone
	assert_equal "$(branches)" main
}

@test "right after an unmount the region can be validated and made anew" {
	local i

	for i in {1..5}; do
		run_x daxfs-branch create b -m m1 -r r
		cp -a tree/. m1/
		umount m1
		run_x daxfs-inspect validate r
		run_x daxfs-fuse r m1
		run_x 1 daxfs-inspect validate r
		assert_output --partial "in use; unmount its branches"
		umount m1
		run_x mkdaxfs -d tree -o r -s 128M -w --force
	done
	all_gone
}

@test "what cannot be mounted: the reason, status 1, nothing left" {
	run_x 1 daxfs-fuse r m1 -o branch=none
	assert_output "daxfs-fuse: branch 'none': there is no such branch"
	run_x 1 daxfs-fuse r m1 -o branch=x,parent=none
	assert_output --partial "there is no branch 'none' to be its parent"
	run_x 1 daxfs-fuse r nowhere -o branch=x,parent=main
	assert_output --partial "'nowhere': No such file or directory"
	run_x 1 daxfs-fuse r tree/file -o branch=x,parent=main
	assert_output --partial "tree/file': not a directory"
	run_x 1 daxfs-fuse no-region m1
	assert_output --partial "'no-region': No such file or directory"
	head -c 8192 /dev/urandom >junk
	run_x 1 daxfs-fuse junk m1
	assert_output --partial "junk"
	run_x 2 daxfs-fuse r m1 -o brnch=x
	assert_output --partial "unknown mount option 'brnch=x'"
	run_x 2 daxfs-fuse r
	assert_output --partial "a region and a mountpoint are needed"
	all_gone
	assert_equal "$(branches)" main
	assert_equal "$(scratch_mounts)" ""

	run_x daxfs-fuse r m1 -o branch=x,parent=main
	run_x 1 daxfs-fuse r m2 -o branch=x,parent=main
	assert_output --partial "branch 'x': exists already"
	run_x 1 daxfs-fuse r m2/none -o branch=y,parent=main
	assert_equal "$(branches)" "main x"
	umount m1
	all_gone
}

@test "a read-only region file can be mounted, not written" {
	run_x daxfs-branch create b -r r --persist
	chmod 400 r
	mkdir ro
	mount --bind "$S" ro
	mount -o remount,bind,ro ro
	run_x daxfs-fuse ro/r m1 -o branch=b
	assert_equal "$(cat m1/file)" base
	run_x 1 touch m1/f
	assert_output --partial "Read-only file system"
	umount m1
	no_servers
	umount ro
}

@test "a static image is mounted by its path alone" {
	run_x mkdaxfs -d tree -o image
	run_x daxfs-fuse image m1
	run_x diff -r tree m1
	run_x 1 daxfs-fuse image m2 -o branch=x,parent=main
	assert_output --partial "'x'"
	umount m1
	no_servers
}

# libfuse can have 1024 sessions in a process; mounts need not end there.
@test "hundreds of mounts at once" {
	local i n=100

	[[ -z ${LONG:-} ]] || n=1200
	run_x mkdaxfs -o many -s 256M -w --branches 2048
	for ((i = 1; i <= n; i++)); do
		mkdir "x$i"
		daxfs-fuse many "x$i" -o branch=b$i,parent=main
	done
	echo last >x$n/f
	assert_equal "$(cat x$n/f)" last
	assert_equal "$(scratch_mounts | wc -l)" $n
	for ((i = 1; i <= n; i++)); do
		umount "x$i"
	done
	no_servers
}
