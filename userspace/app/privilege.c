/* SPDX-License-Identifier: GPL-2.0-only */
/* privilege.c - user, group and capabilities, by the bare system calls: libcap would be one more library. */
#include "app/privilege.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"

static const unsigned kept[] = {
	CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH,
};

#define WAS_ROOT_ENV "SENTINEL_WAS_ROOT"
#define CAP_BIT(cap) (1ull << (cap))

static uint64_t kept_mask(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		mask |= CAP_BIT(kept[i]);
	return mask;
}

static uint64_t permitted(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data) < 0)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

/* Of the calling thread only: the system call knows threads, the process does not. */
static int capabilities_set(uint64_t mask)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = (uint32_t)mask, .permitted = (uint32_t)mask },
		{ .effective = (uint32_t)(mask >> 32), .permitted = (uint32_t)(mask >> 32) },
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

int identity_find(struct identity *out, const char *user, const char *group)
{
	struct identity id = { .uid = geteuid(), .gid = getegid() };
	const struct passwd *pw;
	const struct group *gr;

	if (user) {
		pw = getpwnam(user);
		if (!pw)
			return -ENOENT;
		id.uid = pw->pw_uid;
		id.gid = pw->pw_gid;
		(void)snprintf(id.name, sizeof(id.name), "%s", user);
	}
	if (group) {
		gr = getgrnam(group);
		if (!gr)
			return -ENOENT;
		id.gid = gr->gr_gid;
	}
	if (geteuid() != 0 && (id.uid != geteuid() || id.gid != getegid()))
		return -EPERM;
	*out = id;
	return 0;
}

static void bounding_set_shrink(uint64_t mask)
{
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (!(mask & CAP_BIT(cap)))
			(void)prctl(PR_CAPBSET_DROP, cap);
}

bool privilege_was_root(void)
{
	return geteuid() == 0 || getenv(WAS_ROOT_ENV);
}

int privilege_become(const struct identity *id)
{
	uint64_t mask = permitted() & kept_mask();
	bool is_change = id && (id->uid != geteuid() || id->gid != getegid());

	if (permitted() == 0)
		return 0; /* nothing to give up */
	/* IPC_LOCK: rings of an upgrade that root starts are no more counted by ulimit -l than ours are. */
	bounding_set_shrink(kept_mask() | CAP_BIT(CAP_IPC_LOCK));
	if (!is_change)
		return 0;
	if (geteuid() == 0 && setenv(WAS_ROOT_ENV, "1", 1) < 0)
		return -errno;
	if (prctl(PR_SET_KEEPCAPS, 1) < 0)
		return -errno;
	if ((id->name[0] ? initgroups(id->name, id->gid) : setgroups(1, &id->gid)) < 0)
		return -errno;
	if (setgid(id->gid) < 0 || setuid(id->uid) < 0)
		return -errno;
	return capabilities_set(mask);
}

const char *privilege_err_text(int err, char buf[PRIVILEGE_ERR_MAX])
{
	if (err == -EACCES)
		(void)snprintf(buf, PRIVILEGE_ERR_MAX, "%s to user %u", strerror(-err), geteuid());
	else
		(void)snprintf(buf, PRIVILEGE_ERR_MAX, "%s", strerror(-err));
	return buf;
}

void privilege_drop_thread(void)
{
	int err = permitted() ? capabilities_set(0) : 0;

	CHECK(err == 0); /* giving up is never refused */
}

size_t privilege_raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
		(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur;
}
