/* SPDX-License-Identifier: GPL-2.0-only */
/* geo.c - filter: refuse or mark requests by the country, or the network, of the client. */
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "geo/file.h"
#include "observe/log.h"
#include "proxy/exchange.h"
#include "proxy/filter.h"
#include "proxy/geo_words.h"
#include "proxy/refusal.h"
#include "proxy/worker.h"
#include "schema/schema.h"

#define HEADER SPAN("X-GeoIP-Country")
#define ASNS_MAX 10000

enum action {
	ACTION_BLOCK,
	ACTION_ALLOW,
	ACTION_LOG_ONLY,
};

enum on_failure {
	ON_FAILURE_OPEN,
	ON_FAILURE_CLOSED,
};

enum verdict {
	VERDICT_ADMITTED,
	VERDICT_REFUSED,
	VERDICT_LOGGED,	 /* it would have been refused */
	VERDICT_FAILED,	 /* nobody could tell, and it was admitted */
	VERDICT_FAILED_CLOSED,
	VERDICT_COUNT,
};

struct geo_config {
	struct schema_meta meta;
	const char *database;
	enum geo_format format; /* if it was written; else by the file's name */
	enum action action;
	struct schema_strings countries, asns;
	enum on_failure on_failure;
	uint32_t status;
	const char *message;
	uint64_t cache_ttl_ms;
	bool adds_header;

	/* Made by check(). */
	struct geo_file *file; /* one reference of the snapshot's arena */
	geo_country *country_list;
	size_t country_count;
	uint32_t *asn_list; /* in order */
	size_t asn_count;
};

struct geo_worker {
	struct metric_cell *cells[VERDICT_COUNT];
};

static const struct schema_word format_words[] = {
	{ "maxmind", GEO_FORMAT_MAXMIND, .aliases = "mmdb", .help = "`.mmdb`, country or city" },
	{ "ip2location", GEO_FORMAT_IP2LOCATION, .help = "`.BIN`" },
	{ NULL },
};

static const struct schema_word action_words[] = {
	{ "block", ACTION_BLOCK, .aliases = "deny", .help = "refuse those that are listed" },
	{ "allow", ACTION_ALLOW,
	  .help = "refuse all but those that are listed, unknown ones too; an empty list allows all" },
	{ "log-only", ACTION_LOG_ONLY, .help = "as block, but only say so" },
	{ NULL },
};

static const struct schema_word failure_words[] = {
	{ "open", ON_FAILURE_OPEN, .help = "let the request pass" },
	{ "closed", ON_FAILURE_CLOSED, .help = "refuse it" },
	{ NULL },
};

#define GEO struct geo_config

static const struct schema_row rows[] = {
	ROW_PATH(GEO, database, "database-path", NULL,
		 "The database.  It is read when the configuration is loaded, and again by itself when the file "
		 "changes; a new one that is damaged is not used.",
		 .flags = SCHEMA_REQUIRED),
	ROW_ENUM(GEO, format, "database-type", format_words, NULL,
		 "Its format.  Without the key by the name: `.mmdb` is `maxmind`, all others `ip2location`."),
	ROW_ENUM(GEO, action, "action", action_words, "block", "What is done with the countries that are listed."),
	ROW_STRINGS(GEO, countries, "countries", NULL,
		    "Countries by their two letters (ISO 3166-1), separated by commas or as several values."),
	ROW_STRINGS(GEO, asns, "asn", NULL,
		    "Autonomous systems by number (`64500` or `AS64500`), listed as countries are.  The database must "
		    "have them."),
	ROW_ENUM(GEO, on_failure, "on-failure", failure_words, "open",
		 "What happens when nobody can tell: the look-up fails, or the client has no IP address."),
	ROW_UINT(GEO, status, "status-code", 400, 599, "403", "Status of a refusal."),
	ROW_STRING(GEO, message, "block-message", "Access denied", "Its text."),
	ROW_DURATION(GEO, cache_ttl_ms, "cache-ttl-secs", SCHEMA_SECONDS, 0, 365 * SCHEMA_DAY, "3600",
		     "Known for the sake of old files: a look-up costs less than a cache of them, and is always "
		     "current."),
	ROW_BOOL(GEO, adds_header, "add-country-header", "#false",
		 "Send `X-GeoIP-Country` to the origin if the country is known.  One that the client sent is removed."),
	ROW_END,
};

