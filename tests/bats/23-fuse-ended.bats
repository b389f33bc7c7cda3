#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Branches that end under their users: every process, in every way it holds the
# branch, hears of it at its next access.

load helpers

LIVE="read ok read-far ok write ok fstat ok stat ok cwd ok create ok open ok \
list ok shared-read ok shared-new ok shared-written ok shared-write ok \
shared-write-new ok private-read ok private-new ok private-written ok "

# What a process has written to in a private mapping is its own.
ENDED="read ESTALE read-far ESTALE write ESTALE fstat ESTALE stat ESTALE \
cwd ESTALE create ESTALE open ESTALE list ESTALE shared-read SIGBUS \
shared-new SIGBUS shared-written SIGBUS shared-write SIGBUS \
shared-write-new SIGBUS private-read SIGBUS private-new SIGBUS \
private-written ok "

setup() {
	need root fuse
	scratch
	mkdir tree main
	for f in a b; do
		head -c 64K /dev/zero | tr '\0' "$f" >tree/$f
	done
	mkdaxfs -d tree -o r -s 64M -w >/dev/null
	holders=()
}

teardown() {
	release
	scratch_end
}

# branch NAME PARENT: make it and mount it on a folder of that name.
branch() {
	mkdir -p "$1"
	run_x daxfs-branch create "$1" -p "$2" -m "$S/$1" -r "$S/r"
}

# hold NAME...: a process holds each of these branches.
hold() {
	local n

	for n; do
		mkfifo "in.$n.${#holders[@]}"
		holder "$n" <"in.$n.${#holders[@]}" >"out.$n.${#holders[@]}" \
			2>&1 3>&- &
		exec {fd}>"in.$n.${#holders[@]}"
		holders+=("$n.${#holders[@]}:$fd:$!")
	done
	for n in "${holders[@]}"; do
		await "${n%%:*}" 1
		assert_equal "$(head -n 1 "out.${n%%:*}")" holding
	done
}

# await HOLDER LINES: it has printed so many.
await() {
	for _ in {1..200}; do
		[[ $(wc -l <"out.$1") -lt $2 ]] || return 0
		sleep 0.02
	done
	cat "out.$1"
	return 1
}

# ask ANSWER NAME...: all holders of these branches answer that.
ask() {
	local want=$1 h id fd n

	shift
	for n; do
		for h in "${holders[@]}"; do
			IFS=: read -r id fd _ <<<"$h"
			[[ ${id%.*} == "$n" ]] || continue
			lines=$(wc -l <"out.$id")
			echo >&"$fd"
			await "$id" $((lines + 1))
			assert_equal "$id: $(tail -n 1 "out.$id")" "$id: $want"
		done
	done
}

# A holder has the later ones' input open too: close all before waiting.
release() {
	local h fd

	for h in "${holders[@]}"; do
		IFS=: read -r _ fd _ <<<"$h"
		exec {fd}>&-
	done
	for h in "${holders[@]}"; do
		wait "${h##*:}" || true
	done
	holders=()
}

end() {
	local m

	release
	for m in $(scratch_mounts | sort -r); do
		umount "$m"
	done
	no_servers
	run_x daxfs-inspect validate r
}

@test "abort: the chain ends for all processes, siblings live on" {
	branch a main
	branch b a
	branch x main
	hold b b x
	ask "$LIVE" b x
	run_x daxfs-branch abort b -r r
	ask "$ENDED" b
	ask "$LIVE" x
	run_x 1 stat a
	assert_output --partial "Stale file handle"
	end
}

@test "delete with force: its mount is gone, who holds it hears ESTALE" {
	branch a main
	branch x main
	hold a a x
	run_x daxfs-branch delete a -r r --force
	ask "$ENDED" a
	ask "$LIVE" x
	assert_equal "$(scratch_mounts)" "$S/x"
	end
}

@test "commit: siblings, cousins and the committed branch itself end" {
	branch a main
	branch win a
	branch sister a
	branch x main
	branch cousin x
	run_x daxfs mount r main
	hold win win sister cousin
	ask "$LIVE" win sister cousin
	echo news >win/news
	# main's own users stay, and see what is new
	cat main/a main/b >/dev/null
	assert_not_exist main/news
	exec 9<main/b
	run_x daxfs-branch commit win -r r
	ask "$ENDED" win sister cousin
	assert_equal "$(cat main/news)" news
	run_x cmp -n 1 /dev/fd/9 <(printf x)
	assert_equal "$(head -c 1 main/b)" x
	assert_equal "$(stat -c %s main/news)" 5
	exec 9<&-
	for m in a win sister x cousin; do
		run_x 1 stat $m
		assert_output --partial "Stale file handle"
	done
	end
}

@test "commit: mappings of main show what is new, those of others are gone" {
	branch win main
	branch lose main
	run_x daxfs mount r main
	hold lose
	# the page is in use while it changes
	coproc MAP { exec mapread main/b 0 3>&- 2>/dev/null; }
	pid=$MAP_PID
	read -r -t 10 line <&"${MAP[0]}"
	assert_equal "$line" b
	printf changed | dd of=win/b conv=notrunc status=none
	run_x daxfs-branch commit win -r r
	echo >&"${MAP[1]}"
	read -r -t 10 line <&"${MAP[0]}"
	assert_equal "$line" c
	ask "$ENDED" lose
	kill "$pid"
	wait "$pid" || true
	end
}

@test "the end is heard while processes are busy with the branch" {
	local pids=() p rc

	branch a main
	for i in {1..4}; do
		(
			set +e
			cd a || exit 1
			while head -c 1 a >"$S/o$i" 2>"$S/e$i" &&
				echo x 2>"$S/e$i" >"w$i"; do :; done
			exit 7
		) 3>&- &
		pids+=($!)
	done
	sleep 0.3
	run_x daxfs-branch abort a -r r
	for p in "${pids[@]}"; do
		rc=0
		wait "$p" || rc=$?
		assert_equal $rc 7
	done
	run_x cat e1 e2 e3 e4
	assert_equal "$(grep -c 'Stale file handle' <<<"$output")" 4
	end
}

@test "a program that runs from the branch is ended by SIGBUS" {
	local rc=0 pid

	branch a main
	cp "$(command -v yes)" a/yes
	a/yes >/dev/null 3>&- &
	pid=$!
	sleep 0.3
	kill -0 $pid
	run_x daxfs-branch abort a -r r
	for _ in {1..50}; do
		kill -0 $pid 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL $pid 2>/dev/null || true
	wait $pid || rc=$?
	assert_equal $rc $((128 + $(kill -l BUS)))
	end
}
