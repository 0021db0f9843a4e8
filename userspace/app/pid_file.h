/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pid_file.h - the file with the number of the process.  Its descriptor stays open, so that the number can be changed
 * without the rights that made it.  Control thread.
 */
#ifndef SN_APP_PID_FILE_H
#define SN_APP_PID_FILE_H

struct pid_file {
	char *path; /* owned; NULL: there is none */
	int fd;		  /* owned */
};

/*
 * 0 or -errno; path NULL: nothing.  It is locked as long as its descriptor is open, here or where that was handed to:
 * -EWOULDBLOCK, another process has it, *out_owner by its number (0: the file does not tell).
 */
int pid_file_open(struct pid_file *p, const char *path, int *out_owner);
void pid_file_adopt(struct pid_file *p, const char *path, int fd);
int pid_file_write(struct pid_file *p); /* our number; 0 or -errno */
/* It belongs to another process now. */
void pid_file_leave(struct pid_file *p);
void pid_file_remove(struct pid_file *p);

#endif
