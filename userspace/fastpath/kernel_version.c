/* SPDX-License-Identifier: GPL-2.0-only */
/* kernel_version.c - which kernel this is, and whether its sockmap has known bugs. */
#include "fastpath/kernel_version.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/check.h"
#include "loop/small_file.h"

#define MAJOR_MIN 6
#define MINOR_MIN 1
#define MINOR_FIXED 18 /* 6.18 and later have every fix of the table */
#define SIGNATURE_MAX 256

/* Lines of stable kernels whose fixes are known. */
static const struct {
	unsigned major, minor;
	unsigned loses_below;  /* data lost when a send is tried again; data sent twice */
	unsigned unsafe_below; /* CVE-2026-43016: use after free in the verdict's data_ready */
} lines[] = {
	{ 6, 1, 147, 192 },
	{ 6, 12, 35, 85 },
};

static bool scan(const char *text, struct kernel_version *out)
{
	int count = sscanf(text, "%4u.%4u.%6u", &out->major, &out->minor, &out->patch);

	out->has_patch = count == 3;
	if (count == 2)
		out->patch = 0;
	return count >= 2;
}

void kernel_version_parse(struct kernel_version *out, const char *release, const char *version,
			  const char *signature)
{
	struct kernel_version v = { 0 };
	const char *debian = strstr(version, "Debian ");
	/* "Ubuntu 5.15.0-91.101-generic 5.15.131" */
	const char *last = signature ? strrchr(signature, ' ') : NULL;
	size_t digits;

	*out = v;
	if ((debian && scan(debian + strlen("Debian "), &v) && v.has_patch) ||
	    (last && scan(last + 1, &v) && v.has_patch)) {
		*out = v;
		return;
	}
	if (!scan(release, &v))
		return;
	digits = strspn(release, "0123456789.");
	/* "6.1.0-18-amd64" counts the builds of a distribution. */
	if (v.patch == 0 && release[digits] != '\0')
		v.has_patch = false;
	*out = v;
}

void kernel_version_read(struct kernel_version *out)
{
	char signature[SIGNATURE_MAX];
	size_t len = small_file_read("/proc/version_signature", signature, sizeof(signature));
	struct utsname u;

	CHECK(uname(&u) == 0);
	kernel_version_parse(out, u.release, u.version, len ? signature : NULL);
}

static enum kernel_verdict judge_line(const struct kernel_version *v, unsigned loses_below, unsigned unsafe_below,
				      struct strbuf *out_why)
{
	if (v->patch < loses_below) {
		strbuf_printf(out_why, "Linux %u.%u.%u loses bytes of spliced sockets: %u.%u.%u or newer is needed",
			      v->major, v->minor, v->patch, v->major, v->minor, loses_below);
		return KERNEL_REFUSED;
	}
	if (v->patch >= unsafe_below)
		return KERNEL_GOOD;
	strbuf_printf(out_why, "Linux %u.%u.%u has CVE-2026-43016 (use after free): update to %u.%u.%u or newer",
		      v->major, v->minor, v->patch, v->major, v->minor, unsafe_below);
	return KERNEL_DOUBTFUL;
}

enum kernel_verdict kernel_version_judge(const struct kernel_version *v, struct strbuf *out_why)
{
	if (v->major == 0) {
		strbuf_add_str(out_why, "the kernel's version is not known");
		return KERNEL_DOUBTFUL;
	}
	if (v->major < MAJOR_MIN || (v->major == MAJOR_MIN && v->minor < MINOR_MIN)) {
		strbuf_printf(out_why, "Linux %u.%u is too old: %d.%d or newer is needed", v->major, v->minor,
			      MAJOR_MIN, MINOR_MIN);
		return KERNEL_REFUSED;
	}
	if (v->major > MAJOR_MIN || v->minor >= MINOR_FIXED)
		return KERNEL_GOOD;
	for (size_t i = 0; i < ARRAY_LEN(lines) && v->has_patch; i++)
		if (lines[i].major == v->major && lines[i].minor == v->minor)
			return judge_line(v, lines[i].loses_below, lines[i].unsafe_below, out_why);
	strbuf_printf(out_why, "it is not known whether this Linux %u.%u has the fixes that spliced sockets need",
		      v->major, v->minor);
	return KERNEL_DOUBTFUL;
}
