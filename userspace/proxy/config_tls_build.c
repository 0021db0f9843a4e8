/* SPDX-License-Identifier: GPL-2.0-only */
/* config_tls_build.c - TLS contexts of the file: found again or made. */
#include "proxy/config_tls_build.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "proxy/config.h"

/* Either servers or clients: counted references. */
struct config_tls_object {
	char *key; /* owned */
	struct tls_server *server, *next_server; /* what serves, and what a build has made that is not published */
	struct tls_client *client, *next_client;
	uint64_t used_in; /* build */
};

void config_tls_registry_init(struct config_tls_registry *r)
{
	*r = (struct config_tls_registry){ .shared = tls_shared_new(0) };
}

static void next_drop(struct config_tls_object *o)
{
	tls_server_put(o->next_server);
	tls_client_put(o->next_client);
	o->next_server = NULL;
	o->next_client = NULL;
}

static void next_take(struct config_tls_object *o)
{
	if (o->next_server) {
		tls_server_put(o->server);
		o->server = o->next_server;
	}
	if (o->next_client) {
		tls_client_put(o->client);
		o->client = o->next_client;
	}
	o->next_server = NULL;
	o->next_client = NULL;
}

static void object_free(struct config_tls_object *o)
{
	next_drop(o);
	tls_server_put(o->server);
	tls_client_put(o->client);
	free(o->key);
	free(o);
}

void config_tls_registry_fini(struct config_tls_registry *r)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&r->objects, &pos, &key, &value))
		object_free(value);
	hmap_fini(&r->objects);
	tls_shared_free(r->shared);
}

void config_tls_registry_begin(struct config_tls_registry *r)
{
	struct span key;
	void *value;
	size_t pos = 0;

	r->build++;
	r->kept_count = 0;
	while (hmap_next(&r->objects, &pos, &key, &value))
		next_drop(value);
}

void config_tls_registry_publish(struct config_tls_registry *r)
{
	struct config_tls_object **unused = mem_array(r->objects.count + 1, sizeof(struct config_tls_object *));
	size_t count = 0, pos = 0;
	struct span key;
	void *value;

	while (hmap_next(&r->objects, &pos, &key, &value)) {
		if (((struct config_tls_object *)value)->used_in != r->build)
			unused[count++] = value;
		else
			next_take(value);
	}
	while (count > 0) {
		struct config_tls_object *o = unused[--count];

		hmap_remove(&r->objects, span_str(o->key));
		object_free(o);
	}
	free(unused);
}

static struct config_tls_object *object_of(struct config_tls_registry *r, const struct strbuf *key)
{
	struct config_tls_object *o = hmap_get(&r->objects, strbuf_span(key));

	if (!o) {
		o = mem_zalloc(sizeof(*o));
		o->key = mem_strndup(key->ptr, key->len);
		hmap_set(&r->objects, span_str(o->key), o);
	}
	o->used_in = r->build;
	return o;
}

/* ---- keys: the settings, one a line ---- */

static void key_text(struct strbuf *key, const char *text)
{
	strbuf_printf(key, "%s\n", text ? text : "-");
}

static void key_strings(struct strbuf *key, const struct schema_strings *list)
{
	strbuf_printf(key, "%zu\n", list->count);
	for (size_t i = 0; i < list->count; i++)
		key_text(key, list->items[i].text);
}

static void server_key(struct strbuf *key, const struct config_listener *l)
{
	const struct config_tls *c = l->tls;

	strbuf_printf(key, "server %d %d %d %d %d %u %d %d %d %d %d\n", l->protocol, c->strict_sni, c->client_auth,
		      c->version_min, c->version_max, c->verify_depth, c->prefers_client_suites, c->has_ocsp_stapling,
		      c->has_resumption, c->has_early_data, c->ktls);
	key_strings(key, &c->cert_files);
	key_strings(key, &c->key_files);
	key_strings(key, &c->cipher_suites);
	key_text(key, c->ca_file);
	key_text(key, c->crl_file);
	key_text(key, c->ocsp_url);
	key_text(key, c->keylog_file);
	for (size_t i = 0; i < c->sni_count; i++) {
		key_strings(key, &c->snis[i].hostnames);
		key_strings(key, &c->snis[i].priority_hostnames);
		key_text(key, c->snis[i].cert_file);
		key_text(key, c->snis[i].key_file);
	}
}

