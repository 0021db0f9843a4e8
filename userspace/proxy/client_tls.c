/* SPDX-License-Identifier: GPL-2.0-only */
/* client_tls.c - 421, 425, and what origins are told of the client's TLS. */
#include "proxy/client_tls.h"

#include "net/tls_context.h"
#include "net/tlsio.h"
#include "proxy/config.h"
#include "proxy/snapshot.h"

static void field_set(struct exchange *x, const char *name, struct span value)
{
	if (value.len > 0)
		headers_set_name(&x->request->headers, span_str(name), arena_span(x->arena, value));
}

void client_tls_clean(const struct exchange *x, struct headers *fields)
{
	const struct snapshot *s = x->pin->snapshot;

	for (unsigned i = 0; i < s->client_field_count; i++)
		headers_remove_alike(fields, s->client_fields[i]);
}

static void fields_tell(struct exchange *x, const struct tlsio *tls)
{
	const struct config_client_fields *f = x->listener->client_fields;
	struct tls_peer peer;

	if (!tlsio_peer_identity(tls, &peer)) {
		field_set(x, f->verified, SPAN("NONE"));
		return;
	}
	field_set(x, f->verified, SPAN("SUCCESS"));
	field_set(x, f->subject, peer.subject);
	field_set(x, f->fingerprint, peer.fingerprint);
	field_set(x, f->names, peer.names);
	tls_peer_fini(&peer);
}

enum failure client_tls_apply(struct exchange *x)
{
	const struct tlsio *tls = stream_tls(http_stream_transport(x->client));

	x->scheme = tls ? SPAN("https") : SPAN("http");
	x->tls_version = tls ? tlsio_version(tls) : "";
	x->tls_cipher = tls ? tlsio_cipher(tls) : "";
	/* A trusted proxy may have verified the client itself, where we do not. */
	if (!x->is_client_trusted_hop || (x->listener && x->listener->client_fields))
		client_tls_clean(x, &x->request->headers);
	if (!tls)
		return FAIL_NONE;
	if (x->host.len > 0 && tlsio_server(tls) &&
	    !tls_server_names_share_certificate(tlsio_server(tls), tlsio_server_name(tls), x->host))
		return FAIL_MISDIRECTED;
	if (x->client->is_early) {
		if (!method_is_safe(x->request->method))
			return FAIL_TOO_EARLY;
		headers_set_name(&x->request->headers, SPAN("Early-Data"), SPAN("1"));
	}
	if (x->listener && x->listener->client_fields)
		fields_tell(x, tls);
	return FAIL_NONE;
}
