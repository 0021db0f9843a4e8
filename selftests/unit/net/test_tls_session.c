/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_session.c - tickets over reloads and rotations, what they are bound to, early data once, client sessions. */
#include "tls_pki.h"

#include "base/check.h"
#include "base/clock.h"

static struct pki ca, ca2, leaf, leaf2, user;
static struct tls_pair_config pair, pair2, user_pair;
static const char *ca_file, *ca2_file;
static struct tls_shared *shared;
static SSL_CTX *any;
static SSL_SESSION *kept; /* the newest that `any` got */
static time_t ahead; /* of the wall clock, for OpenSSL too */

time_t time(time_t *out)
{
	struct timespec now;
	time_t sec;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	sec = now.tv_sec + ahead;
	if (out)
		*out = sec;
	return sec;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	(void)ssl;
	SSL_SESSION_free(kept);
	kept = session;
	return 1;
}

static int setup(void **state)
{
	(void)state;
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true });
	ca2 = pki_make((struct pki_spec){ .name = "Second CA", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "one", .issuer = &ca, .san = "DNS:one.example" });
	leaf2 = pki_make((struct pki_spec){ .name = "two", .issuer = &ca, .san = "DNS:two.example" });
	user = pki_make((struct pki_spec){ .name = "user", .issuer = &ca });
	pair = pki_write("one", &leaf, &ca);
	pair2 = pki_write("two", &leaf2, &ca);
	user_pair = pki_write("user", &user, NULL);
	ca_file = pki_write_cert("ca.pem", &ca, NULL);
	ca2_file = pki_write_cert("ca2.pem", &ca2, NULL);
	shared = tls_shared_new(0);
	any = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(any, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(any, on_session);
	assert_int_equal(SSL_CTX_use_certificate_file(any, user_pair.cert_file, SSL_FILETYPE_PEM), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(any, user_pair.key_file, SSL_FILETYPE_PEM), 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	SSL_SESSION_free(kept);
	tls_shared_free(shared);
	SSL_CTX_free(any);
	pki_free(&ca);
	pki_free(&ca2);
	pki_free(&leaf);
	pki_free(&leaf2);
	pki_free(&user);
	pki_end();
	return 0;
}

static struct tls_server_config config_of(const struct tls_pair_config *p)
{
	struct tls_server_config c;

	tls_server_config_init(&c);
	c.defaults = p;
	c.default_count = 1;
	return c;
}

/* Connect with `session` (NULL: none); is it resumed?  The newest session is in `kept` after that. */
static bool resumes(struct tls_server *s, const char *sni, SSL_SESSION *session, int version)
{
	struct tls_link l = link_new(any_client(any, sni), tls_server_ssl(s));
	bool is_reused;

	SSL_set_max_proto_version(l.client, version);
	if (session) {
		SSL_SESSION *copy = SSL_SESSION_dup(session);

		assert_int_equal(SSL_set_session(l.client, copy), 1);
		SSL_SESSION_free(copy);
	}
	link_run(&l);
	if (!l.is_up)
		fail_msg("client %s, server %s", tls_failure_name(l.client_failure),
			 tls_failure_name(l.server_failure));
	if (version == TLS1_2_VERSION) { /* no callback for a renewed ticket */
		SSL_SESSION_free(kept);
		kept = SSL_get1_session(l.client);
	}
	is_reused = SSL_session_reused(l.server);
	assert_int_equal(is_reused, SSL_session_reused(l.client));
	link_free(&l);
	return is_reused;
}

static SSL_SESSION *session_from(struct tls_server *s, const char *sni, int version)
{
	assert_false(resumes(s, sni, NULL, version));
	assert_non_null(kept);
	SSL_SESSION_up_ref(kept);
	return kept;
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

static void test_resumption_over_reload_and_rotation(void **state)
{
	struct tls_server_config c = config_of(&pair);

	(void)state;
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		struct tls_server *s = server_make(&c, shared), *next = server_make(&c, shared);
		SSL_SESSION *first = session_from(s, "one.example", versions[v]), *renewed;

		tls_server_put(s);
		assert_true(resumes(next, "one.example", first, versions[v]));
		tls_shared_rotate(shared, clock_mono_ns());
		assert_true(resumes(next, "one.example", first, versions[v]));
		renewed = kept;
		assert_ptr_not_equal(renewed, first); /* a ticket of the new key came */
		SSL_SESSION_up_ref(renewed);
		tls_shared_rotate(shared, clock_mono_ns());
		assert_false(resumes(next, "one.example", first, versions[v]));
		assert_true(resumes(next, "one.example", renewed, versions[v]));
		SSL_SESSION_free(first);
		SSL_SESSION_free(renewed);
		tls_server_put(next);
	}
}

static void test_renewed_certificate_keeps_sessions(void **state)
{
	struct tls_pair_config p = pki_write("renewed", &leaf, &ca);
	struct tls_server_config c = config_of(&p);
	struct tls_server *s = server_make(&c, shared);
	SSL_SESSION *session = session_from(s, "one.example", TLS1_3_VERSION);
	struct pki renewed = pki_make((struct pki_spec){ .name = "one", .issuer = &ca, .san = "DNS:one.example" });
	struct pki another = pki_make((struct pki_spec){ .name = "one", .issuer = &ca, .san = "DNS:else.example" });

	(void)state;
	tls_server_put(s);
	p = pki_write("renewed", &renewed, &ca);
	s = server_make(&c, shared);
	assert_true(resumes(s, "one.example", session, TLS1_3_VERSION));
	tls_server_put(s);
	p = pki_write("renewed", &another, &ca);
	s = server_make(&c, shared);
	assert_false(resumes(s, "one.example", session, TLS1_3_VERSION));
	tls_server_put(s);
	SSL_SESSION_free(session);
	pki_free(&renewed);
	pki_free(&another);
}

static void test_ticket_of_another_name_is_refused(void **state)
{
	const struct tls_sni_config sni[] = { { .pair = pair2 } };
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s;

	(void)state;
	c.certificates = sni;
	c.certificate_count = 1;
	s = server_make(&c, shared);
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		SSL_SESSION *session = session_from(s, "two.example", versions[v]);

		assert_true(resumes(s, "two.example", session, versions[v]));
		assert_false(resumes(s, "one.example", session, versions[v]));
		SSL_SESSION_free(session);
	}
	tls_server_put(s);
}

