#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Files on a mounted branch behave as on any file system of Linux.

load helpers

setup() {
	need root fuse
	scratch
	mkdir mnt
	mkdaxfs -o r -s 512M -w >/dev/null
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
}

# End the mount and its server; what follows is read from the region anew.
remount() {
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
	run_x daxfs-fuse r mnt -o branch=b
}

finish() {
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
}

# Names, types, modes, owners, links, times, targets and file sizes of a tree.
listing() {
	(cd "$1" && find . -printf '%p %y %m %U %G %n %T@ %l %s\n' |
		sed -E 's/^(.+ d [^/]*) [0-9]+$/\1/' | sort)
}

@test "random operations have the outcome they have on tmpfs" {
	local steps=15000 seed

	[[ -z ${LONG:-} ]] || steps=200000
	mkdir ref
	mount -t tmpfs -o mode=755 none ref
	for seed in 1 2 3; do
		run_x fstwin ref mnt $seed $steps
		assert_output --partial "alike"
		remount
		echo 2 >/proc/sys/vm/drop_caches
	done
	run_x fstwin ref mnt 4 0
	umount ref
	finish
}

@test "a tree of real files: data and metadata, also after a remount" {
	cp -a /usr/include/linux /etc .
	ln etc/passwd etc/hard
	cp -a linux etc mnt/
	for d in linux etc; do
		run_x diff -r --no-dereference $d mnt/$d
		diff <(listing $d) <(listing mnt/$d)
	done
	remount
	for d in linux etc; do
		run_x diff -r --no-dereference $d mnt/$d
		diff <(listing $d) <(listing mnt/$d)
	done
	run_x rm -r mnt/linux mnt/etc
	run_x ls -A mnt
	assert_output ""
	finish
}

@test "appends of several processes are whole and in order" {
	local i j

	for i in 1 2 3 4; do
		(for j in {1..250}; do
			echo "process $i line $j" >>mnt/log
		done) 3>&- &
	done
	wait
	assert_equal "$(wc -l <mnt/log)" 1000
	for i in 1 2 3 4; do
		diff <(grep "process $i " mnt/log) \
			<(for j in {1..250}; do echo "process $i line $j"; done)
	done
	finish
}

@test "append starts at the end, whatever the offset was" {
	printf one >mnt/f
	exec 5<>mnt/f
	printf two >>mnt/f
	printf ONE >&5
	exec 5>&-
	assert_equal "$(cat mnt/f)" ONEtwo
	truncate -s 1 mnt/f
	printf x >>mnt/f
	assert_equal "$(cat mnt/f)" Ox
	printf y >mnt/f
	assert_equal "$(cat mnt/f)" y
	finish
}

@test "truncate: what was cut off comes back as zeros" {
	seq 5000 >mnt/f
	truncate -s 10 mnt/f
	truncate -s 9000 mnt/f
	assert_equal "$(stat -c %s mnt/f)" 9000
	cmp mnt/f <(seq 5000 | head -c 10; head -c 8990 /dev/zero)
	remount
	cmp mnt/f <(seq 5000 | head -c 10; head -c 8990 /dev/zero)
	finish
}

@test "sparse files: holes are zeros, cost nothing and are found" {
	truncate -s 10G mnt/f
	printf data | dd of=mnt/f bs=1 seek=$((5 << 30)) conv=notrunc status=none
	assert_equal "$(stat -c %s mnt/f)" $((10 << 30))
	assert [ "$(stat -c %b mnt/f)" -le 16 ]
	# cp reads the data only, or it would not be done in time.
	run_x timeout 10 cp --sparse=auto mnt/f mnt/g
	assert_equal "$(stat -c %s mnt/g)" $((10 << 30))
	assert [ "$(stat -c %b mnt/g)" -le 16 ]
	assert_equal "$(dd if=mnt/g bs=1 skip=$((5 << 30)) count=4 status=none)" data
	assert_equal "$(head -c 4096 mnt/g | tr -d '\0' | wc -c)" 0
	finish
}

@test "hard links: one file, counted at once on every name" {
	echo 1 >mnt/a
	mkdir mnt/d
	ln mnt/a mnt/d/b
	ln mnt/d/b mnt/c
	assert_equal "$(stat -c '%h %i' mnt/a)" "$(stat -c '%h %i' mnt/c)"
	assert_equal "$(stat -c %h mnt/d/b)" 3
	echo 2 >>mnt/d/b
	assert_equal "$(cat mnt/a)" $'1\n2'
	rm mnt/a
	assert_equal "$(stat -c %h mnt/d/b)" 2
	remount
	assert_equal "$(stat -c %h mnt/c)" 2
	assert_equal "$(cat mnt/c)" $'1\n2'
	run_x 1 ln mnt/d mnt/e
	finish
}

