/* SPDX-License-Identifier: GPL-2.0-only */
/* check.h - assertions that stay on in production, object tags, and names nobody may call. */
#ifndef SN_BASE_CHECK_H
#define SN_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Our own bug: print file, line and expression to stderr and abort.  Never for input from outside. */
_Noreturn void check_failed(const char *file, int line, const char *what);

#define CHECK(x)                                                     \
	do {                                                         \
		if (__builtin_expect(!(x), 0))                       \
			check_failed(__FILE__, __LINE__, #x);        \
	} while (0)

/*
 * Long-lived structs start with `uint32_t tag`.  Set it with the type's TAG_* when the object is born,
 * to 0 when it dies, and OBJ_CHECK() it at every public entry.
 */
#define TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define OBJ_CHECK(p, T) CHECK(obj_has_tag((p), offsetof(__typeof__(*(p)), tag), (T)))

static inline bool obj_has_tag(const void *p, size_t tag_offset, uint32_t tag)
{
	return p && *(const uint32_t *)(const void *)((const char *)p + tag_offset) == tag;
}

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* glibc makes macros of these for clang with _FORTIFY_SOURCE, and a macro cannot be poisoned. */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol

#endif
