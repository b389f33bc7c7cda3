# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# Find what the demo has left, and remove it by force where a step failed.

# Sets `found` to the processes that belong to this demo: they have its scratch
# folder in their environment or command line, or sit in its cgroups. No forks
# here: they would find themselves.
find_processes() {
	local dir pid stat text args

	found=()
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		[[ $pid -ne $$ && $pid -ne $BASHPID ]] || continue
		read -r stat 2>/dev/null <"$dir/stat" || continue
		[[ ${stat##*) } != Z* ]] || continue
		text=
		mapfile -d '' -t args 2>/dev/null <"$dir/environ" && text+="${args[*]} "
		mapfile -d '' -t args 2>/dev/null <"$dir/cmdline" && text+="${args[*]} "
		mapfile -t args 2>/dev/null <"$dir/cgroup" && text+="${args[*]}"
		if [[ $text == *"$S"[/\ ]* || $text == *"/$NS/"* ]]; then
			found+=("$pid")
		fi
	done
}

program_of() { # PID
	local arg0=

	IFS= read -r -d '' arg0 2>/dev/null <"/proc/$1/cmdline" || true
	echo "${arg0##*/}"
}

find_mounts() {
	mapfile -t found < <(awk -v s="$S/" 'index($5, s) == 1 { print $5 }' \
		/proc/self/mountinfo | sort -r)
}

find_cgroups() {
	mapfile -t found < <(find /sys/fs/cgroup -depth -type d \
		-path "*/$NS*" 2>/dev/null)
}

# containerd's shims keep their sockets here, whatever the configuration says,
# each named by a digest of what it belongs to.
find_shim_sockets() {
	local id path

	found=()
	for id in "${CONTAINERS[@]}"; do
		path=$(printf %s "$S/containerd.sock/$NS/$id" | sha256sum)
		path=/run/containerd/s/${path%% *}
		[[ ! -e $path ]] || found+=("$path")
	done
}

# What shims that were killed left, and the folders if nobody else has them.
remove_shim_sockets() {
	find_shim_sockets
	rm -f "${found[@]}"
	[[ -n $RUN_EXISTED ]] || rmdir --ignore-fail-on-non-empty \
		/run/containerd/s /run/containerd 2>/dev/null || true
}

remove_cgroups() {
	find_cgroups
	[[ ${#found[@]} -eq 0 ]] || rmdir "${found[@]}"
}

describe() { # PIDS...
	ps -o pid=,args= -p "$(paste -sd, <<<"${*// /,}")" 2>/dev/null || true
}

# For the way out of a failed or interrupted demo. Says what could not be
# removed.
force_cleanup() {
	local i id

	for id in "${CONTAINERS[@]}"; do
		[[ -S $S/containerd.sock ]] || break
		timeout 5 ctr --address "$S/containerd.sock" -n "$NS" \
			task kill -s KILL "$id"
	done
	stop_daemons
	for i in {1..50}; do
		find_processes
		[[ ${#found[@]} -gt 0 ]] || break
		[[ $i -ne 1 ]] || kill -TERM "${found[@]}"
		[[ $((i % 10)) -ne 0 ]] || kill -KILL "${found[@]}"
		sleep 0.1
	done
	cp "$S"/run/fuse/*.log "$LOGS" 2>/dev/null
	find_mounts
	for i in "${found[@]}"; do
		umount "$i" || umount -l "$i"
	done
	remove_cgroups
	remove_shim_sockets
	rm -rf --one-file-system "$S"
}