static void test_ticket_is_bound_to_client_auth(void **state)
{
	struct tls_server_config open_config = config_of(&pair), c = config_of(&pair);
	struct tls_server *open_server = server_make(&open_config, shared), *mtls, *lists;
	const char *crl;

	(void)state;
	c.client_auth = TLS_CLIENT_AUTH_REQUIRED;
	c.ca_file = ca_file;
	mtls = server_make(&c, shared);
	crl = pki_write_crl("binding.crl", &ca, NULL, 10 * DAY);
	c.crl_file = crl;
	lists = server_make(&c, shared);
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		SSL_SESSION *plain = session_from(open_server, "one.example", versions[v]);
		SSL_SESSION *known = session_from(mtls, "one.example", versions[v]);

		assert_true(resumes(open_server, "one.example", plain, versions[v]));
		assert_false(resumes(mtls, "one.example", plain, versions[v]));
		assert_true(resumes(mtls, "one.example", known, versions[v]));
		assert_false(resumes(open_server, "one.example", known, versions[v]));
		assert_false(resumes(lists, "one.example", known, versions[v]));
		SSL_SESSION_free(plain);
		SSL_SESSION_free(known);
	}
	tls_server_put(open_server);
	tls_server_put(mtls);
	tls_server_put(lists);
}

