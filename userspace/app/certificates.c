/* SPDX-License-Identifier: GPL-2.0-only */
/* certificates.c - what time does to TLS: changed files, ticket keys, the end of certificates. */
#include "app/certificates.h"

#include <stdlib.h>
#include <string.h>

#include "app/audit.h"
#include "app/control.h"
#include "app/staples.h"
#include "app/state.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "observe/log.h"
#include "observe/metrics.h"

#define LOOK_SECS 2
#define RETRY_SECS 60 /* when nothing could be built: too many old generations, say */

struct certificates {
	struct control *control; /* borrowed */
	struct staples *staples; /* owned; NULL: names cannot be resolved */
	uint64_t ticks;
	uint64_t seen;	   /* config_tls_files_look() of the look before */
	uint64_t failed;   /* ... of the files that were wrong; 0: none */
	uint64_t said;	   /* hash of the errors that were logged last; 0: none */
	uint64_t retry_at; /* tick; 0: when the files change */
	unsigned unstapled; /* certificates that demand a staple and had none at the last look */
};

static int64_t now_secs(void)
{
	return (int64_t)(clock_wall_ns() / 1000000000);
}

/* ---- must-staple ---- */

struct unstapled {
	unsigned count;
	bool is_told;
};

static void certificate_unstapled(void *ctx, const struct tls_certificate *c)
{
	struct unstapled *u = ctx;

	if (!c->is_must_staple || (c->staple && ocsp_staple_until(c->staple, now_secs()) > 0))
		return;
	u->count++;
	if (u->is_told)
		log_warn("certificates: %s in %s demands an OCSP staple and has none: clients may refuse it until an "
			 "answer comes",
			 c->subject, c->cert_file);
}

static void server_unstapled(void *ctx, struct tls_server *server)
{
	tls_server_for_each_certificate(server, certificate_unstapled, ctx);
}

/* is_new: certificates that nobody was told of may be among them. */
static void unstapled_look(struct certificates *t, bool is_new)
{
	const struct config_tls_registry *r = &t->control->registry.tls;
	struct unstapled u = { 0 }, told = { .is_told = true };

	config_tls_for_each_server(r, server_unstapled, &u);
	if (u.count > (is_new ? 0 : t->unstapled))
		config_tls_for_each_server(r, server_unstapled, &told);
	t->unstapled = u.count;
	metric_set(t->control->metrics, METRIC_TLS_MUST_STAPLE_MISSING, u.count);
}

void certificates_changed(struct certificates *t)
{
	if (t->staples)
		staples_tick(t->staples); /* what was kept is stapled from the first handshake on */
	unstapled_look(t, true);
}

/* ---- the beginning and the end ---- */

struct certificates *certificates_new(struct control *c)
{
	struct certificates *t = mem_zalloc(sizeof(*t));
	const char *folder;

	t->control = c;
	folder = state_folder(&c->current->config->system, &c->current->arena);
	t->staples = staples_new(c->loop, &c->registry.tls, folder, c->metrics);
	certificates_changed(t);
	return t;
}

void certificates_free(struct certificates *t)
{
	if (!t)
		return;
	staples_free(t->staples);
	free(t);
}

static void refresh_failed(struct certificates *t, const struct strbuf *errors)
{
	uint64_t hash = hash_bytes(errors->ptr, errors->len) | 1;
	struct span rest = strbuf_span(errors), line;
	bool has_reason = false;

	t->failed = t->seen;
	if (hash == t->said)
		return;
	t->said = hash;
	while (span_next(&rest, '\n', &line)) {
		if (!memmem(line.ptr, line.len, " error: ", 8) &&
		    !memmem(line.ptr, line.len, CONFIG_TLS_KEPT, strlen(CONFIG_TLS_KEPT)))
			continue;
		log_error("certificates: " SPAN_FMT, SPAN_ARG(line));
		has_reason = true;
	}
	if (!has_reason) /* not the files' fault */
		log_error("certificates: changed files are not loaded yet: " SPAN_FMT,
			  SPAN_ARG(span_chomp(strbuf_span(errors))));
	audit_event(t->control->audit, "config_change", "certificates_failed", errors->ptr);
}

static void refresh(struct certificates *t)
{
	struct strbuf errors = { 0 };
	bool is_done;

	strbuf_init(&errors);
	is_done = control_refresh(t->control, &errors);
	t->retry_at = is_done ? 0 : t->ticks + RETRY_SECS;
	if (is_done && t->control->registry.tls.kept_count == 0) {
		t->said = 0;
		t->failed = 0;
		log_info("certificates: loaded again; generation %llu serves",
			 (unsigned long long)t->control->generation);
		audit_event(t->control->audit, "config_change", "certificates_loaded", NULL);
	} else {
		refresh_failed(t, &errors);
	}
	strbuf_fini(&errors);
}

static void look(struct certificates *t)
{
	const struct config_tls_registry *r = &t->control->registry.tls;
	uint64_t before = t->seen;

	t->seen = config_tls_files_look(r);
	if (t->seen != before || !config_tls_files_changed(r))
		return; /* the writer may be between two files */
	if (t->seen != t->failed || (t->retry_at > 0 && t->ticks >= t->retry_at))
		refresh(t);
}

