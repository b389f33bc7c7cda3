#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The files for systemd: installed where it looks, understood by it, and as
# narrow as they can be.

load helpers

UNITS=$BATS_TEST_DIRNAME/../../contrib/systemd

# The units with our programs in them.
units() {
	mkdir u
	cp "$UNITS"/*.service "$UNITS"/*.socket "$UNITS"/*.target u/
	sed -i "s,/usr/bin/,$BUILD/," u/*.service
}

@test "install puts them where systemd looks, with our path; uninstall removes all" {
	into=(DESTDIR="$S/root" PREFIX=/opt/x)
	run_x make -s -C "$REPO" install "${into[@]}"
	for f in daxfs.target daxfs-{snapshotter,grpc}.{service,socket}; do
		assert_file_exist "root/opt/x/lib/systemd/system/$f"
	done
	assert_file_exist root/opt/x/lib/sysusers.d/daxfs.conf
	assert_file_exist root/opt/x/lib/tmpfiles.d/daxfs.conf
	while read -r _ program; do
		assert_file_executable "root$program"
	done < <(grep -h '^ExecStart=' root/opt/x/lib/systemd/system/*.service | tr '=' ' ')
	run_x make -s -C "$REPO" uninstall "${into[@]}"
	run_x find root ! -type d
	assert_output ""
}

@test "systemd has nothing to say against them" {
	need systemd-analyze
	units
	run_x systemd-analyze verify --man=no u/*
	assert_output ""
	# and of what they name all is there
	run_x grep -ohE 'man:[a-z.-]+\([0-9]\)' u/daxfs-snapshotter.service u/daxfs-grpc.service
	for page in "${lines[@]}"; do
		assert_file_exist "$REPO/docs/man/$(sed -E 's/man:(.*)\((.)\)/\1.\2/' <<<"$page")"
	done
}

@test "one command switches everything on" {
	need systemctl
	run_x make -s -C "$REPO" install DESTDIR="$S/root" PREFIX=/usr
	run_x systemctl --root="$S/root" enable daxfs.target
	run_x find root/etc -type l -printf '%P\n'
	assert_output systemd/system/multi-user.target.wants/daxfs.target
	# and the target wants all there is
	run_x grep -h '^Wants=' root/usr/lib/systemd/system/daxfs.target
	for unit in daxfs-{snapshotter,grpc}.{service,socket}; do
		assert_output --partial "$unit"
	done
}

@test "what they leave open is little" {
	need systemd-analyze
	units
	# tenths
	run_x systemd-analyze security --offline=true --threshold=10 u/daxfs-grpc.service
	run_x systemd-analyze security --offline=true --threshold=40 u/daxfs-snapshotter.service
}

@test "the snapshotter gets no mount namespace, and its children live on" {
	for option in Private{Mounts,Tmp,Devices,IPC,Users,Network} ProtectSystem \
		ProtectHome ProtectProc ProcSubset ProtectKernel{Tunables,Modules,Logs} \
		ProtectControlGroups DynamicUser ReadOnlyPaths ReadWritePaths \
		InaccessiblePaths ExecPaths NoExecPaths BindPaths BindReadOnlyPaths \
		TemporaryFileSystem MountAPIVFS RootDirectory RootImage MountFlags \
		{Runtime,State,Cache,Logs,Configuration}Directory LogNamespace; do
		run grep -c "^$option=" "$UNITS/daxfs-snapshotter.service"
		assert_output 0
	done
	for line in Type=notify Restart=always KillMode=process OOMScoreAdjust=-999; do
		run_x grep -cx -- "$line" "$UNITS/daxfs-snapshotter.service"
	done
}

@test "sockets, users and folders agree with the configuration" {
	need systemd-sysusers systemd-tmpfiles root
	daxfs-snapshotter --config /dev/null --print-config >snapshotter
	daxfs-grpc --config /dev/null --print-config >grpc
	value() { sed -n "s/^$2 = //p" "$1" | head -n 1; }
	run_x grep -cx "ListenStream=$(value snapshotter state)/daxfs.sock" \
		"$UNITS/daxfs-snapshotter.socket"
	run_x grep -cx "ListenStream=$(value grpc address)" "$UNITS/daxfs-grpc.socket"
	run_x grep -cx "address = \"$(value grpc address)\"" \
		<(sed 's/^ *//' "$REPO/contrib/containerd/config.toml")
	user=$(value snapshotter user)
	run_x grep -cx "User=$user" "$UNITS/daxfs-grpc.service"
	run_x grep -cx "SocketGroup=$user" "$UNITS/daxfs-snapshotter.socket"

	mkdir -p root/etc
	echo 'root:x:0:0::/root:/bin/sh' >root/etc/passwd
	echo 'root:x:0:' >root/etc/group
	run_x systemd-sysusers --root="$S/root" "$UNITS/sysusers.conf"
	run_x grep -c "^$user:" root/etc/passwd
	run_x systemd-tmpfiles --create --root="$S/root" "$UNITS/tmpfiles.conf"
	for folder in "$(value snapshotter root)" "$(value snapshotter state)" \
		/var/lib/containerd/io.containerd.snapshotter.v1.daxfs; do
		assert_dir_exist "$S/root$folder"
	done
	run_x stat -c %a "root$(value snapshotter root)"
	assert_output 700
}
