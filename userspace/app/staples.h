/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * staples.h - OCSP answers of our certificates: fetched in the background, refreshed before they end, kept on disk.
 * Control thread; a handshake never waits for any of this.
 *
 * On disk: FINGERPRINT.der in the folder `ocsp` of the state directory.  What is read from there is verified again.
 */
#ifndef SN_APP_STAPLES_H
#define SN_APP_STAPLES_H

#include <stdint.h>

#include "loop/loop.h"
#include "observe/metrics.h"
#include "proxy/config_tls_build.h"

struct staples;

#define STAPLES_FETCHES_MAX 8	       /* at once; others wait for the next second */
#define STAPLES_FETCH_TIMEOUT_MS 15000 /* name, connect and answer together */
#define STAPLES_CONNECT_TIMEOUT_MS 3000 /* of one address; then the next is tried */
#define STAPLES_ADDRESSES_MAX 4		/* of a responder that are tried */
#define STAPLES_ANSWER_MAX (64 * 1024)

/* folder: the state directory, or NULL: nothing is kept.  Everything else is borrowed. */
struct staples *staples_new(struct loop *l, struct config_tls_registry *registry, const char *folder,
			    struct metrics_shard *metrics);
/* NULL ok; fetches in progress are abandoned.  Turn the loop afterwards. */
void staples_free(struct staples *s);
/*
 * Once a second, and before new certificates serve: reads what was kept, starts what is due.  Certificates that demand
 * a staple come first.
 */
void staples_tick(struct staples *s);

#endif
