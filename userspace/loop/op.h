/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * op.h - one kernel operation, one-shot or multishot.  Embed it in its owner.
 * Memory named in a submission belongs to the kernel until the op's last completion; an owner counts what is in
 * flight and frees itself only at zero.  A completion without OP_MORE is the operation's last.
 */
#ifndef SN_LOOP_OP_H
#define SN_LOOP_OP_H

#define OP_BUFFER (1U << 0) /* IORING_CQE_F_BUFFER: a provided buffer was used */
#define OP_MORE	  (1U << 1) /* IORING_CQE_F_MORE: this operation completes again */

struct op {
	/* res: >= 0 or -errno.  flags: IORING_CQE_F_*.  Called from loop_run() only, never from a submit call. */
	void (*on_done)(struct op *op, int res, unsigned flags);
};

#endif
