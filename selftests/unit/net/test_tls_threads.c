/* SPDX-License-Identifier: GPL-2.0-only */
/* test_tls_threads.c - handshakes on many threads while keys rotate, staples change and servers are replaced. */
#include "tls_pki.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "net/tls_kdf.h"

#define THREADS 3

static struct pki ca, leaf, other;
static struct tls_pair_config pair, other_pair;
static struct tls_shared *shared;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tls_server *current; /* by lock: workers get it by mail */
static _Atomic bool stop;
static _Atomic unsigned handshakes, resumed, stapled, failed;

static int setup(void **state)
{
	const char *reason = "";

	(void)state;
	if (!tls_kdf_start(&reason))
		fail_msg("%s", reason);
	pki_begin();
	ca = pki_make((struct pki_spec){ .name = "Test CA", .is_ca = true });
	leaf = pki_make((struct pki_spec){ .name = "one", .issuer = &ca, .san = "DNS:one.example",
					   .aia = "OCSP;URI:http://ocsp.example/" });
	other = pki_make((struct pki_spec){ .name = "two", .issuer = &ca, .san = "DNS:*.two.example" });
	pair = pki_write("one", &leaf, &ca);
	other_pair = pki_write("two", &other, &ca);
	shared = tls_shared_new(0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tls_shared_free(shared);
	pki_free(&ca);
	pki_free(&leaf);
	pki_free(&other);
	pki_end();
	return 0;
}

static struct tls_server *server_build(void)
{
	const struct tls_sni_config sni[] = { { .pair = other_pair } };
	struct tls_server_config c;

	tls_server_config_init(&c);
	c.defaults = &pair;
	c.default_count = 1;
	c.certificates = sni;
	c.certificate_count = 1;
	c.early_data = true;
	return server_make(&c, shared);
}

static void *worker(void *arg)
{
	struct tls_client_config cc;
	struct tls_client *client;
	struct tls_session_cache cache = { 0 };
	struct tls_report r = { 0 };
	const unsigned char *der;

	tls_client_config_init(&cc);
	cc.ca_file = arg;
	if (tls_client_new(&client, &cc, &r) != 0)
		atomic_fetch_add(&failed, 1000);
	for (unsigned i = 0; !atomic_load(&stop); i++) {
		struct tls_server *s;
		struct tls_link l;
		SSL *ssl;

		pthread_mutex_lock(&lock);
		s = tls_server_get(current);
		pthread_mutex_unlock(&lock);
		ssl = tls_client_ssl(client, i % 8 < 5 ? SPAN("one.example") : SPAN("a.two.example"), &cache);
		SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
		l = link_new(ssl, tls_server_ssl(s));
		tls_server_put(s);
		link_run(&l);
		atomic_fetch_add(&handshakes, 1);
		atomic_fetch_add(l.is_up ? &resumed : &failed, l.is_up ? (unsigned)SSL_session_reused(l.client) : 1);
		atomic_fetch_add(&stapled, SSL_get_tlsext_status_ocsp_resp(l.client, &der) > 0);
		link_free(&l);
	}
	tls_session_cache_fini(&cache);
	tls_client_put(client);
	tls_report_fini(&r);
	return NULL;
}

static void answer_give(void *ctx, struct ocsp_staple *staple)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), leaf.x, ca.x);
	ASN1_TIME *from = X509_gmtime_adj(NULL, -60), *until = X509_gmtime_adj(NULL, 3600 + *(unsigned *)ctx);
	OCSP_RESPONSE *response;
	unsigned char *der = NULL;
	const char *reason = "";
	int len;

	OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, until);
	OCSP_basic_sign(basic, ca.x, ca.key, EVP_sha256(), NULL, 0);
	response = OCSP_response_create(0, basic);
	len = i2d_OCSP_RESPONSE(response, &der);
	assert_int_equal(ocsp_staple_accept(staple, span_of((char *)der, (size_t)len), time(NULL), &reason), 0);
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
}

static bool is_enough(void)
{
	return handshakes > 50 && resumed > 10 && stapled > 10;
}

static void test_handshakes_while_everything_changes(void **state)
{
	const char *ca_file = pki_write_cert("ca.pem", &ca, NULL);
	pthread_t threads[THREADS];

	(void)state;
	current = server_build();
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, worker, (void *)ca_file), 0);
	/* At least so often, and until the threads have done something; no longer than a minute. */
	for (unsigned i = 0; i < 40 || (i < 3000 && !is_enough()); i++) {
		struct tls_server *next = server_build(), *old;

		if (i > 0)
			tls_server_adopt_staples(next, current);
		pthread_mutex_lock(&lock);
		old = current;
		current = next;
		pthread_mutex_unlock(&lock);
		tls_server_put(old);
		tls_server_for_each_staple(next, answer_give, &i);
		if (i % 4 == 0)
			tls_shared_rotate(shared, clock_mono_ns());
		usleep(20000);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	tls_server_put(current);
	assert_int_equal(failed, 0);
	assert_true(is_enough());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshakes_while_everything_changes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
