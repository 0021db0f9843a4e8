/* SPDX-License-Identifier: GPL-2.0-only */
/* notify.h - tell systemd (Type=notify, sd_notify(3)) how we are; without $NOTIFY_SOCKET nothing happens. */
#ifndef SN_APP_NOTIFY_H
#define SN_APP_NOTIFY_H

void notify_send(const char *state); /* "READY=1" */
void notify_reloading(void);

#endif