/* ---- from the configuration ---- */

static bool asn_read(struct span text, uint32_t *out_asn)
{
	uint64_t n;

	if (span_starts(text, SPAN("AS")) || span_starts(text, SPAN("as")))
		text = span_skip(text, 2);
	if (!span_to_u64(text, &n) || n == 0 || n > UINT32_MAX)
		return false;
	*out_asn = (uint32_t)n;
	return true;
}

static int asn_compare(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return left < right ? -1 : left > right;
}

static void asns_read(struct schema *s, GEO *c)
{
	size_t size = 0;
	struct span word;

	for (size_t i = 0; i < c->asns.count; i++) {
		struct span rest = span_str(c->asns.items[i].text);

		for (size_t k = 0; k < rest.len; k++)
			size += rest.ptr[k] == ',';
		size++;
	}
	if (size > ASNS_MAX) {
		diag_error(s->diag, SCHEMA_POS(c, asns), "more than %d numbers", ASNS_MAX);
		return;
	}
	c->asn_list = arena_array(s->arena, size + 1, sizeof(*c->asn_list));
	for (size_t i = 0; i < c->asns.count; i++) {
		struct span rest = span_str(c->asns.items[i].text);

		while (span_next(&rest, ',', &word))
			if (asn_read(span_trim(word), &c->asn_list[c->asn_count]))
				c->asn_count++;
			else
				diag_error(s->diag, c->asns.items[i].pos,
					   "\"" SPAN_FMT "\" is not the number of an autonomous system",
					   SPAN_ARG(word));
	}
	qsort(c->asn_list, c->asn_count, sizeof(*c->asn_list), asn_compare);
}

static void file_open(struct schema *s, GEO *c)
{
	if (!SCHEMA_HAS(c, format))
		c->format = geo_words_format(c->database);
	c->file = geo_words_open(s, c->database, c->format, SCHEMA_POS(c, database));
	if (c->file && c->asn_count && !geo_words_has_asn(c->file))
		diag_error(s->diag, SCHEMA_POS(c, asns), "%s knows no autonomous systems", c->database);
}

static void check(struct schema *s, void *config)
{
	GEO *c = config;

	c->country_list = geo_words_countries(s, &c->countries, &c->country_count);
	asns_read(s, c);
	if (c->database)
		file_open(s, c);
	if (c->action == ACTION_ALLOW && c->country_count + c->asn_count == 0)
		diag_warning(s->diag, c->meta.pos, "an empty list allows everybody");
	if (c->action == ACTION_BLOCK && c->country_count + c->asn_count == 0 && !c->adds_header)
		diag_warning(s->diag, c->meta.pos, "nothing is listed, so nothing is refused");
	if (SCHEMA_HAS(c, cache_ttl_ms))
		diag_warning(s->diag, SCHEMA_POS(c, cache_ttl_ms),
			     "`cache-ttl-secs` has no effect: every look-up is made in the present database");
}

/* ---- one request ---- */

static bool is_listed(const GEO *c, const struct geo_place *p)
{
	for (size_t i = 0; i < c->country_count && p->country; i++)
		if (c->country_list[i] == p->country)
			return true;
	return p->asn && c->asn_count &&
	       bsearch(&p->asn, c->asn_list, c->asn_count, sizeof(*c->asn_list), asn_compare);
}

static enum verdict judge(const GEO *c, const struct geo_place *p)
{
	bool is_in = is_listed(c, p);

	switch (c->action) {
	case ACTION_BLOCK:
		return is_in ? VERDICT_REFUSED : VERDICT_ADMITTED;
	case ACTION_LOG_ONLY:
		return is_in ? VERDICT_LOGGED : VERDICT_ADMITTED;
	case ACTION_ALLOW:
		break;
	}
	return is_in || c->country_count + c->asn_count == 0 ? VERDICT_ADMITTED : VERDICT_REFUSED;
}

static enum verdict place_of(const GEO *c, const struct addr *client, struct geo_place *out_place)
{
	uint8_t ip[16];

