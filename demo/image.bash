# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034,SC2016
# What the demo works on, made once and kept in the cache folder: a Debian root
# file system, a two-layer OCI image of it, some real packages.

SUITE=bookworm
# One list of packages a container; dependencies beyond minbase are named too.
PACKAGES=("hello" "less" "file libmagic1 libmagic-mgc")

# The mirror this machine's apt uses, so that the demo works wherever apt does.
apt_mirror() {
	apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(CODENAME)' \
		'Created-By: Packages' |
		awk -F'|' -v s="$SUITE" '
			$2 == "Debian" && $3 == s { found = $1; exit }
			$2 == "Debian" && $3 !~ /security|updates|backports/ &&
				!any { any = $1 }
			END { print found ? found : any }'
}

apt_lists() {
	apt-cache show hello >/dev/null 2>&1 ||
		apt-get -q -o DPkg::Lock::Timeout=300 update
}

debootstrap_root() { # DIR
	local mirror proxy=

	mirror=${DEBIAN_MIRROR:-}
	if [[ -z $mirror ]]; then
		apt_lists
		mirror=$(apt_mirror)
	fi
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	[[ -z $proxy ]] || export http_proxy=$proxy
	# Without a mirror debootstrap takes its own default.
	debootstrap --variant=minbase "$SUITE" "$1" ${mirror:+"$mirror"}
	rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
}

# The second layer adds, changes and deletes what the first has.
second_layer() { # ROOT
	mkdir -p "$1/srv/app/data"
	echo 'added by layer 2' >"$1/srv/app/data/added"
	ln "$1/srv/app/data/added" "$1/srv/app/hardlink"
	ln -s data/added "$1/srv/app/symlink"
	mkfifo "$1/srv/app/fifo"
	cp "$1/usr/bin/true" "$1/srv/app/capable"
	setcap cap_net_bind_service+ep "$1/srv/app/capable"
	echo 'daxfs demo, layer 2' >"$1/etc/motd"
	echo 'changed by layer 2' >>"$1/etc/issue"
	chmod 0700 "$1/usr/bin/wall" "$1/srv"
	chown 33:33 "$1/srv/app/data"
	rm -rf "$1/usr/share/doc" "$1/etc/issue.net"
	# A directory that is replaced as a whole.
	rm -rf "$1/usr/share/man"
	mkdir "$1/usr/share/man"
	echo 'replaced by layer 2' >"$1/usr/share/man/README"
	# Unpacking replaces changed files, which changes their folders' times.
	touch "$1/usr" "$1/usr/bin" "$1/usr/share" "$1/etc"
}

# Everything about a tree that an image carries, some lines a file. umoci rounds
# times to seconds and does not carry that of the root.
tree_manifest() { # DIR
	(
		cd "$1" || exit 1
		find . -xdev \( -type d -printf '%T@ %p d %m %U:%G\n' \) -o \
			\( -type l -printf '%T@ %p l %U:%G -> %l\n' \) -o \
			\( -type f -printf '%T@ %p f %m %U:%G %s %n\n' \) -o \
			-printf '%T@ %p %y %m %U:%G\n' |
			awk '{ $1 = $2 == "." ? 0 : int($1 + 0.5); print }'
		find . -xdev \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} +
		getfattr --absolute-names -Rhd -m '^(user|security|system)\.' . |
			paste -sd' '
		find . -xdev -type f -print0 | xargs -0 sha256sum
	) | LC_ALL=C sort -k 2
}

# A name for the cached image that changes with what it is made from.
image_key() {
	{
		echo "$SUITE $(dpkg --print-architecture) ${DEBIAN_MIRROR:-}"
		declare -f debootstrap_root second_layer make_image tree_manifest
	} | sha256sum | cut -c1-12
}

make_image() { # ROOT BUNDLE'S PARENT DIR
	local dir=$1 bundle=$1/bundle

	umoci init --layout "$dir/oci"
	umoci new --image "$dir/oci:latest"
	umoci unpack --image "$dir/oci:latest" "$bundle"
	debootstrap_root "$bundle/rootfs"
	umoci repack --refresh-bundle --image "$dir/oci:latest" "$bundle"
	second_layer "$bundle/rootfs"
	umoci repack --image "$dir/oci:latest" "$bundle"
	umoci gc --layout "$dir/oci"
	tree_manifest "$bundle/rootfs" >"$dir/manifest"
	tar -C "$dir/oci" -cf "$dir/image.tar" .
	rm -rf "$bundle" "$dir/oci"
}

# Sets IMAGE_TAR and MANIFEST.
get_image() {
	local dir

	dir=$CACHE/image-$(image_key)
	if [[ ! -d $dir ]]; then
		rm -rf "$CACHE"/image-*
		mkdir -p "$S/image"
		make_image "$S/image"
		mkdir -p "$CACHE"
		mv "$S/image" "$dir"
		note="made, "
	else
		note="cached, "
	fi
	IMAGE_TAR=$dir/image.tar MANIFEST=$dir/manifest
	note+="$(mib "$(stat -c %s "$IMAGE_TAR")"), $(grep -c '' "$MANIFEST") lines of manifest"
}

get_packages() {
	local p list=() dir=$CACHE/debs-$SUITE

	read -ra list <<<"${PACKAGES[*]}"
	for p in "${list[@]}"; do
		compgen -G "$dir/${p}_*.deb" >/dev/null && continue
		mkdir -p "$S/debs" "$dir"
		apt_lists
		(cd "$S/debs" && apt-get -q download "$p")
		mv "$S/debs/${p}"_*.deb "$dir/"
	done
	DEBS=$dir
	note="${list[*]}"
}
