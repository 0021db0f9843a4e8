/* SPDX-License-Identifier: GPL-2.0-only */
/* codec.c - the table of faults. */
#include "http/codec.h"

#include "base/check.h"

static const struct {
	unsigned status;
	const char *text;
	const char *id;
} faults[CODEC_FAULT_COUNT] = {
	[CODEC_FAULT_NONE] = { 0, "nothing is wrong", "NONE" },
#define CODEC_FAULT(ID, status, text) [CODEC_FAULT_##ID] = { status, text, #ID },
#include "http/faults.def"
#undef CODEC_FAULT
};

#define FAULT_NAME_MAX 32

/* Lower-case copies of the identifiers; filled before main, read-only afterwards. */
static char fault_names[CODEC_FAULT_COUNT][FAULT_NAME_MAX];

__attribute__((constructor)) static void fault_names_fill(void)
{
	for (unsigned f = 0; f < CODEC_FAULT_COUNT; f++) {
		size_t len = strlen(faults[f].id);

		CHECK(len < FAULT_NAME_MAX);
		for (size_t i = 0; i < len; i++) {
			char c = faults[f].id[i];

			fault_names[f][i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
		}
	}
}

unsigned codec_fault_status(enum codec_fault f)
{
	CHECK(f < CODEC_FAULT_COUNT);
	return faults[f].status;
}

const char *codec_fault_text(enum codec_fault f)
{
	CHECK(f < CODEC_FAULT_COUNT);
	return faults[f].text;
}

const char *codec_fault_name(enum codec_fault f)
{
	CHECK(f < CODEC_FAULT_COUNT);
	return fault_names[f];
}
