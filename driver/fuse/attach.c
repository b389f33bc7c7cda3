/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "../common/log.h"
#include "../common/util.h"
#include "server.h"

/* Not in all headers; the number is the kernel's. */
#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000u
#endif

static int set(int fs, const char *key, const char *value)
{
	unsigned cmd = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;

	return fsconfig(fs, cmd, key, value, 0) < 0 ? -errno : 0;
}

static int configure(int fs, int fuse_fd, const char *source, bool readonly)
{
	char number[16];
	int rc;

	snprintf(number, sizeof(number), "%d", fuse_fd);
	rc = set(fs, "source", source);
	rc = rc ? rc : set(fs, "subtype", "daxfs");
	rc = rc ? rc : set(fs, "fd", number);
	rc = rc ? rc : set(fs, "rootmode", "40000");
	rc = rc ? rc : set(fs, "user_id", "0");
	rc = rc ? rc : set(fs, "group_id", "0");
	rc = rc ? rc : set(fs, "allow_other", NULL);
	rc = rc ? rc : set(fs, "default_permissions", NULL);
	if (!rc && readonly)
		rc = set(fs, "ro", NULL);
	if (!rc && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		rc = -errno;
	return rc;
}

int attach_open(int fuse_fd, const char *source, bool sb_readonly,
		unsigned attrs, struct daxfs_message *msg)
{
	cleanup_close int fs = -1;
	int fd, rc;

	/* The kernel takes option strings of up to 255 bytes. */
	if (strlen(source) > 255)
		return message_fail(msg, ENAMETOOLONG,
				    "the region's path is too long to be mounted (%zu bytes with the branch's name, 255 at most): use a shorter path",
				    strlen(source));
	fs = fsopen("fuse", FSOPEN_CLOEXEC);
	if (fs < 0)
		return message_fail(msg, errno,
				    "cannot mount FUSE file systems: %s%s",
				    log_err(errno),
				    errno == EPERM ? "; this needs root" : "");
	rc = configure(fs, fuse_fd, source, sb_readonly);
	if (rc)
		return message_fail(msg, -rc,
				    "cannot make a FUSE file system: %s",
				    log_err(-rc));
	fd = fsmount(fs, FSMOUNT_CLOEXEC,
		     attrs | (sb_readonly ? MOUNT_ATTR_RDONLY : 0));
	if (fd < 0)
		return message_fail(msg, errno,
				    "cannot mount the file system: %s",
				    log_err(errno));
	return fd;
}

int attach_info(int dirfd, const char *path, struct attach_info *out)
{
	unsigned flags =
		AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW;
	struct statx st;

	if (statx(dirfd, path, (int)(flags | (*path ? 0 : AT_EMPTY_PATH)),
		  STATX_MNT_ID, &st) < 0)
		return -errno;
	out->dev_major = st.stx_dev_major;
	out->dev_minor = st.stx_dev_minor;
	out->is_root = st.stx_attributes & STATX_ATTR_MOUNT_ROOT;
	out->mnt_id = st.stx_mnt_id;
	return 0;
}

int attach_move(int mnt_fd, const char *path, u64 *mnt_id,
		struct daxfs_message *msg)
{
	struct attach_info info;
	int rc;

	if (move_mount(mnt_fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return message_fail(msg, errno, "cannot mount on '%s': %s",
				    path,
				    errno == ENOTDIR ? "not a directory"
						     : log_err(errno));
	rc = attach_info(mnt_fd, "", &info);
	*mnt_id = rc ? 0 : info.mnt_id;
	return 0;
}

int attach_detach(const char *path)
{
	return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 ? -errno : 0;
}

/* Is the topmost mount at `path` one of daxfs-fuse? */
static int is_ours(const char *path)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	char buf[16384];
	struct mntent e;
	bool ours = false;

	if (!f)
		return -errno;
	while (getmntent_r(f, &e, buf, sizeof(buf)))
		if (str_eq(e.mnt_dir, path))
			ours = str_eq(e.mnt_type, "fuse.daxfs");
	endmntent(f);
	return ours;
}

int attach_clear_dead(const char *path)
{
	int tries, rc;

	for (tries = 0; tries < 16; tries++) {
		struct statfs st;

		/* Nothing of this is cached, as what stat() says would be. */
		if (statfs(path, &st) == 0 || errno != ENOTCONN)
			return 0;
		rc = is_ours(path);
		if (rc <= 0)
			return rc < 0 ? rc : -ENOTCONN;
		rc = attach_detach(path);
		if (rc)
			return rc;
		log_event(LOG_INFO, "detached a mount whose server had died",
			  "mountpoint", path, NULL);
	}
	return -ENOTCONN;
}