@test "an unlinked file lives while it is open, then its space is free" {
	local free

	sync -f mnt
	free=$(stat -f -c %f mnt)
	head -c 30M /dev/urandom >mnt/f
	cp mnt/f copy
	exec 5<>mnt/f
	rm mnt/f
	assert_not_exist mnt/f
	echo more >>copy
	tail -c 5 copy | dd of=/dev/fd/5 bs=5 seek=30M oflag=seek_bytes \
		conv=notrunc status=none
	cmp /dev/fd/5 copy
	assert [ "$(stat -f -c %f mnt)" -lt $((free - 7000)) ]
	exec 5>&-
	for _ in {1..50}; do
		[[ $(stat -f -c %f mnt) -lt $((free - 1000)) ]] || break
		sleep 0.1
	done
	assert [ "$(stat -f -c %f mnt)" -ge $((free - 1000)) ]
	finish
}

@test "rename: over files and empty directories, no-replace, exchange" {
	echo a >mnt/a
	echo b >mnt/b
	exec 5<mnt/b
	mv mnt/a mnt/b
	assert_equal "$(cat mnt/b)" a
	assert_equal "$(cat <&5)" b
	exec 5<&-
	mkdir -p mnt/d/e/f mnt/x mnt/full/y
	mv -T mnt/x mnt/d/e/f
	run_x 1 mv -T mnt/d mnt/full
	run_x 1 mv mnt/d mnt/d/e/g
	mv mnt/full mnt/d/e/f/
	assert_equal "$(cd mnt/d/e/f/full && pwd -P)" "$PWD/mnt/d/e/f/full"
	echo c >mnt/c
	mv -n mnt/b mnt/c
	assert_equal "$(cat mnt/b mnt/c)" $'a\nc'
	remount
	assert_equal "$(cat mnt/b mnt/c)" $'a\nc'
	assert_exist mnt/d/e/f/full/y
	finish
}

@test "overlayfs takes a branch as its upper layer and as its lower one" {
	mkdir -p mnt/low mnt/up mnt/work o
	echo low >mnt/low/f
	echo gone >mnt/low/g
	mount -t overlay overlay -o lowerdir=mnt/low,upperdir=mnt/up,workdir=mnt/work o
	echo more >>o/f
	mv o/f o/moved
	rm o/g
	assert_equal "$(ls o)" moved
	assert_equal "$(cat o/moved)" $'low\nmore'
	umount o
	assert_equal "$(stat -c '%t:%T %F' mnt/up/f)" '0:0 character special file'
	remount
	mount -t overlay overlay -o lowerdir=mnt/up:mnt/low o
	assert_equal "$(ls o)" moved
	umount o
	assert_equal "$(cat mnt/low/f mnt/low/g)" $'low\ngone'
	finish
}

@test "names: long ones, odd ones, and what is no name" {
	local long odd=$'tab\tnew\nline \xff\xfe \\ "#'

	long=$(printf 'n%.0s' {1..255})
	echo 1 >"mnt/$long"
	echo 2 >"mnt/$odd"
	run_x 1 touch "mnt/${long}n"
	assert_output --partial "File name too long"
	remount
	assert_equal "$(cat "mnt/$long")" 1
	assert_equal "$(cat "mnt/$odd")" 2
	diff <(find mnt -type f -printf '%f\0' | sort -z) \
		<(printf '%s\0' "$long" "$odd" | sort -z)
	ln -s "$(printf 't%.0s' {1..4000})" mnt/s
	assert_equal "$(readlink mnt/s | wc -c)" 4001
	finish
}

@test "rm -r of 5000 names; a listing under deletion shows each once" {
	mkdir mnt/d
	(cd mnt/d && seq -f 'name-%g' 5000 | xargs touch)
	assert_equal "$(find mnt/d -mindepth 1 | sort -u | wc -l)" 5000
	# find deletes as it reads.
	assert_equal "$(find mnt/d -mindepth 1 -print -delete | sort -u | wc -l)" 5000
	assert_equal "$(ls -A mnt/d)" ""
	rmdir mnt/d
	finish
}

@test "device nodes, FIFOs and sockets are what they say" {
	mknod mnt/null c 1 3
	mknod mnt/zero c 1 5
	mkfifo mnt/fifo
	echo gone >mnt/null
	assert_equal "$(head -c 3 mnt/zero | od -An -tx1)" " 00 00 00"
	(echo through >mnt/fifo) 3>&- &
	assert_equal "$(cat mnt/fifo)" through
	mknod mnt/big b 259 70000
	remount
	assert_equal "$(stat -c '%t %T %F' mnt/big)" "103 11170 block special file"
	assert_equal "$(stat -c '%t %T %F' mnt/zero)" "1 5 character special file"
	finish
}