static void client_key(struct strbuf *key, const struct config_upstream *u)
{
	const struct config_upstream_tls *c = u->tls;

	strbuf_printf(key, "client %u %u %d %d %d %d\n", u->http_version.min, u->http_version.max,
		      c->skips_verification, c->version_min, c->version_max, c->has_resumption);
	key_text(key, c->ca_file);
	key_text(key, c->client_cert);
	key_text(key, c->client_key);
}

/* ---- making ---- */

static void lines_report(const struct strbuf *lines, struct schema_pos pos, const char *before,
			 struct diag_item *(*report)(struct diag *d, struct schema_pos pos, const char *fmt, ...),
			 struct diag *d)
{
	struct span rest = strbuf_span(lines), line;

	while (span_next(&rest, '\n', &line))
		if (line.len > 0)
			(void)report(d, pos, "%s" SPAN_FMT, before, SPAN_ARG(line));
}

static void report_give(struct tls_report *r, bool is_kept, struct schema_pos pos, struct diag *d)
{
	if (is_kept)
		lines_report(&r->errors, pos, CONFIG_TLS_KEPT, diag_warning, d);
	else
		lines_report(&r->errors, pos, "", diag_error, d);
	lines_report(&r->warnings, pos, "", diag_warning, d);
	tls_report_fini(r);
}

/* The object could not be made anew: may the one that is there go on? */
static bool is_kept(struct config_tls_registry *r, const struct config_tls_object *o)
{
	if (!r->keeps_old || (!o->server && !o->client))
		return false;
	r->kept_count++;
	return true;
}

static const char *const *texts(const struct schema_strings *list)
{
	const char **items = mem_array(list->count + 1, sizeof(*items));

	for (size_t i = 0; i < list->count; i++)
		items[i] = list->items[i].text;
	return items;
}

static const char *const alpn_both[] = { "h2", "http/1.1" };

static void sni_fill(struct tls_sni_config *to, const struct config_sni *from)
{
	const struct schema_strings *names =
		from->priority_hostnames.count > 0 ? &from->priority_hostnames : &from->hostnames;

	*to = (struct tls_sni_config){
		.pair = { from->cert_file, from->key_file },
		.hostnames = texts(names),
		.hostname_count = names->count,
		.has_priority = from->priority_hostnames.count > 0,
	};
}

static void server_fill(struct tls_server_config *to, const struct config_listener *l, const char *label)
{
	const struct config_tls *c = l->tls;
	struct tls_pair_config *pairs = mem_array(c->cert_files.count + 1, sizeof(*pairs));
	struct tls_sni_config *snis = mem_array(c->sni_count + 1, sizeof(*snis));

	tls_server_config_init(to);
	for (size_t i = 0; i < c->cert_files.count; i++)
		pairs[i] = (struct tls_pair_config){ c->cert_files.items[i].text, c->key_files.items[i].text };
	for (size_t i = 0; i < c->sni_count; i++)
		sni_fill(&snis[i], &c->snis[i]);
	to->label = label;
	to->defaults = pairs;
	to->default_count = c->cert_files.count;
	to->certificates = snis;
	to->certificate_count = c->sni_count;
	to->strict_sni = c->strict_sni;
	/* Not asked for: suites of TLS 1.3 alone then mean TLS 1.3 alone. */
	to->version_min = SCHEMA_HAS(c, version_min) ? c->version_min : TLS_VERSION_DEFAULT;
	to->version_max = c->version_max;
	to->cipher_suites = texts(&c->cipher_suites);
	to->cipher_suite_count = c->cipher_suites.count;
	to->prefer_client = c->prefers_client_suites;
	to->alpn = alpn_both;
	to->alpn_count = l->protocol == CONFIG_PROTOCOL_H2 ? 1 : ARRAY_LEN(alpn_both);
	to->requires_alpn = l->protocol == CONFIG_PROTOCOL_H2;
	to->client_auth = c->client_auth;
	to->ca_file = c->ca_file;
	to->crl_file = c->crl_file;
	to->verify_depth = c->verify_depth;
	to->session_resumption = c->has_resumption;
	to->early_data = c->has_early_data;
	to->kernel_tls = c->ktls == CONFIG_KTLS_AUTO;
	to->ocsp_stapling = c->has_ocsp_stapling;
	to->ocsp_url = c->ocsp_url;
}

