/* SPDX-License-Identifier: GPL-2.0-only */
/* err.c - names for errno values. */
#include "base/err.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int positive(int err)
{
	return err < 0 && err != INT_MIN ? -err : err;
}

const char *err_name(int err)
{
	static _Thread_local char unknown[16];
	const char *name;

	if (err == 0)
		return "OK";
	name = strerrorname_np(positive(err));
	if (name)
		return name;
	(void)snprintf(unknown, sizeof(unknown), "E%d", positive(err));
	return unknown;
}

const char *err_text(int err)
{
	static _Thread_local char text[96];
	const char *desc = strerrordesc_np(positive(err));

	if (!desc) {
		(void)snprintf(text, sizeof(text), "unknown error %d", positive(err));
		return text;
	}
	(void)snprintf(text, sizeof(text), "%s", desc);
	/* An abbreviation at the start ("RFS specific error") keeps its capitals. */
	if (!isupper((unsigned char)text[1]))
		text[0] = (char)tolower((unsigned char)text[0]);
	return text;
}