@test "owners and modes are enforced, setgid directories inherit" {
	local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)

	chmod 755 "$S" mnt
	echo secret >mnt/f
	chmod 600 mnt/f
	run_x 1 "${nobody[@]}" cat mnt/f
	assert_output --partial "Permission denied"
	run_x 1 "${nobody[@]}" touch mnt/new
	mkdir -m 1777 mnt/tmp
	mkdir -m 2775 mnt/team
	chgrp 50 mnt/team
	chown 65534 mnt/team
	run_x "${nobody[@]}" sh -c 'umask 027; echo x >mnt/tmp/f; mkdir mnt/team/d'
	assert_equal "$(stat -c '%U %a' mnt/tmp/f)" "nobody 640"
	assert_equal "$(stat -c '%g %a' mnt/team/d)" "50 2750"
	touch mnt/tmp/root
	run_x 1 "${nobody[@]}" rm -f mnt/tmp/root
	finish
}

@test "setuid and file capabilities end with a write by others" {
	local nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)

	need setcap
	chmod 755 "$S" mnt
	echo x >mnt/f
	chmod 6777 mnt/f
	echo y >>mnt/f
	assert_equal "$(stat -c %a mnt/f)" 6777
	run_x "${nobody[@]}" sh -c 'echo z >>mnt/f'
	assert_equal "$(stat -c %a mnt/f)" 777
	chmod 6777 mnt/f
	run_x "${nobody[@]}" sh -c ': >mnt/f'
	assert_equal "$(stat -c %a mnt/f)" 777
	chmod 6777 mnt/f
	chown 1000 mnt/f
	assert_equal "$(stat -c %a mnt/f)" 777

	cp /bin/true mnt/t
	setcap cap_net_raw+ep mnt/t
	remount
	assert_equal "$(getcap mnt/t)" "mnt/t cap_net_raw=ep"
	echo >>mnt/t
	assert_equal "$(getcap mnt/t)" ""
	remount
	assert_equal "$(getcap mnt/t)" ""
	finish
}

@test "extended attributes: set, list, replace, remove, limits" {
	need setfattr
	echo x >mnt/f
	setfattr -n user.one -v 1 mnt/f
	setfattr -n trusted.two -v 2 mnt/f
	setfattr -n user.big -v "0x$(printf 'ab%.0s' {1..30000})" mnt/f
	remount
	assert_equal "$(getfattr --only-values -n user.one mnt/f)" 1
	assert_equal "$(getfattr --only-values -n user.big mnt/f | wc -c)" 30000
	assert_equal "$(getfattr -d -m - mnt/f | grep -c =)" 3
	chmod 755 "$S" mnt
	run_x setpriv --reuid 65534 --clear-groups getfattr -m - mnt/f
	refute_output --partial trusted
	setfattr -n user.one -v new mnt/f
	setfattr -x user.big mnt/f
	assert_equal "$(getfattr --only-values -n user.one mnt/f)" new
	run_x 1 getfattr -n user.big mnt/f
	assert_output --partial "No such attribute"
	run_x 1 setfattr -n nospace.a -v 1 mnt/f
	assert_output --partial "not supported"
	finish
}

@test "times: set to the nanosecond, changed by what changes" {
	local before

	echo x >mnt/f
	touch -h -d '2001-02-03 04:05:06.123456789 UTC' mnt/f
	assert_equal "$(date -u -r mnt/f +%s.%N)" 981173106.123456789
	touch -d @-5 mnt/f
	assert_equal "$(stat -c %Y mnt/f)" -5
	remount
	assert_equal "$(stat -c %Y mnt/f)" -5
	before=$(stat -c %.Z mnt/f)
	chmod 600 mnt/f
	assert [ "$(stat -c %.Z mnt/f)" != "$before" ]
	assert_equal "$(stat -c %Y mnt/f)" -5
	echo y >>mnt/f
	assert [ "$(stat -c %Y mnt/f)" -gt 0 ]
	before=$(stat -c %.Y mnt)
	touch mnt/g
	assert [ "$(stat -c %.Y mnt)" != "$before" ]
	finish
}

