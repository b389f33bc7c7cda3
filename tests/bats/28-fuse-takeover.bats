#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the server alone: its keeper starts another one, and programs that
# use the mounts notice nothing where the kernel sends requests again.

load helpers

setup() {
	need root fuse
	scratch
	mkdir mnt
	mkdaxfs -o r -s 256M -w >/dev/null
}

resend() {
	[[ $(printf '%s\n' 6.9 "$(uname -r)" | sort -V | head -n 1) == 6.9 ]] ||
		skip 'needs Linux 6.9'
}

# Kill (or signal) the server and wait until another one serves.
next_server() {
	local old new

	old=$(servers)
	[[ -n $old ]]
	kill "${@:--KILL}" "$old"
	for _ in {1..250}; do
		new=$(servers)
		[[ -z $new || $new == *"$old"* ]] || return 0
		sleep 0.02
	done
	echo "servers: $new"
	return 1
}

@test "programs at work: no call fails, however often the server is killed" {
	local pid n=0

	resend
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	timeout 60 fsendure mnt 6 3 >rounds 2>err 3>&- &
	pid=$!
	while kill -0 $pid 2>/dev/null; do
		! kill -KILL "$(servers)" 2>/dev/null || n=$((n + 1))
		sleep 0.3
	done
	wait $pid || { cat err; false; }
	assert [ $n -ge 5 ]
	assert_equal "$(wc -l <rounds)" 3
	assert_equal "$(find mnt -type f)" ""
	assert_equal "$(keepers | wc -l)" 1
	umount mnt
	no_servers
	run_x daxfs-inspect validate r
}

@test "what is open stays open; without a name it ends with its last user" {
	local free

	resend
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	free=$(stat -f -c %f mnt)
	head -c 40M /dev/zero | tr '\0' x >mnt/f
	echo named >mnt/g
	exec 5<>mnt/f 6<mnt/g
	rm mnt/f
	next_server
	next_server
	assert_equal "$(cat <&6)" named
	assert_equal "$(head -c 3 <&5)" xxx
	assert_equal "$(stat -L -c '%h %s' /proc/self/fd/5)" "0 41943040"
	assert [ "$(stat -f -c %f mnt)" -lt $((free - 9000)) ]
	exec 5<&- 6<&-
	for _ in {1..100}; do
		[[ $(stat -f -c %f mnt) -lt $((free - 1000)) ]] || break
		sleep 0.05
	done
	assert [ "$(stat -f -c %f mnt)" -ge $((free - 1000)) ]
	umount mnt
	no_servers
}

@test "mounts are listed, ended and dropped as if nothing had happened" {
	resend
	mkdir m2 m3
	run_x daxfs-fuse r mnt -o branch=b,parent=main
	run_x daxfs-fuse r m2 -o branch=c,parent=main,persist
	run_x daxfs-fuse r m3 -o branch=c,ro
	echo 1 >mnt/f
	echo 2 >m2/f
	next_server
	assert_equal "$(cat mnt/f m2/f m3/f)" $'1\n2\n2'
	run_x 1 touch m3/g
	run_x daxfs-branch list --json r
	run_x jq -ec '[.branches[].mountpoints | map(sub(".*/"; "")) | sort]' <<<"$output"
	assert_output '[[],["mnt"],["m2","m3"]]'
	run_x daxfs umount m3
	umount mnt
	next_server
	run_x daxfs-branch list --json r
	run_x jq -ec '[.branches[] | [.name, (.mountpoints | length)]]' <<<"$output"
	assert_output '[["main",0],["c",1]]'
	umount m2
	no_servers
	run_x daxfs-inspect validate r
}

@test "a branch that ends after that: ESTALE and SIGBUS for what was open before" {
	local rc=0 pid to

	resend
	mkdir m2
	run_x daxfs-fuse r mnt -o branch=b,parent=main
	run_x daxfs-fuse r m2 -o branch=c,parent=main
	mkdir mnt/d
	printf 'a%8191s' x >mnt/d/f
	exec 5<mnt/d/f
	coproc mapread "$S/mnt/d/f" 0
	pid=$COPROC_PID
	exec {to}>&"${COPROC[1]}"
	next_server
	echo again >&$to
	echo x >m2/x
	run_x daxfs-branch commit c -r r
	run cat <&5
	assert_failure
	assert_output --partial "Stale file handle"
	echo again >&$to
	exec {to}>&-
	wait "$pid" || rc=$?
	assert_equal $rc $((128 + $(kill -l BUS)))
	exec 5<&-
	umount mnt m2
	no_servers
}

@test "a branch that ended before: ESTALE, though another has its name by now" {
	resend
	mkdir m2 m3
	run_x daxfs-fuse r m3 -o branch=z,parent=main,persist
	run_x daxfs-fuse r mnt -o branch=b,parent=main
	echo old >mnt/f
	exec 5<mnt/f
	run_x daxfs-branch commit b -r r
	next_server
	run cat <&5
	assert_output --partial "Stale file handle"
	run_x daxfs-fuse r m2 -o branch=b,parent=main
	echo new >m2/g
	next_server
	run cat <&5
	assert_output --partial "Stale file handle"
	run_x 1 touch mnt/h
	assert_output --partial "Stale file handle"
	assert_equal "$(ls m2)" $'f\ng'
	exec 5<&-
	umount mnt
	assert_equal "$(cat m2/f m2/g)" $'old\nnew'
	umount m2 m3
	no_servers
	run_x daxfs-inspect validate r
}

