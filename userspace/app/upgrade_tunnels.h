/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * upgrade_tunnels.h - binary upgrade: tunnels that move to the new process, from worker to control to channel to
 * control to worker (proxy/tunnel_move.h).  Control thread.
 */
#ifndef SN_APP_UPGRADE_TUNNELS_H
#define SN_APP_UPGRADE_TUNNELS_H

#include "proxy/tunnel_move.h"

struct control;
struct upgrade_tunnels;

/*
 * The old side, after the new process serves: every worker moves what can be moved.  The channel is borrowed;
 * kernel_abi is what the new process said of itself (kernel_tunnels_abi()).
 */
struct upgrade_tunnels *upgrade_tunnels_start(struct control *c, int channel, uint32_t kernel_abi);
/* No tunnel that is in the kernel goes into the channel any more. */
bool upgrade_tunnels_pairs_are_over(const struct upgrade_tunnels *u);
/* Nobody reads the channel any more: what has not been sent goes on here. */
void upgrade_tunnels_end(struct upgrade_tunnels *u);
/* How many have been sent. */
unsigned upgrade_tunnels_count(const struct upgrade_tunnels *u);

/* The new side: one has come; the descriptors are taken, and closed if we are about to end. */
void upgrade_tunnels_take(struct control *c, const struct tunnel_parcel *p, const int *fds, unsigned fd_count);

#endif