static void soonest(void *ctx, const struct tls_certificate *c)
{
	int64_t *end = ctx;

	if (*end == 0 || c->not_after < *end)
		*end = c->not_after;
}

static void server_soonest(void *ctx, struct tls_server *server)
{
	tls_server_for_each_certificate(server, soonest, ctx);
}

void certificates_tick(struct certificates *t)
{
	struct control *c = t->control;
	int64_t end = 0;

	if (tls_shared_tick(c->registry.tls.shared, clock_mono_ns()))
		log_info("tls: new ticket keys");
	if (++t->ticks % LOOK_SECS == 0)
		look(t);
	if (t->staples)
		staples_tick(t->staples);
	unstapled_look(t, false);
	config_tls_for_each_server(&c->registry.tls, server_soonest, &end);
	metric_set(c->metrics, METRIC_TLS_CERTIFICATE_EXPIRY, end > 0 ? (uint64_t)end : 0);
}

/* ---- what all TLS servers count together ---- */

void certificates_collect(const struct control *c)
{
	static const char *const events[] = { "issued", "accepted", "refused" };
	struct tls_shared_stats stats;
	uint64_t tickets[ARRAY_LEN(events)];

	tls_shared_stats(c->registry.tls.shared, &stats);
	tickets[0] = stats.tickets_issued;
	tickets[1] = stats.tickets_read;
	tickets[2] = stats.tickets_refused;
	for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
		const struct span label = span_str(events[i]);

		metric_cell_set(metric_cell(c->metrics, METRIC_TLS_TICKETS_TOTAL, &label), tickets[i]);
	}
	for (unsigned i = 0; i < TLS_REPLAY_VERDICT_COUNT; i++) {
		const struct span label = span_str(tls_replay_verdict_name(i));

		metric_cell_set(metric_cell(c->metrics, METRIC_TLS_EARLY_DATA_TOTAL, &label), stats.early_data[i]);
	}
}

static void counts_text(const struct control *c, struct strbuf *out)
{
	struct tls_shared_stats stats;
	uint64_t refused = 0;

	tls_shared_stats(c->registry.tls.shared, &stats);
	for (unsigned i = 0; i < TLS_REPLAY_VERDICT_COUNT; i++)
		refused += i == TLS_REPLAY_FRESH ? 0 : stats.early_data[i];
	strbuf_printf(out, "tls           tickets: %llu issued, %llu accepted, %llu refused; early data: %llu taken, "
		      "%llu refused\n",
		      (unsigned long long)stats.tickets_issued, (unsigned long long)stats.tickets_read,
		      (unsigned long long)stats.tickets_refused,
		      (unsigned long long)stats.early_data[TLS_REPLAY_FRESH], (unsigned long long)refused);
}

static void counts_json(const struct control *c, struct json *j)
{
	struct tls_shared_stats stats;

	tls_shared_stats(c->registry.tls.shared, &stats);
	json_object(j, "tls");
	json_u64(j, "tickets_issued", stats.tickets_issued);
	json_u64(j, "tickets_accepted", stats.tickets_read);
	json_u64(j, "tickets_refused", stats.tickets_refused);
	json_object(j, "early_data");
	for (unsigned i = 0; i < TLS_REPLAY_VERDICT_COUNT; i++)
		json_u64(j, tls_replay_verdict_name(i), stats.early_data[i]);
	json_end(j, '}');
	json_end(j, '}');
}

/* ---- status ---- */

static void server_text(void *ctx, struct tls_server *server)
{
	struct strbuf lines = { 0 };
	struct span rest, line;

	tls_server_describe(server, &lines);
	rest = strbuf_span(&lines);
	while (span_next(&rest, '\n', &line))
		if (line.len > 0)
			strbuf_printf(ctx, "certificate   " SPAN_FMT "\n", SPAN_ARG(line));
	strbuf_fini(&lines);
}

void certificates_text(const struct control *c, struct strbuf *out)
{
	size_t before = out->len;

	config_tls_for_each_server(&c->registry.tls, server_text, out);
	if (out->len > before)
		counts_text(c, out);
}

static void certificate_json(void *ctx, const struct tls_certificate *c)
{
	struct json *j = ctx;
	char text[32];

	json_object(j, NULL);
	json_str(j, "subject", c->subject);
	json_str(j, "issuer", c->issuer);
	json_str(j, "key", tls_key_kind_name(c->kind));
	json_u64(j, "bits", c->key_bits);
	json_span(j, "until", span_of(text, clock_rfc3339((uint64_t)MAX(c->not_after, 0) * 1000000000, text)));
	json_str(j, "fingerprint", c->fingerprint);
	json_str(j, "file", c->cert_file);
	json_array(j, "names");
	for (size_t i = 0; i < c->name_count; i++)
		json_str(j, NULL, c->names[i]);
	json_end(j, ']');
	json_bool(j, "stapled", c->staple && ocsp_staple_until(c->staple, now_secs()) > 0);
	json_end(j, '}');
}

static void server_json(void *ctx, struct tls_server *server)
{
	tls_server_for_each_certificate(server, certificate_json, ctx);
}

void certificates_json(const struct control *c, struct json *j)
{
	json_array(j, "certificates");
	config_tls_for_each_server(&c->registry.tls, server_json, j);
	json_end(j, ']');
	counts_json(c, j);
}
