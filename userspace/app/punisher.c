/* SPDX-License-Identifier: GPL-2.0-only */
/* punisher.c - automatic bans: who is spared, how long they last, and what is said of them. */
#include "app/punisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app/audit.h"
#include "app/control.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/addr.h"
#include "observe/log.h"
#include "proxy/config.h"
#include "schema/value.h"

#define MS 1000000ull
#define BITS_OF_BAN6 64

void punisher_init(struct punisher *p, struct control *c)
{
	*p = (struct punisher){ .control = c, .escalation = escalation_new() };
}

void punisher_fini(struct punisher *p)
{
	escalation_free(p->escalation);
	p->escalation = NULL;
}

static const struct config_ban *config_of(const struct punisher *p)
{
	return p->control->current->config->kernel.ban;
}

void punisher_apply(struct punisher *p)
{
	const struct config_ban *config = config_of(p);
	struct escalation_policy policy = { 0 };

	if (config)
		policy = (struct escalation_policy){ .after = config->after,
						     .within_ns = config->within_ms * MS,
						     .per_second = config->per_second };
	escalation_set(p->escalation, config ? &policy : NULL);
	/* Without a policy those that are over go, and those that hold end when they were to end. */
	bans_remember(fastpath_bans(p->control->guard.fastpath), config ? config->max_ms * MS : 0);
}

/* ---- who is spared ---- */

/* Would a ban of ip hit an address of the network?  A ban in IPv6 is one of the whole /64. */
static bool ban_hits(const uint8_t ip[16], const struct prefix *network)
{
	uint8_t first[16] = { 0 };

	if (ip16_is_v4(ip) || network->len <= BITS_OF_BAN6)
		return prefix_contains(network, ip);
	memcpy(first, network->ip, BITS_OF_BAN6 / 8);
	return memcmp(first, ip, BITS_OF_BAN6 / 8) == 0;
}

static bool is_in(const uint8_t ip[16], const struct prefix *networks, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (ban_hits(ip, &networks[i]))
			return true;
	return false;
}

static bool is_of_endpoint(const uint8_t ip[16], struct endpoint *e)
{
	struct prefix host = { .len = 128 };
	bool is_hit = false;

	pthread_mutex_lock(&e->lock);
	for (unsigned i = 0; i < atomic_load(&e->addr_count) && !is_hit; i++)
		is_hit = addr_to_ip16(&e->addrs[i], host.ip) && ban_hits(ip, &host);
	pthread_mutex_unlock(&e->lock);
	return is_hit;
}

bool punisher_is_allowed(const struct punisher *p, const uint8_t ip[16])
{
	struct rules_verdict v = rules_judge(p->control->rules->rules, NULL, ip, clock_boot_ns());

	return v.rule && v.reason == SN_DROP_NONE;
}

static bool is_spared(const struct punisher *p, const uint8_t ip[16])
{
	const struct snapshot *s = p->control->current;

	if (punisher_is_allowed(p, ip))
		return true;
	for (unsigned i = 0; i < s->listener_count; i++) {
		const struct listener *l = &s->listeners[i];

		if (is_in(ip, l->trusted_proxies, l->trusted_proxy_count) ||
		    is_in(ip, l->server.proxy_protocol_from, l->server.proxy_protocol_from_count))
			return true;
	}
	for (unsigned i = 0; i < s->upstream_count; i++)
		for (unsigned e = 0; e < s->upstreams[i].endpoint_count; e++)
			if (is_of_endpoint(ip, s->upstreams[i].endpoints[e]))
				return true;
	return false;
}

/* ---- bans ---- */

struct reset {
	uint8_t ip[16];
};

static void reset_run(void *ctx, struct proxy_worker *w)
{
	(void)server_reset_client(&w->host, ((struct reset *)ctx)->ip);
}

static void reset_ask(struct worker *w, const uint8_t ip[16])
{
	struct reset *r = mem_zalloc(sizeof(*r));

	memcpy(r->ip, ip, sizeof(r->ip));
	worker_ask(w, reset_run, free, r);
}

void punisher_reset(struct punisher *p, const uint8_t ip[16])
{
	for (unsigned i = 0; p->control->workers && i < p->control->worker_count && !punisher_is_allowed(p, ip); i++)
		reset_ask(p->control->workers[i], ip);
}

static void ban(struct punisher *p, const struct addr *client, const uint8_t ip[16], uint16_t why)
{
	static struct log_limit limit = { .interval_ns = 1000000000ull };
	struct control *c = p->control;
	const struct config_ban *config = config_of(p);
	const struct bans_policy policy = { .first_ns = config->for_ms * MS, .max_ns = config->max_ms * MS };
	struct bans *bans = fastpath_bans(c->guard.fastpath);
	uint64_t now = clock_boot_ns(), until;
	int err = bans_punish(bans, ip, now, &policy, why);
	char text[ADDR_TEXT_MAX], time[VALUE_TEXT_MAX];

	if (err == -EALREADY)
		return;
	text[addr_format_ip(client, text)] = '\0';
	if (err == -ENOSPC) {
		if (log_every(&limit, clock_mono_ns()))
			log_warn("%s is not banned: %u sources are, all by hand", text, SN_BLOCK_MAX);
		return;
	}
	p->bans++;
	metric_set(c->metrics, METRIC_AUTOMATIC_BANS_TOTAL, p->bans);
	until = bans_until(bans, ip);
	value_duration_text(time, until > now ? (until - now) / MS : 0);
	audit_refused(c->audit, client, "banned", bans_why_name(why), time);
	if (log_every(&limit, clock_mono_ns()))
		log_info("%s is banned for %s: refused too often (%s)", text, time, bans_why_name(why));
	punisher_reset(p, ip);
}

void punisher_punish(struct punisher *p, const struct addr *client, const char *reason, bool is_named,
		     enum escalation_verdict verdict)
{
	static struct log_limit limit = { .interval_ns = 1000000000ull };
	uint8_t ip[16];
	char text[ADDR_TEXT_MAX];

	/* A reload may have come between. */
	if (!config_of(p) || p->control->state != CONTROL_RUNNING || !addr_to_ip16(client, ip))
		return;
	if (verdict == ESCALATION_SHARED) {
		text[addr_format_ip(client, text)] = '\0';
		if (log_every(&limit, clock_mono_ns()))
			log_warn("%s is refused often (%s), but others seem to come from there too: a shared address?"
				 "  It is not banned",
				 text, reason);
		audit_refused(p->control->audit, client, "shared_address", reason, NULL);
		return;
	}
	if (is_spared(p, ip)) {
		p->spared++;
		return;
	}
	ban(p, client, ip, (uint16_t)(bans_why_of(reason) | (is_named ? SN_BAN_NAMED : 0)));
}
