/* SPDX-License-Identifier: GPL-2.0-only */
/* upgrade_spawn.c - starts the new process of a binary upgrade: a sister with our rights, without our descriptors. */
#include "app/upgrade_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

#define STACK_BYTES (64 * 1024)
#define CAPABILITIES_MAX 64

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

void upgrade_program_init(struct upgrade_program *p, const char *config)
{
	char exe[4096];
	ssize_t len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	/* A link that points to one version today is asked again tomorrow. */
	if (strchr(program_invocation_name, '/') && is_same_file(program_invocation_name, "/proc/self/exe"))
		p->path = mem_strdup(program_invocation_name);
	else if (len > 0)
		p->path = mem_strndup(exe, (size_t)len);
	p->config = mem_strdup(config);
	p->folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* ---- between clone and exec ---- */

struct birth {
	const char *path;
	char **argv, **envp;
	int folder, channel, errors;
	bool passes_rights; /* we are not root, so exec would take our capabilities */
};

/*
 * Memory is the parent's and the parent's thread sleeps: only bare system calls, and nothing that a sanitizer would
 * keep books of.
 */
#define BARE __attribute__((no_sanitize("address", "thread", "undefined")))

BARE static void rights_pass(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 }, { 0 } };

	if (syscall(SYS_capget, &header, data) < 0)
		return;
	data[0].inheritable = data[0].permitted;
	data[1].inheritable = data[1].permitted;
	if (syscall(SYS_capset, &header, data) < 0)
		return;
	for (unsigned cap = 0; cap < CAPABILITIES_MAX; cap++)
		if (data[cap / 32].permitted & (1u << cap % 32))
			(void)syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
}

BARE static int birth_run(void *arg)
{
	static const char words[] = "it cannot be executed: ";
	const struct birth *b = arg;
	const uint64_t no_signal = 0;
	const char *reason;

	if (b->folder >= 0)
		(void)syscall(SYS_fchdir, b->folder);
	if (b->passes_rights)
		rights_pass();
	(void)syscall(SYS_dup3, b->errors, STDERR_FILENO, 0);
	if (b->channel == UPGRADE_FD)
		(void)syscall(SYS_fcntl, UPGRADE_FD, F_SETFD, 0);
	else
		(void)syscall(SYS_dup3, b->channel, UPGRADE_FD, 0);
	(void)syscall(SYS_close_range, UPGRADE_FD + 1, ~0U, 0);
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signal, NULL, sizeof(no_signal));
	(void)syscall(SYS_execve, b->path, b->argv, b->envp);
	reason = strerrordesc_np(errno);
	(void)syscall(SYS_write, STDERR_FILENO, words, sizeof(words) - 1);
	(void)syscall(SYS_write, STDERR_FILENO, reason, strlen(reason));
	(void)syscall(SYS_write, STDERR_FILENO, "\n", 1);
	(void)syscall(SYS_exit_group, 127);
	return 127;
}

/* ---- before it ---- */

/* The environment with our variable; only the array is a copy. */
static char **environment_make(char *ours)
{
	size_t n = 0, used = 0;
	char **copy;

	while (environ[n])
		n++;
	copy = mem_array(n + 2, sizeof(*copy));
	for (size_t i = 0; i < n; i++)
		if (strncmp(environ[i], UPGRADE_ENV "=", sizeof(UPGRADE_ENV)) != 0)
			copy[used++] = environ[i];
	copy[used] = ours;
	return copy;
}

/* clone() by the name that no sanitizer catches: theirs takes every child for a copy of the memory. */
int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);

static pid_t birth_give(struct birth *b, int *out_pidfd)
{
	char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t all, old;
	pid_t pid;
	int err;

	CHECK(stack != MAP_FAILED);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	pid = __clone(birth_run, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | CLONE_PARENT | CLONE_PIDFD, b,
		      out_pidfd);
	err = errno;
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)munmap(stack, STACK_BYTES);
	return pid < 0 ? -err : pid;
}

int upgrade_spawn(const struct upgrade_program *p, int channel, int errors, pid_t *out_pid, int *out_pidfd,
		  struct strbuf *out_why)
{
	char run[] = "run", option[] = "-c", ours[sizeof(UPGRADE_ENV) + 16];
	char *argv[] = { p->path, run, option, p->config, NULL };
	struct birth b = {
		.path = p->path,
		.argv = argv,
		.folder = p->folder,
		.channel = channel,
		.errors = errors,
		.passes_rights = geteuid() != 0,
	};
	pid_t pid;

	if (!p->path) {
		strbuf_add_str(out_why, "where the program is cannot be told: /proc is not there\n");
		return -ENOENT;
	}
	if (getpid() == 1) {
		strbuf_add_str(out_why, "this is process 1 of its PID namespace, whose end would end the new process "
					"as well: start the daemon below an init (`docker run --init`)\n");
		return -EPERM;
	}
	(void)snprintf(ours, sizeof(ours), "%s=%d", UPGRADE_ENV, UPGRADE_FD);
	b.envp = environment_make(ours);
	pid = birth_give(&b, out_pidfd);
	free(b.envp);
	if (pid < 0) {
		strbuf_printf(out_why, "no process can be started: %s\n", strerror(-pid));
		return pid;
	}
	*out_pid = pid;
	return 0;
}

void upgrade_kill(int pidfd)
{
	(void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}