/* Nobody is asked for a certificate when a session is resumed: one without must not open the door. */
static void test_ticket_of_optional_is_refused_by_required(void **state)
{
	struct tls_server_config c = config_of(&pair);
	struct tls_server *optional, *required;
	SSL_CTX *nobody = SSL_CTX_new(TLS_client_method());
	struct tls_link l;

	(void)state;
	c.client_auth = TLS_CLIENT_AUTH_OPTIONAL;
	c.ca_file = ca_file;
	optional = server_make(&c, shared);
	c.client_auth = TLS_CLIENT_AUTH_REQUIRED;
	required = server_make(&c, shared);
	SSL_CTX_set_session_cache_mode(nobody, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(nobody, on_session);
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		for (unsigned i = 0; i < 2; i++) {
			l = link_new(any_client(nobody, NULL), tls_server_ssl(i ? required : optional));
			SSL_set_max_proto_version(l.client, versions[v]);
			if (i)
				assert_int_equal(SSL_set_session(l.client, kept), 1);
			link_run(&l);
			assert_int_equal(l.is_up, i == 0);
			assert_int_equal(l.server_failure, i ? TLS_FAILURE_NO_CERTIFICATE : TLS_FAILURE_NONE);
			link_free(&l);
		}
	}
	SSL_CTX_free(nobody);
	tls_server_put(optional);
	tls_server_put(required);
}

static void test_resumed_client_keeps_its_identity(void **state)
{
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s;
	SSL_SESSION *session;

	(void)state;
	c.client_auth = TLS_CLIENT_AUTH_REQUIRED;
	c.ca_file = ca_file;
	s = server_make(&c, shared);
	session = session_from(s, NULL, TLS1_3_VERSION);
	for (unsigned i = 0; i < 2; i++) {
		struct tls_link l = link_new(any_client(any, NULL), tls_server_ssl(s));
		struct tls_peer peer;

		if (i == 1)
			SSL_set_session(l.client, session);
		link_run(&l);
		assert_int_equal(SSL_session_reused(l.server), i);
		assert_true(tls_peer_identity(l.server, &peer));
		assert_true(span_eq(peer.subject, SPAN("CN=user")));
		tls_peer_fini(&peer);
		link_free(&l);
	}
	SSL_SESSION_free(session);
	tls_server_put(s);
}

static void test_client_that_expired_is_not_resumed(void **state)
{
	struct pki brief = pki_make((struct pki_spec){ .name = "brief", .issuer = &ca, .from = -DAY, .until = 600 });
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct tls_link l;
	SSL_SESSION *session;

	(void)state;
	c.client_auth = TLS_CLIENT_AUTH_OPTIONAL;
	c.ca_file = ca_file;
	s = server_make(&c, shared);
	SSL_CTX_use_certificate(ctx, brief.x);
	SSL_CTX_use_PrivateKey(ctx, brief.key);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, on_session);
	l = link_new(any_client(ctx, NULL), tls_server_ssl(s));
	link_run(&l);
	assert_true(l.is_up);
	link_free(&l);
	session = kept;
	SSL_SESSION_up_ref(session);
	assert_true(resumes(s, NULL, session, TLS1_3_VERSION));
	ahead = 601;
	assert_false(resumes(s, NULL, session, TLS1_3_VERSION));
	ahead = 0;
	SSL_SESSION_free(session);
	SSL_CTX_free(ctx);
	tls_server_put(s);
	pki_free(&brief);
}

static void test_no_tickets_without_resumption(void **state)
{
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s;

	(void)state;
	c.session_resumption = false;
	s = server_make(&c, shared);
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		SSL_SESSION_free(kept);
		kept = NULL;
		assert_false(resumes(s, NULL, NULL, versions[v]));
		if (kept)
			assert_false(resumes(s, NULL, kept, versions[v]));
	}
	tls_server_put(s);
}

/* --- early data --- */

static const char early_text[] = "GET / HTTP/1.1\r\n\r\n";