@test "mappings and system calls see the same bytes" {
	local line pid

	truncate -s 20000 mnt/f
	coproc MAP { exec mapwrite mnt/f 10000 first 3>&-; }
	pid=$MAP_PID
	read -r -t 10 line <&"${MAP[0]}"
	assert_equal "$line" mapped
	assert_equal "$(dd if=mnt/f bs=1 skip=10000 count=5 status=none)" first
	printf other | dd of=mnt/f bs=1 seek=10000 conv=notrunc status=none
	echo read >&"${MAP[1]}"
	read -r -t 10 line <&"${MAP[0]}"
	assert_equal "$line" other
	eval "exec ${MAP[1]}>&-"
	wait "$pid"
	remount
	assert_equal "$(dd if=mnt/f bs=1 skip=10000 count=5 status=none)" other
	finish
}

@test "locks keep others out" {
	echo >mnt/f
	exec 5>mnt/f
	flock 5
	run_x 1 flock -n mnt/f true
	exec 5>&-
	run_x flock -n mnt/f true
	finish
}

@test "a full region says so, and what is removed can be used again" {
	run_x 1 dd if=/dev/zero of=mnt/f bs=1M count=600 status=none
	assert_output --partial "No space left on device"
	echo old >mnt/small || true
	rm mnt/f
	for _ in {1..50}; do
		[[ $(stat -f -c %f mnt) -lt 100000 ]] || break
		sleep 0.1
	done
	run_x dd if=/dev/zero of=mnt/f bs=1M count=400 status=none
	assert_equal "$(stat -c %s mnt/f)" $((400 << 20))
	echo new >mnt/small
	assert_equal "$(cat mnt/small)" new
	finish
}

@test "a region that fills up under a mapping: msync says so" {
	finish
	mkdaxfs -o small -s 2M -w >/dev/null
	run_x daxfs-fuse small mnt -o branch=b,parent=main
	truncate -s 1950000 mnt/f
	run_x 1 mapfill mnt/f
	assert_output --partial "No space left on device"
	umount mnt
	no_servers
	run_x daxfs-inspect validate small
}

@test "four writers at once, each file as it was written" {
	local i j

	for i in 1 2 3 4; do
		(
			for j in {1..60}; do
				seq $((i * j)) $((i * j + 3000)) >"mnt/$i.$j"
				mv "mnt/$i.$j" "mnt/last$i"
				cp "mnt/last$i" "mnt/copy$i.$j"
			done
		) 3>&- &
	done
	wait
	for i in 1 2 3 4; do
		for j in {1..60}; do
			cmp "mnt/copy$i.$j" <(seq $((i * j)) $((i * j + 3000)))
		done
	done
	finish
}

@test "sqlite: transactions of several processes, in WAL and rollback mode" {
	local i mode

	need sqlite3
	for mode in wal delete; do
		sqlite3 mnt/db "pragma journal_mode=$mode;
			create table if not exists t(a integer primary key, b);"
		for i in 1 2 3; do
			(for _ in {1..15}; do
				sqlite3 -cmd '.timeout 20000' mnt/db \
					'insert into t(b) values(hex(randomblob(500)))'
			done) 3>&- &
		done
		wait
		run_x sqlite3 mnt/db 'pragma integrity_check'
		assert_output ok
	done
	remount
	run_x sqlite3 mnt/db 'pragma integrity_check; select count(*) from t'
	assert_output $'ok\n90'
	finish
}

@test "git: commit, clone, gc and fsck" {
	local git=(git -c user.name=n -c user.email=e -c init.defaultBranch=m)

	need git
	export HOME=$S GIT_CONFIG_NOSYSTEM=1
	mkdir mnt/repo
	cp -r /usr/include/linux mnt/repo/
	"${git[@]}" -C mnt/repo init -q
	"${git[@]}" -C mnt/repo add -A
	run_x "${git[@]}" -C mnt/repo commit -qm first
	run_x "${git[@]}" clone -q mnt/repo mnt/clone
	run_x "${git[@]}" -C mnt/clone gc -q
	remount
	run_x "${git[@]}" -C mnt/clone fsck --full --strict
	run_x "${git[@]}" -C mnt/clone status --short
	assert_output ""
	run_x diff -r /usr/include/linux mnt/clone/linux
	rm -rf .gitconfig
	finish
}

@test "tar: out and in again gives the same" {
	cp -a /usr/include/asm-generic mnt/tree
	mkfifo mnt/tree/fifo
	ln -s nowhere mnt/tree/link
	ln mnt/tree/errno.h mnt/tree/hard.h
	tar -C mnt --format=posix -cf mnt/t.tar tree
	mkdir mnt/out
	run_x tar -C mnt/out -xpf mnt/t.tar
	diff <(listing mnt/tree) <(listing mnt/out/tree)
	remount
	run_x diff -r --no-dereference --exclude fifo mnt/tree mnt/out/tree
	diff <(listing mnt/tree) <(listing mnt/out/tree)
	finish
}
