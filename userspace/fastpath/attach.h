/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * attach.h - puts a loaded guard on interfaces and takes it off, and finds what an earlier run left there.
 *
 * XDP goes through libxdp's dispatcher where the kernel takes it, else as the only program, by a pinned link; tc
 * by a pinned tcx link where the kernel has that (6.6), else as a filter in clsact.  What is not ours is never
 * replaced or removed: ours is what a pin of our instance names.  A clsact qdisc stays when our filter goes, because
 * others may have come to use it.  Control thread.
 */
#ifndef SN_FASTPATH_ATTACH_H
#define SN_FASTPATH_ATTACH_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/strbuf.h"
#include "fastpath/fastpath.h"
#include "fastpath/loader.h"

/* The guard on one interface. */
struct attachment {
	char name[IF_NAMESIZE]; /* as in the pin's name */
	unsigned ifindex;	/* 0: the interface is gone */
	enum fastpath_attach how;
	int fd;		 /* owned: the link, or the program of dispatcher and clsact */
	bool is_adopted; /* from an earlier run */
	bool is_current; /* runs the program of this process */
};

/* What attaching needs. */
struct attach_context {
	const struct loader_paths *paths; /* borrowed, as the next */
	const struct fastpath_maps *maps;
	int program_fd[LOADER_PROGRAM_COUNT]; /* owned, loaded when first needed; -1 before */
	bool has_no_tcx;		      /* the kernel said so, or a test wants clsact */
};

enum attach_xdp_mode {
	ATTACH_XDP_NATIVE,
	ATTACH_XDP_ANY, /* native, else generic */
};

void attach_context_fini(struct attach_context *c);

/* Attachments of the instance by its pins; at most max of them into out.  How many, or -errno. */
int attach_scan(const struct loader_paths *p, struct attachment *out, size_t max);
/* Is it still on its interface? */
bool attach_is_alive(struct attachment *a);
bool attach_is_xdp(const struct attachment *a);

/*
 * Attach to the interface `name`.  *a is empty (how NONE), or an attachment of the same kind that an earlier run
 * left: then its program is exchanged for ours without a gap.  0, or -errno with the reason in out_why (-EBUSY: a
 * foreign program); *a is unchanged on failure.
 */
int attach_xdp(struct attach_context *c, const char *name, enum attach_xdp_mode mode, struct attachment *a,
	       struct strbuf *out_why);
int attach_tc(struct attach_context *c, const char *name, struct attachment *a, struct strbuf *out_why);

/* Take it off, remove its pin, close.  0; -errno: it is still there, and *a unchanged. */
int attach_detach(const struct loader_paths *p, struct attachment *a);
/* Close and leave it to its pin. */
void attach_close(struct attachment *a);

/* Inside of attach*.c: pins, and the program to attach. */
int attach_pin(const struct loader_paths *p, enum fastpath_attach how, const char *name, int fd);
void attach_unpin(const struct loader_paths *p, enum fastpath_attach how, const char *name);
int attach_program(struct attach_context *c, enum loader_program which, struct strbuf *out_why);
unsigned attach_program_id(int program_fd); /* 0: not known */
/* The end of both ways: fill a, or say why (hook: "tc", "XDP") unless out_why does already.  Returns err. */
int attach_finish(struct attachment *a, const char *name, unsigned ifindex, const char *hook, int err,
		  struct strbuf *out_why);
/* XDP's halves of attach_scan(), attach_is_alive() and attach_detach(). */
enum fastpath_attach attach_xdp_how(unsigned ifindex);
bool attach_dispatcher_has(unsigned ifindex, unsigned program_id);
int attach_dispatcher_remove(unsigned ifindex, unsigned program_id);

#endif