@test "a mountpoint that is reached through a mount resumed later" {
	resend
	mkdir m2
	run_x daxfs-fuse r m2 -o branch=b,parent=main,persist
	run_x daxfs-fuse r mnt -o branch=a,parent=main,persist
	mkdir -p mnt/d/sub
	run_x daxfs-fuse r mnt/d/sub -o branch=b
	# so that the kernel asks for d's attributes
	mkdir mnt/d/x
	next_server
	timeout 10 ls mnt/d >list || { kill_server && false; }
	assert_equal "$(cat list)" $'sub\nx'
	run_x daxfs-branch list --json r
	run_x jq -ec '[.branches[].mountpoints | map(sub(".*/"; "")) | sort]' <<<"$output"
	assert_output '[[],["m2","sub"],["mnt"]]'
	umount mnt/d/sub mnt m2
	no_servers
}

@test "what was unmounted with --keep, and is still in use, stays" {
	resend
	mkdir m2 m3
	run_x daxfs-fuse r m3 -o branch=z,parent=main,persist
	run_x daxfs-fuse r mnt -o branch=b,parent=main
	echo 1 >mnt/f
	# a place that the server did not make
	mount --bind mnt m2
	umount mnt
	exec 5<m2/f
	next_server
	run_x daxfs umount --keep m2
	next_server
	assert_equal "$(cat <&5)" 1
	exec 5<&-
	run_x daxfs-fuse r mnt -o branch=b
	assert_equal "$(cat mnt/f)" 1
	umount mnt m3
	no_servers
}

@test "main's names after a commit, mounted before the server was killed" {
	resend
	mkdir m2
	run_x daxfs-fuse r mnt
	run_x daxfs-fuse r m2 -o branch=c,parent=main
	run_x 1 stat mnt/new
	assert_equal "$(ls mnt)" ""
	next_server
	echo 1 >m2/new
	run_x daxfs-branch commit c -r r
	assert_equal "$(cat mnt/new)" 1
	assert_equal "$(ls mnt)" new
	umount mnt m2
	no_servers
}

@test "SIGUSR2 has another server go on; it needs no repetition of requests" {
	local pid

	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	timeout 60 fsendure mnt 4 2 >rounds 2>err 3>&- &
	pid=$!
	for _ in 1 2 3 4 5; do
		sleep 0.4
		next_server -USR2
	done
	wait $pid || { cat err; false; }
	umount mnt
	no_servers
}

@test "a keeper that is killed is replaced" {
	local old

	resend
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	exec 5>mnt/f
	old=$(keepers)
	kill -KILL "$old"
	for _ in {1..250}; do
		[[ -z $(keepers) || $(keepers) == "$old" ]] || break
		sleep 0.02
	done
	next_server
	echo still open >&5
	exec 5>&-
	assert_equal "$(cat mnt/f)" "still open"
	umount mnt
	no_servers
}

@test "a server that leaves when its keeper is dead gets another first" {
	local pid

	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	pid=$(servers)
	kill -STOP "$pid"
	kill -KILL "$(keepers)"
	kill -USR2 "$pid"
	kill -CONT "$pid"
	for _ in {1..250}; do
		[[ $(servers) == *"$pid"* ]] || break
		sleep 0.02
	done
	run_x ls mnt
	umount mnt
	no_servers
}

@test "a server that is killed while it stops has no successor" {
	local pid holder

	need python3
	run_x daxfs-fuse --log-file log r mnt -o branch=b,parent=main,persist
	head -c 40M /dev/zero >mnt/f
	# pages to write back, which takes a while
	python3 -c 'import mmap, os, time
m = mmap.mmap(os.open("mnt/f", os.O_RDWR), 40 << 20)
for at in range(0, 40 << 20, 4096):
    m[at] = 1
print("dirty", flush=True)
time.sleep(30)' >pages 3>&- &
	holder=$!
	for _ in {1..250}; do
		! grep -q dirty pages || break
		sleep 0.02
	done
	pid=$(servers)
	kill -TERM "$pid"
	for _ in {1..250}; do
		! grep -q "stopping on a signal" log || break
		sleep 0.005
	done
	kill -KILL "$pid" || : # it was quicker
	for _ in {1..50}; do
		[[ -n $(keepers) ]] || break
		sleep 0.02
	done
	run servers
	kill $holder
	wait $holder || :
	assert_output ""
	umount mnt || : # or it was quicker
	no_servers
}

@test "a keeper that cannot be started is not tried for ever" {
	mkdir bin
	cp "$BUILD/daxfs-fuse" bin
	PATH=/usr/bin:/bin run_x bin/daxfs-fuse --log-file log r mnt \
		-o branch=b,parent=main,persist
	for _ in {1..250}; do
		! grep -q "dies at once" log || break
		sleep 0.02
	done
	run_x grep -c "dies at once" log
	assert_output 1
	assert [ "$(grep -c "another one is started" log)" -lt 10 ]
	ls mnt
	umount mnt
	no_servers
}

@test "a server that dies at once again and again is given up" {
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist
	cp r copy
	# the region cannot be opened any more
	dd if=/dev/zero of=r bs=4096 count=1 conv=notrunc status=none
	kill -KILL "$(servers)"
	no_servers
	run_x 2 ls mnt
	assert_output --partial "Transport endpoint is not connected"
	umount mnt
	cat copy >r
}

@test "without a keeper, and in the foreground, mounts end with their server" {
	run_x daxfs-fuse r mnt -o branch=b,parent=main,persist --no-keeper
	assert_equal "$(keepers)" ""
	kill -KILL "$(servers)"
	no_servers
	run_x 2 ls mnt
	umount mnt
	run_x 2 daxfs-keeper
	assert_output --partial "started by daxfs-fuse"
	run_x 1 daxfs-fuse --keeper r </dev/null
	assert_output --partial "no keeper"
}