/* Sends early data with the session; what came early is in the link. */
static struct tls_link early_run(struct tls_server *s, SSL_SESSION *session, char *record, size_t *record_len)
{
	struct tls_link l = link_new(any_client(any, "one.example"), tls_server_ssl(s));
	SSL_SESSION *copy = SSL_SESSION_dup(session); /* OpenSSL's client uses one only once, others need not */
	size_t written = 0;
	int n;

	assert_int_equal(SSL_set_session(l.client, copy), 1);
	SSL_SESSION_free(copy);
	assert_int_equal(SSL_write_early_data(l.client, early_text, sizeof(early_text) - 1, &written), 1);
	if (record) {
		/* What the client has sent so far, as somebody on the path sees it; put back for the server. */
		SSL *server = l.server;
		BIO *network = SSL_get_rbio(server);

		n = BIO_read(network, record, (int)*record_len);
		assert_true(n > 0);
		*record_len = (size_t)n;
		assert_int_equal(BIO_write(SSL_get_wbio(l.client), record, n), n);
	}
	link_run(&l);
	return l;
}

static struct tls_shared_stats stats_of(struct tls_shared *from)
{
	struct tls_shared_stats stats;

	tls_shared_stats(from, &stats);
	return stats;
}

static void test_early_data_is_taken_once(void **state)
{
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s, *reloaded;
	SSL_SESSION *session;
	struct tls_link l;
	char record[8192];
	size_t record_len = sizeof(record), n;
	char buf[64];

	(void)state;
	c.early_data = true;
	s = server_make(&c, shared);
	reloaded = server_make(&c, shared);
	assert_true(tls_server_has_early_data(s));
	session = session_from(s, "one.example", TLS1_3_VERSION);
	assert_int_equal(SSL_SESSION_get_max_early_data(session), TLS_EARLY_DATA_BYTES_MAX);

	l = early_run(reloaded, session, record, &record_len);
	assert_true(l.is_up);
	assert_int_equal(SSL_get_early_data_status(l.server), SSL_EARLY_DATA_ACCEPTED);
	assert_int_equal(l.early_len, sizeof(early_text) - 1);
	assert_memory_equal(l.early, early_text, l.early_len);
	link_free(&l);
	assert_int_equal(stats_of(shared).early_data[TLS_REPLAY_FRESH], 1);

	/* The same bytes again, at both servers: a handshake, but no early data. */
	for (unsigned i = 0; i < 2; i++) {
		l = link_new(any_client(any, "one.example"), tls_server_ssl(i ? s : reloaded));
		assert_int_equal(BIO_write(SSL_get_wbio(l.client), record, (int)record_len), record_len);
		assert_int_not_equal(SSL_read_early_data(l.server, buf, sizeof(buf), &n), SSL_READ_EARLY_DATA_SUCCESS);
		assert_int_equal(SSL_get_early_data_status(l.server), SSL_EARLY_DATA_REJECTED);
		assert_int_equal(stats_of(shared).early_data[TLS_REPLAY_SEEN], i + 1);
		ERR_clear_error();
		link_free(&l);
	}

	/* The ticket itself may be used again by its owner: another hello. */
	l = early_run(s, session, NULL, NULL);
	assert_true(l.is_up);
	assert_int_equal(l.early_len, sizeof(early_text) - 1);
	link_free(&l);
	SSL_SESSION_free(session);
	tls_server_put(s);
	tls_server_put(reloaded);
}

static void test_early_data_is_refused_when_the_filter_is_full(void **state)
{
	struct tls_shared *small = tls_shared_new(16);
	struct tls_server_config c = config_of(&pair);
	struct tls_server *s;
	SSL_SESSION *session;
	unsigned taken = 0;

	(void)state;
	c.early_data = true;
	s = server_make(&c, small);
	session = session_from(s, "one.example", TLS1_3_VERSION);
	for (unsigned i = 0; i < 20; i++) {
		struct tls_link l = early_run(s, session, NULL, NULL);

		assert_true(l.is_up);
		assert_true(SSL_session_reused(l.server));
		taken += l.early_len > 0;
		link_free(&l);
	}
	assert_int_equal(taken, 16);
	assert_int_equal(stats_of(small).early_data[TLS_REPLAY_FULL], 4);
	SSL_SESSION_free(session);
	tls_server_put(s);
	tls_shared_free(small);
}

