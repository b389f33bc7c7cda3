#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# In the guest: containerd runs containers on branches, on a stock kernel.
# shellcheck disable=SC2016,SC2030,SC2031,SC2034,SC2154

load ../bats/helpers
. "$REPO/tests/bats/containers.bash"

NS=daxfs-vm IMAGE=daxfs.vm/busybox:latest

setup() {
	need root fuse containerd runc
	scratch
	containers_setup
}

teardown() {
	containers_teardown
	scratch_end
}

# What each container runs; on its second start it finds what it wrote, and ends
# with 7.
IN_CONTAINER='
set -e
grep -q " / fuse.daxfs " /proc/mounts
test ! -e /srv/gone && test ! -e /srv/dir
if test -e /mine; then
	test "$(cat /mine /etc/motd)" = "$0
two
changed by $0"
	cmp /var/a /var/b && cmp /var/a /bin/busybox
	exit 7
fi
test "$(cat /etc/motd /srv/added)" = "two
added"
echo "$0" >/mine
echo "changed by $0" >>/etc/motd
rm /srv/added
mkdir /var
dd if=/bin/busybox of=/var/x bs=100k
mv /var/x /var/a
ln /var/a /var/b
'

in_three() { # EXPECTED STATUS, COMMAND...; ID stands for the container's name
	local want=$1 id jobs=()
	shift

	for id in a b c; do
		(
			rc=0
			ctr "${@//ID/$id}" || rc=$?
			[[ $rc -eq $want ]] || echo "$id: exit status $rc"
		) >"$LOGS/$id.log" 2>&1 3>&- &
		jobs+=($!)
	done
	wait "${jobs[@]}"
	run_x 1 grep 'exit status' "$LOGS"/{a,b,c}.log
}

@test "three containers at once on one image, and again on their snapshots" {
	local id

	make_image
	start_daxfs
	start_containerd
	ctr images import --snapshotter daxfs --base-name "${IMAGE%:*}" image.tar
	in_three 0 run --snapshotter daxfs --runc-root "$S/runc" \
		--fifo-dir "$S/fifo" "$IMAGE" ID sh -c "$IN_CONTAINER" ID
	in_three 7 task start --fifo-dir "$S/fifo" ID
	# main, two layers, three containers.
	run_x daxfs-branch list --json "$S/daxfs/pool.daxfs"
	assert_equal "$(jq '.branches | length' <<<"$output")" 6
	for id in a b c; do
		ctr container delete $id
	done
	ctr images rm --sync "$IMAGE"
	wait_for 60 no_snapshots
	stop_daemons
	no_servers
	assert_equal "$(scratch_mounts)" ""
}
