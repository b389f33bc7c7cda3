// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The header of a branch's metadata, and the checksum in it. Programs that do not
 * have the engine link this file alone.
 */
#include "internal.h"

u32 meta_crc(const struct daxfs_branch_meta *h, const void *bytes)
{
	struct daxfs_branch_meta head = *h;

	head.crc = 0;
	return port_crc32c(port_crc32c(0, &head, sizeof(head)), bytes,
			   le32_to_cpu(h->len));
}

struct daxfs_branch_meta meta_header(u64 id, const void *bytes, u32 len)
{
	struct daxfs_branch_meta h = {
		.magic = cpu_to_le32(DAXFS_META_MAGIC),
		.owner = cpu_to_le64(id),
		.len = cpu_to_le32(len),
	};

	h.crc = cpu_to_le32(meta_crc(&h, bytes));
	return h;
}

u32 daxfs_branch_meta_crc(u64 id, const void *bytes, size_t len)
{
	return le32_to_cpu(meta_header(id, bytes, (u32)len).crc);
}