static void test_early_data_waits_for_what_another_process_has_seen(void **state)
{
	struct tls_shared *before = tls_shared_new(16), *after = tls_shared_new(16);
	struct tls_server_config c = config_of(&pair);
	uint64_t now = (uint64_t)time(NULL);
	struct tls_ticket_keys keys;
	struct tls_server *s[2];
	SSL_SESSION *session;

	(void)state;
	c.early_data = true;
	s[0] = server_make(&c, before);
	s[1] = server_make(&c, after);
	session = session_from(s[0], "one.example", TLS1_3_VERSION);
	tls_shared_give_tickets(before, &keys);
	assert_int_equal(tls_shared_take_tickets(after, &keys, clock_mono_ns(), now), 0);
	for (unsigned i = 0; i < 4; i++) {
		struct tls_link l;
		bool takes = i >= 2;

		if (i == 2)
			tls_shared_keep_tickets(before);
		if (i == 3) /* long ago */
			assert_int_equal(tls_shared_take_tickets(after, &keys, clock_mono_ns(),
								 now - TLS_REPLAY_SECS - 2), 0);
		l = early_run(s[i % 2], session, NULL, NULL);
		assert_true(l.is_up);
		assert_true(SSL_session_reused(l.server));
		assert_int_equal(l.early_len, takes ? sizeof(early_text) - 1 : 0);
		link_free(&l);
	}
	assert_int_equal(stats_of(before).early_data[TLS_REPLAY_UPGRADE], 1);
	assert_int_equal(stats_of(after).early_data[TLS_REPLAY_UPGRADE], 1);
	SSL_SESSION_free(session);
	tls_server_put(s[0]);
	tls_server_put(s[1]);
	tls_shared_free(before);
	tls_shared_free(after);
}

static void test_early_data_is_off_by_default(void **state)
{
	struct tls_server_config c = config_of(&pair), early = config_of(&pair);
	struct tls_server *s = server_make(&c, shared), *other;
	SSL_SESSION *session = session_from(s, "one.example", TLS1_3_VERSION);
	struct tls_link l;

	(void)state;
	assert_false(tls_server_has_early_data(s));
	assert_int_equal(SSL_SESSION_get_max_early_data(session), 0);
	SSL_SESSION_free(session);

	/* A ticket from when it was on: the data is skipped, the handshake goes on. */
	early.early_data = true;
	other = server_make(&early, shared);
	session = session_from(other, "one.example", TLS1_3_VERSION);
	l = early_run(s, session, NULL, NULL);
	assert_true(l.is_up);
	assert_int_equal(l.early_len, 0);
	assert_int_equal(SSL_get_early_data_status(l.server), SSL_EARLY_DATA_REJECTED);
	link_free(&l);
	SSL_SESSION_free(session);
	tls_server_put(s);
	tls_server_put(other);
}

/* --- our own client --- */

static void connect_with(struct tls_client *client, struct tls_server *s, const char *host,
			 struct tls_session_cache *cache, bool is_expected_reused)
{
	struct tls_link l = link_new(tls_client_ssl(client, span_str(host), cache), tls_server_ssl(s));

	link_run(&l);
	if (!l.is_up)
		fail_msg("%s %s", tls_failure_name(l.client_failure), l.client_detail.ptr);
	if (SSL_session_reused(l.client) != is_expected_reused)
		fail_msg("%s by %s: %s", host, SSL_get_version(l.client), is_expected_reused ? "not reused" : "reused");
	link_free(&l);
}

