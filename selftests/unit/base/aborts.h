/* SPDX-License-Identifier: GPL-2.0-only */
/* aborts.h - run something that must fail a CHECK, in a child. */
#ifndef SN_UNIT_ABORTS_H
#define SN_UNIT_ABORTS_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* How a child that runs fn ended: the status of waitpid(2).  0: it returned. */
static inline int child_status(void (*fn)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
		(void)dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		fn();
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	return status;
}

static inline bool aborts(void (*fn)(void))
{
	int status = child_status(fn);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

#endif
