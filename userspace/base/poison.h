/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * poison.h - tell AddressSanitizer which bytes of our own allocators nobody may touch.
 * Without the sanitizer both are nothing.  For arena and pool only.
 */
#ifndef SN_BASE_POISON_H
#define SN_BASE_POISON_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SN_HAS_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SN_HAS_ASAN 1
#endif

#ifdef SN_HAS_ASAN
#include <sanitizer/asan_interface.h>
#define poison(ptr, len) __asan_poison_memory_region((ptr), (len))
#define unpoison(ptr, len) __asan_unpoison_memory_region((ptr), (len))
#else
#define poison(ptr, len) ((void)(ptr), (void)(len))
#define unpoison(ptr, len) ((void)(ptr), (void)(len))
#endif

#endif