static void test_client_reuses_sessions(void **state)
{
	struct tls_session_cache cache = { 0 };
	struct tls_server_config c = config_of(&pair);
	struct tls_client_config cc;
	const struct tls_sni_config sni[] = { { .pair = pair2 } };
	struct tls_client *client, *other;
	struct tls_server *s;
	uint64_t offered;

	(void)state;
	c.certificates = sni;
	c.certificate_count = 1;
	tls_client_config_init(&cc);
	cc.ca_file = ca_file;
	for (unsigned v = 0; v < ARRAY_LEN(versions); v++) {
		c.version_max = v ? TLS_VERSION_13 : TLS_VERSION_12;
		s = server_make(&c, shared);
		client = client_make(&cc);
		other = client_make(&cc);
		connect_with(client, s, "one.example", &cache, false);
		for (unsigned i = 0; i < 6; i++)
			connect_with(client, s, "one.example", &cache, true);
		assert_true(cache.count >= 1 && cache.count <= TLS_SESSION_CACHE_MAX);
		connect_with(client, s, "one.example", NULL, false);
		offered = cache.offered;
		connect_with(client, s, "two.example", &cache, false); /* another host */
		assert_int_equal(cache.offered, offered);
		connect_with(client, s, "two.example", &cache, true);
		connect_with(other, s, "two.example", &cache, false); /* other trust */
		assert_int_equal(cache.offered, offered + 1);
		tls_client_put(client);
		tls_client_put(other);
		cc.session_resumption = false;
		client = client_make(&cc);
		connect_with(client, s, "one.example", &cache, false);
		connect_with(client, s, "one.example", &cache, false);
		cc.session_resumption = true;
		tls_client_put(client);
		tls_server_put(s);
		tls_session_cache_fini(&cache);
	}
}

/* A ticket that comes late is its own client's: what that one trusted says nothing about another's trust. */
static void test_late_tickets_stay_with_their_client(void **state)
{
	struct tls_session_cache cache = { 0 };
	struct tls_server_config c = config_of(&pair);
	struct tls_client_config cc;
	struct tls_client *client, *careless;
	struct tls_server *s = server_make(&c, shared);
	struct tls_link old;

	(void)state;
	tls_client_config_init(&cc);
	cc.ca_file = ca_file;
	client = client_make(&cc);
	cc = (struct tls_client_config){ .label = "tls", .verify_depth = 4, .session_resumption = true,
					 .insecure_skip_verify = true };
	careless = client_make(&cc);
	old = link_new(tls_client_ssl(careless, SPAN("one.example"), &cache), tls_server_ssl(s));
	SSL_free(tls_client_ssl(client, SPAN("one.example"), &cache)); /* the cache is its from here */
	link_run(&old);
	assert_true(old.is_up);
	assert_int_equal(cache.count, 0);
	connect_with(client, s, "one.example", &cache, false);
	connect_with(client, s, "one.example", &cache, true);
	link_free(&old);
	tls_client_put(client);
	tls_client_put(careless);
	tls_server_put(s);
	tls_session_cache_fini(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resumption_over_reload_and_rotation),
		cmocka_unit_test(test_renewed_certificate_keeps_sessions),
		cmocka_unit_test(test_ticket_of_another_name_is_refused),
		cmocka_unit_test(test_ticket_is_bound_to_client_auth),
		cmocka_unit_test(test_ticket_of_optional_is_refused_by_required),
		cmocka_unit_test(test_resumed_client_keeps_its_identity),
		cmocka_unit_test(test_client_that_expired_is_not_resumed),
		cmocka_unit_test(test_no_tickets_without_resumption),
		cmocka_unit_test(test_early_data_is_taken_once),
		cmocka_unit_test(test_early_data_is_refused_when_the_filter_is_full),
		cmocka_unit_test(test_early_data_waits_for_what_another_process_has_seen),
		cmocka_unit_test(test_early_data_is_off_by_default),
		cmocka_unit_test(test_client_reuses_sessions),
		cmocka_unit_test(test_late_tickets_stay_with_their_client),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
