/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: names of any bytes, columns, ages. */
#ifndef DAXFS_CLI_TEXT_H
#define DAXFS_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Does stdout's locale have UTF-8? */
bool text_utf8(void);

/* Columns of the terminal that stdout is; 0: it is none. */
unsigned text_terminal(void);

/*
 * A name as it may be shown: control characters, also those of UTF-8's upper
 * half, and what is no UTF-8 become \ooo. Allocated; ends the program when
 * memory is out.
 */
char *text_escape(const char *s, size_t len);

/*
 * Write `s`, escaped, in a column: padded to `width` characters, and if `cut`
 * shortened to it in the middle, where names have what tells them apart least.
 */
void text_column(const char *s, unsigned width, bool cut);

/* Such a column's text, allocated. */
char *text_fit(const char *s, unsigned width, bool cut);

/* "42s", "17m", "5h", "3d": the time since `ns` since the epoch. */
const char *text_age(uint64_t ns, char out[24]);
/* "3 days 4 h", "12 min 5 s". */
const char *text_duration(uint64_t ns, char out[48]);

#endif
