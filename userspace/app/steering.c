/* SPDX-License-Identifier: GPL-2.0-only */
/* steering.c - new connections go to the worker that has the fewest. */
#include "app/steering.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "observe/log.h"
#include "sentinel/steer.h"

void steering_open(struct steering *s, unsigned worker_count)
{
	struct strbuf why = { 0 };

	*s = (struct steering){ .worker_count = worker_count };
	if (worker_count < 2) {
		(void)snprintf(s->why, sizeof(s->why), "there is one worker");
		return;
	}
	strbuf_init(&why);
	if (worker_count > SN_STEER_WORKERS_MAX)
		strbuf_printf(&why, "there are more than %d workers", SN_STEER_WORKERS_MAX);
	else
		s->steer = steer_open(worker_count, &why);
	if (!s->steer) {
		(void)snprintf(s->why, sizeof(s->why), "%s", why.ptr);
		log_info("new connections go to workers by the kernel's hash: %s", s->why);
	}
	strbuf_fini(&why);
}

void steering_close(struct steering *s)
{
	steer_close(s->steer);
	s->steer = NULL;
}

void steering_add(struct steering *s, const struct addr *addr, const int *fds)
{
	char text[ADDR_TEXT_MAX];
	int err;

	if (!s->steer)
		return;
	err = steer_add(s->steer, addr, fds);
	if (err == 0)
		return;
	addr_format(addr, text);
	(void)snprintf(s->why, sizeof(s->why), "%s: %s", text, err_name(err));
	log_info("new connections go to workers by the kernel's hash: %s", s->why);
}

void steering_remove(struct steering *s, const struct addr *addr)
{
	steer_remove(s->steer, addr);
}

void steering_text(const struct steering *s, struct strbuf *out)
{
	if (!s->steer) {
		strbuf_printf(out, "steering      new connections go to workers by the kernel's hash: %s\n", s->why);
		return;
	}
	strbuf_add_str(out, "steering      new connections go to workers by load; now they have");
	for (unsigned i = 0; i < s->worker_count; i++)
		strbuf_printf(out, " %llu", (unsigned long long)steer_live(s->steer, i));
	strbuf_add_char(out, '\n');
	if (s->why[0])
		strbuf_printf(out, "              but by the kernel's hash: %s\n", s->why);
}

void steering_json(const struct steering *s, struct json *j)
{
	json_object(j, "steering");
	json_bool(j, "on", s->steer != NULL);
	json_str(j, "reason", s->why[0] ? s->why : NULL);
	json_array(j, "connections");
	for (unsigned i = 0; s->steer && i < s->worker_count; i++)
		json_u64(j, NULL, steer_live(s->steer, i));
	json_end(j, ']');
	json_end(j, '}');
}