	if (!addr_to_ip16(client, ip) || geo_file_find(c->file, ip, out_place) < 0)
		return c->on_failure == ON_FAILURE_OPEN ? VERDICT_FAILED : VERDICT_FAILED_CLOSED;
	return judge(c, out_place);
}

static enum verdict look_up(struct exchange *x, const GEO *c)
{
	struct geo_place place = { 0 };
	enum verdict v = place_of(c, &x->client_addr, &place);

	if (place.country)
		(void)geo_country_text(place.country, x->country);
	return v;
}

static void count(struct exchange *x, const struct filter_use *u, enum verdict v)
{
	static const char *const names[VERDICT_COUNT] = { "admitted", "refused", "logged", "failed", "failed_closed" };
	struct geo_worker *gw = filter_worker_state(x, u);
	const struct span country = span_str(x->country[0] ? x->country : "--");

	if (unlikely(!gw->cells[v])) {
		const struct span labels[] = { span_str(u->id), span_str(names[v]) };

		gw->cells[v] = metric_cell(x->worker->metrics, METRIC_GEO_REQUESTS_TOTAL, labels);
	}
	metric_cell_add(gw->cells[v], 1);
	if (v == VERDICT_REFUSED || v == VERDICT_LOGGED)
		metric_cell_add(metric_cell(x->worker->metrics, METRIC_GEO_REFUSED_TOTAL, &country), 1);
}

/* Nobody may bring one of his own.  (What Connection names is gone already.) */
static void header_set(struct exchange *x)
{
	struct headers *h = &x->request->headers;

	(void)headers_remove_alike(h, HEADER);
	if (x->country[0])
		headers_add_name(h, HEADER, span_str(x->country));
}

static enum filter_verdict refuse(struct exchange *x, const struct filter_use *u, bool is_known)
{
	const GEO *c = u->config;

	if (is_known)
		refusal_report(x, "geo", 0, 0);
	if (x->worker->audit)
		x->worker->audit(x->worker, &x->client_addr, "blocked", "geo", x->country[0] ? x->country : "--");
	x->failure_status = c->status;
	x->failure_text = c->message;
	exchange_fail(x, FAIL_GEO_BLOCKED, span_str(u->id));
	return FILTER_FAIL;
}

static enum filter_verdict on_request(struct exchange *x, const struct filter_use *u)
{
	const GEO *c = u->config;
	enum verdict v;

	x->country[0] = '\0'; /* each filter has its own database */
	v = look_up(x, c);
	count(x, u, v);
	if (v == VERDICT_REFUSED || v == VERDICT_FAILED_CLOSED)
		return refuse(x, u, v == VERDICT_REFUSED);
	if (v == VERDICT_LOGGED)
		log_debug(SPAN_FMT " geo: filter \"%s\" would refuse " SPAN_FMT " from %s", SPAN_ARG(x->request_id),
			  u->id, SPAN_ARG(x->client_ip), x->country);
	if (c->adds_header)
		header_set(x);
	return FILTER_NEXT;
}

static void explain(const void *config, const struct addr *client, struct strbuf *out)
{
	static const char *const texts[VERDICT_COUNT] = { "let through", "refused", "let through, and said so",
							  "let through", "refused" };
	const GEO *c = config;
	struct geo_place place = { 0 };
	enum verdict v = place_of(c, client, &place);
	char text[3];

	strbuf_printf(out, "country %s", geo_country_text(place.country, text));
	if (place.asn)
		strbuf_printf(out, ", AS%u", place.asn);
	strbuf_printf(out, "%s: %s", v >= VERDICT_FAILED ? ", nobody can tell" : "", texts[v]);
	if (v == VERDICT_REFUSED || v == VERDICT_FAILED_CLOSED)
		strbuf_printf(out, " with %u", c->status);
}

const struct filter filter_geo = {
	.name = "geo",
	.help = "Refuse requests by the country of the client, or tell it to the origin.",
	.rows = rows,
	.config_size = sizeof(GEO),
	.worker_size = sizeof(struct geo_worker),
	.check = check,
	.explain = explain,
	.on_request = on_request,
};