static void server_fill_free(struct tls_server_config *c)
{
	for (size_t i = 0; i < c->certificate_count; i++)
		free((void *)(uintptr_t)c->certificates[i].hostnames);
	free((void *)(uintptr_t)c->defaults);
	free((void *)(uintptr_t)c->certificates);
	free((void *)(uintptr_t)c->cipher_suites);
}

/* Answers belong to certificates, whatever the settings around these were. */
static void staples_adopt(struct config_tls_registry *r, struct tls_server *server)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&r->objects, &pos, &key, &value))
		tls_server_adopt_staples(server, ((struct config_tls_object *)value)->server);
}

struct tls_server *config_tls_server(struct config_tls_registry *r, const struct config_listener *c, struct diag *d)
{
	struct tls_server_config settings;
	struct config_tls_object *o;
	struct tls_report report = { 0 };
	struct tls_server *server = NULL;
	struct strbuf key = { 0 }, label = { 0 };
	bool keeps = false;

	server_key(&key, c);
	o = object_of(r, &key);
	strbuf_fini(&key);
	if (o->next_server)
		return tls_server_get(o->next_server);
	if (o->server && !tls_server_files_changed(o->server))
		return tls_server_get(o->server);
	strbuf_printf(&label, "listener \"%s\"", c->id);
	server_fill(&settings, c, label.ptr);
	settings.keylog_file = r->is_serving ? c->tls->keylog_file : NULL;
	if (tls_server_new(&server, &settings, r->shared, &report) == 0) {
		staples_adopt(r, server);
		o->next_server = tls_server_get(server);
	} else if (is_kept(r, o)) {
		keeps = true;
		server = tls_server_get(o->server);
	}
	server_fill_free(&settings);
	strbuf_fini(&label);
	report_give(&report, keeps, c->tls->meta.pos, d);
	return server;
}

struct tls_client *config_tls_client(struct config_tls_registry *r, const struct config_upstream *c, struct diag *d)
{
	struct tls_client_config settings;
	struct config_tls_object *o;
	struct tls_report report = { 0 };
	struct tls_client *client = NULL;
	struct strbuf key = { 0 }, label = { 0 };
	bool keeps = false;

	client_key(&key, c);
	o = object_of(r, &key);
	strbuf_fini(&key);
	if (o->next_client)
		return tls_client_get(o->next_client);
	if (o->client && !tls_client_files_changed(o->client))
		return tls_client_get(o->client);
	strbuf_printf(&label, "upstream \"%s\"", c->id);
	tls_client_config_init(&settings);
	settings.label = label.ptr;
	settings.ca_file = c->tls->ca_file;
	settings.client_cert = c->tls->client_cert;
	settings.client_key = c->tls->client_key;
	settings.insecure_skip_verify = c->tls->skips_verification;
	settings.version_min = c->tls->version_min;
	settings.version_max = c->tls->version_max;
	settings.session_resumption = c->tls->has_resumption;
	if (tls_client_new(&client, &settings, &report) == 0) {
		o->next_client = tls_client_get(client);
	} else if (is_kept(r, o)) {
		keeps = true;
		client = tls_client_get(o->client);
	}
	strbuf_fini(&label);
	report_give(&report, keeps, c->tls->meta.pos, d);
	return client;
}

/* ---- the whole ---- */

bool config_tls_files_changed(const struct config_tls_registry *r)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&r->objects, &pos, &key, &value)) {
		const struct config_tls_object *o = value;

		if ((o->server && tls_server_files_changed(o->server)) ||
		    (o->client && tls_client_files_changed(o->client)))
			return true;
	}
	return false;
}

uint64_t config_tls_files_look(const struct config_tls_registry *r)
{
	struct span key;
	void *value;
	size_t pos = 0;
	uint64_t sum = 0;

	while (hmap_next(&r->objects, &pos, &key, &value)) {
		const struct config_tls_object *o = value;

		sum += o->server ? tls_server_files_look(o->server) : 0;
		sum += o->client ? tls_client_files_look(o->client) : 0;
	}
	return sum;
}

void config_tls_for_each_server(const struct config_tls_registry *r,
				void (*fn)(void *ctx, struct tls_server *server), void *ctx)
{
	struct span key;
	void *value;
	size_t pos = 0;

	while (hmap_next(&r->objects, &pos, &key, &value)) {
		struct config_tls_object *o = value;

		if (o->server)
			fn(ctx, o->server);
	}
}
