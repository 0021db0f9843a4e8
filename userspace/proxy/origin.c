/* SPDX-License-Identifier: GPL-2.0-only */
/* origin.c - what a request's connection to its target is like: protocol, TLS, deadlines, bounds, PROXY header. */
#include "proxy/origin.h"

#include "base/check.h"
#include "net/proxy_protocol.h"
#include "net/tlsio.h"
#include "proxy/settings.h"
#include "proxy/snapshot.h"

/* ---- the PROXY header ---- */

/* The first attribute of an RFC 2253 name, if it is the common name and needs no unescaping. */
static struct span common_name(struct span subject)
{
	struct span cn;

	if (!span_starts(subject, SPAN("CN=")))
		return SPAN("");
	cn = span_skip(subject, 3);
	cn.len = span_find(cn, ',');
	return span_find(cn, '\\') == cn.len ? cn : SPAN("");
}

static void tell_tls(struct exchange *x, const struct tlsio *tls, struct proxy_header *h)
{
	struct tls_peer peer;

	h->has_tls = true;
	h->alpn = tlsio_alpn(tls);
	h->authority = tlsio_server_name(tls);
	h->tls.client = PROXY_TLS_USED;
	h->tls.verify = 1;
	h->tls.version = span_str(tlsio_version(tls));
	h->tls.cipher = span_str(tlsio_cipher(tls));
	if (!tlsio_peer_identity(tls, &peer))
		return;
	h->tls.client |= PROXY_TLS_CERT_SESSION | (tlsio_is_resumed(tls) ? 0 : PROXY_TLS_CERT_CONNECTION);
	h->tls.verify = 0;
	h->tls.cn = arena_span(x->arena, common_name(peer.subject));
	tls_peer_fini(&peer);
}

static struct span proxy_preface(struct exchange *x, unsigned version)
{
	struct proxy_header h = { .version = version };
	struct stream *client = x->client ? http_stream_transport(x->client) : NULL;
	char *buf = arena_alloc(x->arena, PROXY_PROTOCOL_V2_MAX);
	struct tlsio *tls;
	size_t len = 0;

	if (client && stream_local(client, &h.destination) == 0) {
		h.has_addresses = true;
		h.source = x->peer;
		tls = stream_tls(client);
		if (version == 2 && tls)
			tell_tls(x, tls, &h);
		else if (version == 2 && x->request->is_raw)
			h.authority = x->request->authority;
	}
	if (proxy_protocol_write(&h, buf, PROXY_PROTOCOL_V2_MAX, &len) == 0)
		return span_of(buf, len);
	/* A text of the client's that cannot stand there is left out with the others. */
	h.alpn = h.authority = h.tls.cn = SPAN("");
	CHECK(proxy_protocol_write(&h, buf, PROXY_PROTOCOL_V2_MAX, &len) == 0);
	return span_of(buf, len);
}

/* ---- the connection ---- */

/* A bound of the whole process: every worker has its part, rounded up. */
static unsigned share_of(const struct exchange *x, unsigned total)
{
	unsigned workers = x->pin->snapshot->worker_count;

	return (total + workers - 1) / workers;
}

static enum client_protocol protocol_of(const struct upstream_connection_settings *c, const struct message *request)
{
	if (request->is_raw)
		return CLIENT_RAW;
	if (c->http == UPSTREAM_HTTP2)
		return CLIENT_HTTP2;
	/* Any HTTP/1 server may know how to switch, few HTTP/2 servers do (RFC 8441). */
	return c->http == UPSTREAM_HTTP1 || request->upgrade.len > 0 ? CLIENT_HTTP1 : CLIENT_AUTO;
}

void origin_settings(struct exchange *x, const struct message *request, const struct endpoint *e,
		     struct client_settings *out)
{
	const struct upstream *u = x->route->upstream;
	const struct upstream_connection_settings *c = &u->connection;

	*out = (struct client_settings){
		.protocol = protocol_of(c, request),
		.tls = c->tls,
		.tls_host = c->tls_name.len > 0 ? c->tls_name : span_str(e->host),
		.connect_timeout_ms = x->connect_timeout_ms ? x->connect_timeout_ms : u->timeouts.connect_ms,
		.read_timeout_ms = x->upstream_timeout_ms ? x->upstream_timeout_ms : u->timeouts.read_ms,
		.write_timeout_ms = u->timeouts.write_ms,
		.idle_timeout_ms = u->pool.idle_timeout_ms,
		.max_lifetime_ms = u->pool.max_lifetime_ms,
		.max_requests = u->pool.max_requests,
		.max_idle = share_of(x, u->pool.max_idle),
		.max_connections = MAX(1U, share_of(x, u->pool.max_connections)),
		.h2_streams_max = c->h2_streams_max,
		.h2_ping_interval_ms = c->h2_ping_interval_ms,
	};
	if (!c->proxy_protocol)
		return;
	if (x->proxy_preface.len == 0)
		x->proxy_preface = proxy_preface(x, c->proxy_protocol);
	out->preface = x->proxy_preface;
}
