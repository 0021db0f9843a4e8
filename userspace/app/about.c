/* SPDX-License-Identifier: GPL-2.0-only */
/* about.c - which version this is, and what it was built with. */
#include "app/about.h"

#include <sys/utsname.h>

#include "proxy/filter.h"
#include "proxy/handler.h"
#include "sentinel/abi.h"
#include "upstream/balancer.h"
#include "version.h"

const char *about_version(void)
{
	return SENTINEL_VERSION;
}

void about_describe(struct strbuf *out)
{
	struct utsname host;

	strbuf_printf(out, "compiler     %s\n", __VERSION__);
	strbuf_printf(out, "kernel ABI   v%d (layout of the guard's maps)\n", SN_ABI_VERSION);
	if (uname(&host) == 0)
		strbuf_printf(out, "this host    %s %s %s\n", host.sysname, host.release, host.machine);
	strbuf_add_str(out, "filters     ");
	for (size_t i = 0; filter_at(i); i++)
		strbuf_printf(out, " %s", filter_at(i)->name);
	strbuf_add_str(out, "\nhandlers    ");
	for (size_t i = 0; handler_at(i); i++)
		strbuf_printf(out, " %s", handler_at(i)->name);
	strbuf_add_str(out, "\nbalancers   ");
	for (size_t i = 0; balancer_at(i); i++)
		strbuf_printf(out, " %s", balancer_at(i)->name);
	strbuf_add_char(out, '\n');
}
