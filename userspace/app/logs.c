/* SPDX-License-Identifier: GPL-2.0-only */
/* logs.c - where the logs go. */
#include "app/logs.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/audit.h"
#include "observe/log.h"
#include "observe/logfile.h"
#include "proxy/access_log.h"

_Static_assert((int)CONFIG_LOG_DEBUG == LOG_LEVEL_DEBUG && (int)CONFIG_LOG_ERROR == LOG_LEVEL_ERROR,
	       "words of the configuration");

#define ROOT_FOLDER "/var/log/sentinel/"

/* ROOT_FOLDER for root, else the user's state folder; NULL: there is none. */
static const char *default_path(const char *name, struct arena *a)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (privilege_was_root())
		return arena_printf(a, ROOT_FOLDER "%s", name);
	if (state && state[0] == '/')
		return arena_printf(a, "%s/sentinel/%s", state, name);
	if (home && home[0] == '/' && home[1])
		return arena_printf(a, "%s/.local/state/sentinel/%s", home, name);
	return NULL;
}

/* Can it be written?  Creates it. */
static int file_try(const char *path)
{
	struct logfile f;
	int err = logfile_open(&f, path, LOGFILE_BUFFER_BYTES);

	if (err == 0)
		logfile_close(&f);
	return err;
}

/* *path is what is written, or NULL for the default; NULL afterwards: off. */
static int log_prepare(const char **path, const char *key, const char *name, struct arena *a, struct strbuf *out)
{
	bool is_default = !*path;
	char why[PRIVILEGE_ERR_MAX];
	int err;

	if (is_default)
		*path = default_path(name, a);
	if (!*path) {
		strbuf_printf(out, "warning: no %s is written: there is no home folder for it; set its file\n", key);
		return 0;
	}
	err = file_try(*path);
	if (err == 0)
		return 0;
	strbuf_printf(out, "%s%s %s cannot be opened: %s%s\n", is_default ? "warning: " : "", key, *path,
		      privilege_err_text(err, why), is_default ? "; none is written" : "");
	*path = NULL;
	return is_default ? 0 : err;
}

int logs_prepare(struct snapshot *s, struct strbuf *out)
{
	/* the snapshot is not published yet: it is still ours to complete */
	struct config_logging *l = (struct config_logging *)(uintptr_t)&s->config->observability.logging;
	struct access_log_settings *access = (struct access_log_settings *)(uintptr_t)s->access_log;
	char why[PRIVILEGE_ERR_MAX];
	int err;

	if (access) {
		err = log_prepare(&access->file, "access-log", "access.log", &s->arena, out);
		if (err < 0)
			return err;
		if (!access->file)
			s->access_log = NULL;
	}
	if (schema_is_present(&l->audit.meta) && l->audit.is_enabled) {
		err = log_prepare(&l->audit.file, "audit-log", "audit.log", &s->arena, out);
		if (err < 0)
			return err;
	}
	if (!l->error.is_enabled || !l->error.file)
		return 0;
	err = file_try(l->error.file);
	if (err < 0)
		strbuf_printf(out, "error-log %s cannot be opened: %s\n", l->error.file, privilege_err_text(err, why));
	return err;
}

static void file_own(const char *path, const struct identity *id)
{
	if (path && chown(path, id->uid, id->gid) < 0)
		log_warn("%s cannot be given to the daemon's user: %s", path, strerror(errno));
}

/* With the default folder, in which it is to make new files when logs are rotated. */
static void log_own(const char *path, const struct identity *id)
{
	if (path && strncmp(path, ROOT_FOLDER, strlen(ROOT_FOLDER)) == 0)
		file_own(ROOT_FOLDER, id);
	file_own(path, id);
}

void logs_own(const struct snapshot *s, const struct identity *id)
{
	const struct config_logging *l = &s->config->observability.logging;

	if (s->access_log)
		log_own(s->access_log->file, id);
	if (schema_is_present(&l->audit.meta) && l->audit.is_enabled)
		log_own(l->audit.file, id);
	if (l->error.is_enabled)
		log_own(l->error.file, id);
}

void logs_apply(struct control *c)
{
	const struct config_logging *l = &c->current->config->observability.logging;
	bool has_file = l->error.is_enabled && l->error.file;
	int err;

	log_init(STDERR_FILENO, has_file ? (enum log_level)l->error.level : (enum log_level)l->level,
		 l->format == CONFIG_LOG_JSON ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
	err = has_file ? log_reopen(l->error.file) : 0;
	if (err < 0)
		log_error("error-log %s cannot be opened: %s", l->error.file, strerror(-err));
	audit_close(c->audit);
	c->audit = NULL;
	if (!schema_is_present(&l->audit.meta) || !l->audit.is_enabled || !l->audit.file)
		return;
	c->audit = audit_open(&l->audit, l->audit.file, &err);
	if (err < 0)
		log_error("audit-log %s cannot be opened: %s", l->audit.file, strerror(-err));
}

void logs_reopen(struct control *c)
{
	const struct config_log *error = &c->current->config->observability.logging.error;
	int err = error->is_enabled && error->file ? log_reopen(error->file) : 0;

	logfile_reopen_all();
	audit_flush(c->audit, UINT64_MAX);
	log_info("log files were opened again");
	if (err < 0)
		log_error("error-log %s cannot be opened: %s", error->file, strerror(-err));
}
