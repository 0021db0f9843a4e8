/* SPDX-License-Identifier: GPL-2.0-only */
/* schema_read.c - one value of a file into one member of a struct, and the defaults the same way. */
#include "schema/schema_read.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/err.h"

void *schema_array_add(struct arena *a, void **items, size_t *count, size_t size)
{
	/* The arena cannot grow a piece: double at every power of two, so that no capacity has to be kept. */
	if ((*count & (*count - 1)) == 0) {
		void *more = arena_array(a, *count ? *count * 2 : 1, size);

		if (*count > 0)
			memcpy(more, *items, *count * size);
		*items = more;
	}
	return (char *)*items + (*count)++ * size;
}

/* Errors */

static struct diag_item *type_error(const struct schema_reading *r, const char *wanted)
{
	const struct kdl_value *v = r->value;
	struct diag_item *item =
		diag_error(r->s->diag, v->pos, "\"%s\" takes %s, not %s", r->row->name, wanted,
			   kdl_type_text(v->type));

	if (v->type == KDL_STRING && (schema_word_eq(v->text, SPAN("true")) ||
				      schema_word_eq(v->text, SPAN("false"))))
		diag_hint(r->s->diag, item, "booleans are #true and #false");
	return item;
}

/* The text does not spell a value of that kind. */
static int form_error(const struct schema_reading *r, const char *wanted)
{
	const struct kdl_value *v = r->value;

	if (r->row->flags & SCHEMA_SECRET)
		diag_error(r->s->diag, v->pos, "the value of \"%s\" is not %s", r->row->name, wanted);
	else
		diag_error(r->s->diag, v->pos, "\"" SPAN_FMT "\" is not %s", SPAN_ARG(v->text), wanted);
	return -EINVAL;
}

/* What a row's verify() found wrong. */
static void value_error(const struct schema_reading *r, const char *why)
{
	const struct kdl_value *v = r->value;

	if (r->row->flags & SCHEMA_SECRET)
		diag_error(r->s->diag, v->pos, "the value of \"%s\" %s", r->row->name, why);
	else
		diag_error(r->s->diag, v->pos, "\"" SPAN_FMT "\" %s", SPAN_ARG(v->text), why);
}

static void bound_text(const struct schema_row *row, int64_t bound, char out[VALUE_TEXT_MAX])
{
	if (row->type == SCHEMA_DURATION)
		value_duration_text(out, (uint64_t)bound);
	else if (row->type == SCHEMA_SIZE)
		value_size_text(out, (uint64_t)bound);
	else
		snprintf(out, VALUE_TEXT_MAX, "%" PRId64, bound);
}

static int bounds_error(const struct schema_reading *r)
{
	char low[VALUE_TEXT_MAX], high[VALUE_TEXT_MAX];

	bound_text(r->row, r->row->min, low);
	bound_text(r->row, r->row->max, high);
	diag_error(r->s->diag, r->value->pos, "\"%s\" must be from %s to %s, not " SPAN_FMT, r->row->name, low,
		   high, SPAN_ARG(r->value->text));
	return -EINVAL;
}

static int later_error(const struct schema_reading *r, const char *name)
{
	diag_error(r->s->diag, r->value->pos, "\"%s\" is not in this version of Sentinel", name);
	return -EINVAL;
}

/* None of the words: suggest one, or show them all. */
static int word_error(const struct schema_reading *r)
{
	struct diag *d = r->s->diag;
	const char *names[SCHEMA_NAMES_MAX];
	struct diag_item *item;
	struct strbuf all;
	size_t count = 0;

	item = diag_error(d, r->value->pos, "\"" SPAN_FMT "\" is not a value of \"%s\"",
			  SPAN_ARG(r->value->text), r->row->name);
	strbuf_init(&all);
	for (const struct schema_word *word = r->row->words; word->name; word++) {
		if (word->is_later || count == SCHEMA_NAMES_MAX)
			continue;
		strbuf_printf(&all, "%s\"%s\"", count ? ", " : "", word->name);
		names[count++] = word->name;
	}
	diag_hint(d, item, "one of %s", all.ptr);
	diag_suggest(d, item, r->value->text, names, count);
	strbuf_fini(&all);
	return -EINVAL;
}

/* Numbers */

/* Bounds were checked; a table whose bounds do not fit its member is our bug. */
static void number_store(const struct schema_row *row, void *member, int64_t value)
{
	bool is_signed = row->type == SCHEMA_INT;

	switch (row->size) {
	case 1:
		CHECK(is_signed ? value == (int8_t)value : value == (uint8_t)value);
		*(uint8_t *)member = (uint8_t)value;
		break;
	case 2:
		CHECK(is_signed ? value == (int16_t)value : value == (uint16_t)value);
		*(uint16_t *)member = (uint16_t)value;
		break;
	case 4:
		CHECK(is_signed ? value == (int32_t)value : value == (uint32_t)value);
		*(uint32_t *)member = (uint32_t)value;
		break;
	default:
		CHECK(row->size == 8);
		*(uint64_t *)member = (uint64_t)value;
		break;
	}
}

static int bounded_store(const struct schema_reading *r, int64_t value)
{
	if (value < r->row->min || value > r->row->max)
		return bounds_error(r);
	number_store(r->row, r->member, value);
	return 0;
}

/* A word instead of a number: 1 if it was one (stored), 0 if not, -EINVAL. */
static int number_word(const struct schema_reading *r)
{
	const struct schema_word *word;

	if (r->value->type != KDL_STRING)
		return 0;
	word = schema_word_find(r->row->words, r->value->text);
	if (!word)
		return 0;
	if (word->is_later)
		return later_error(r, word->name);
	number_store(r->row, r->member, word->value);
	return 1;
}

/* A whole number, also one that came out of a variable. */
static int whole_number(const struct schema_reading *r, int64_t *out_value)
{
	const struct kdl_value *v = r->value;
	int err;

	if (v->type == KDL_INT) {
		*out_value = v->integer;
		return 0;
	}
	if (v->type != KDL_STRING || !v->is_substituted) {
		if (v->type == KDL_STRING && r->row->words)
			return word_error(r);
		if (v->type == KDL_STRING && value_int(v->text, out_value) == 0)
			diag_hint(r->s->diag, type_error(r, "a whole number"), "write it without quotes");
		else
			type_error(r, "a whole number");
		return -EINVAL;
	}
	err = value_int(v->text, out_value);
	if (err == -ERANGE)
		return bounds_error(r);
	return err ? form_error(r, "a whole number") : 0;
}

static int int_read(const struct schema_reading *r)
{
	int64_t value;
	int err = number_word(r);

	if (err)
		return MIN(err, 0);
	err = whole_number(r, &value);
	return err ? err : bounded_store(r, value);
}

static int float_read(const struct schema_reading *r)
{
	const struct kdl_value *v = r->value;
	double value = v->number;

	if (v->type == KDL_STRING && v->is_substituted) {
		if (value_double(v->text, &value))
			return form_error(r, "a number");
	} else if (v->type != KDL_INT && v->type != KDL_FLOAT) {
		type_error(r, "a number");
		return -EINVAL;
	}
	if (!(value >= r->row->float_min && value <= r->row->float_max)) {
		diag_error(r->s->diag, v->pos, "\"%s\" must be from %g to %g, not " SPAN_FMT, r->row->name,
			   r->row->float_min, r->row->float_max, SPAN_ARG(v->text));
		return -EINVAL;
	}
	*(double *)r->member = value;
	return 0;
}

/* Durations and sizes: a bare number times unit, or a text with its own unit. */
static int quantity_read(const struct schema_reading *r, uint32_t unit, const char *wanted)
{
	const struct kdl_value *v = r->value;
	uint64_t value;
	int err = number_word(r);

	if (err)
		return MIN(err, 0);
	if (v->type == KDL_INT) {
		if (v->integer < 0 || __builtin_mul_overflow((uint64_t)v->integer, unit, &value))
			return bounds_error(r);
	} else if (v->type == KDL_STRING || v->type == KDL_FLOAT) {
		err = r->row->type == SCHEMA_SIZE ? value_size(v->text, &value)
						  : value_duration(v->text, unit, &value);
		if (err == -ERANGE)
			return bounds_error(r);
		if (err)
			return form_error(r, wanted);
	} else {
		type_error(r, wanted);
		return -EINVAL;
	}
	return value > INT64_MAX ? bounds_error(r) : bounded_store(r, (int64_t)value);
}

/* The key's suffix names the unit; the row's unit is for keys without one. */
static uint32_t duration_unit(const struct schema_reading *r)
{
	if (span_ends(r->key, SPAN("-ms")))
		return SCHEMA_MILLIS;
	if (span_ends(r->key, SPAN("-secs")))
		return SCHEMA_SECONDS;
	return r->row->unit_ms;
}

static int rate_read(const struct schema_reading *r)
{
	const char *wanted = "a rate like \"100/s\"";
	struct span text = r->value->text;

	if (r->value->type != KDL_STRING && r->value->type != KDL_INT) {
		type_error(r, wanted);
		return -EINVAL;
	}
	return value_rate(text, r->member) ? form_error(r, wanted) : 0;
}

/* Texts */

const char *schema_string_read(const struct schema_reading *r)
{
	const struct kdl_value *v = r->value;
	struct diag *d = r->s->diag;
	const char *why = NULL;

	if (v->type != KDL_STRING) {
		struct diag_item *item = type_error(r, "a string");

		if (v->type == KDL_INT || v->type == KDL_FLOAT)
			diag_hint(d, item, "write it in quotes");
		return NULL;
	}
	if (v->text.len == 0 && !(r->row->flags & SCHEMA_EMPTY))
		diag_error(d, v->pos, "\"%s\" must not be empty", r->row->name);
	else if (memchr(v->text.ptr, 0, v->text.len))
		diag_error(d, v->pos, "\"%s\" must not contain a NUL character", r->row->name);
	else if (r->row->max > 0 && v->text.len > (uint64_t)r->row->max)
		diag_error(d, v->pos, "\"%s\" is longer than %" PRId64 " bytes", r->row->name, r->row->max);
	else if (r->row->verify && (why = r->row->verify(v->text.ptr, r->s->arena)) != NULL)
		value_error(r, why);
	else
		return arena_strndup(r->s->arena, v->text.ptr, v->text.len);
	return NULL;
}

static int string_read(const struct schema_reading *r)
{
	const char *text = schema_string_read(r);

	if (!text)
		return -EINVAL;
	*(const char **)r->member = text;
	return 0;
}

static int file_read(const struct schema_reading *r)
{
	const char *text = schema_string_read(r);
	struct stat st;

	if (!text)
		return -EINVAL;
	if (stat(text, &st) < 0 || access(text, R_OK) < 0) {
		diag_error(r->s->diag, r->value->pos, "cannot read %s: %s", text, err_text(errno));
		return -EINVAL;
	}
	if (!S_ISREG(st.st_mode)) {
		diag_error(r->s->diag, r->value->pos, "%s is not a regular file", text);
		return -EINVAL;
	}
	*(const char **)r->member = text;
	return 0;
}

static int enum_read(const struct schema_reading *r)
{
	const struct schema_word *word;
	unsigned value;

	CHECK(r->row->size == sizeof(unsigned));
	/* Words named true and false are what a bool turned into when it got a third value. */
	if (r->value->type == KDL_BOOL)
		word = schema_word_find(r->row->words, r->value->boolean ? SPAN("true") : SPAN("false"));
	else if (r->value->type == KDL_STRING)
		word = schema_word_find(r->row->words, r->value->text);
	else
		word = NULL;
	if (!word && r->value->type != KDL_STRING) {
		type_error(r, "a word");
		return -EINVAL;
	}
	if (!word)
		return word_error(r);
	if (word->is_later)
		return later_error(r, word->name);
	value = (unsigned)word->value;
	if (r->row->type == SCHEMA_FLAGS)
		value |= *(unsigned *)r->member;
	*(unsigned *)r->member = value;
	return 0;
}

static int bool_read(const struct schema_reading *r)
{
	const struct kdl_value *v = r->value;
	bool value = v->boolean;

	if (v->type == KDL_STRING && v->is_substituted) {
		value = schema_word_eq(v->text, SPAN("true")) || schema_word_eq(v->text, SPAN("#true"));
		if (!value && !schema_word_eq(v->text, SPAN("false")) &&
		    !schema_word_eq(v->text, SPAN("#false")))
			return form_error(r, "true or false");
	} else if (v->type != KDL_BOOL) {
		type_error(r, "#true or #false");
		return -EINVAL;
	}
	*(bool *)r->member = value;
	return 0;
}

/* Addresses */

static bool is_text(const struct schema_reading *r, const char *wanted)
{
	if (r->value->type == KDL_STRING)
		return true;
	type_error(r, wanted);
	return false;
}

static int addr_read(const struct schema_reading *r)
{
	const char *wanted = "an address like \"127.0.0.1:8080\" or \"[::1]:8080\"";
	bool may_be_zero = r->row->flags & SCHEMA_PORT_ZERO;
	int err;

	if (!is_text(r, wanted))
		return -EINVAL;
	err = value_addr(r->value->text, may_be_zero, r->member);
	if (err == -ERANGE)
		diag_error(r->s->diag, r->value->pos, "the port of \"%s\" must be from %d to 65535", r->row->name,
			   may_be_zero ? 0 : 1);
	return err == -EINVAL ? form_error(r, wanted) : err;
}

static int endpoint_read(const struct schema_reading *r)
{
	const char *wanted = "an address like \"host:8080\" or \"[::1]:8080\"";
	struct value_endpoint *endpoint = r->member;
	struct span host;
	uint16_t port;
	bool is_ip;
	int err;

	if (!is_text(r, wanted))
		return -EINVAL;
	err = value_endpoint(r->value->text, &host, &port, &is_ip);
	if (err == -ERANGE) {
		diag_error(r->s->diag, r->value->pos, "the port of \"%s\" must be from 1 to 65535", r->row->name);
		return -EINVAL;
	}
	if (err)
		return form_error(r, wanted);
	*endpoint = (struct value_endpoint){
		.host = arena_strndup(r->s->arena, host.ptr, host.len),
		.port = port,
		.is_ip = is_ip,
	};
	return 0;
}

static int cidrs_read(const struct schema_reading *r)
{
	const char *wanted = "a network like \"10.0.0.0/8\" or \"2001:db8::/32\"";
	struct schema_cidrs *list = r->member;
	struct value_cidr cidr, *slot;
	void *items = list->items;
	char text[VALUE_TEXT_MAX];

	if (!is_text(r, wanted))
		return -EINVAL;
	if (value_cidr(r->value->text, &cidr)) {
		if (value_cidr_mask(r->value->text, &cidr))
			return form_error(r, wanted);
		diag_hint(r->s->diag,
			  diag_error(r->s->diag, r->value->pos, "\"" SPAN_FMT "\" has bits after its prefix",
				     SPAN_ARG(r->value->text)),
			  "did you mean \"%s\"?", value_cidr_text(text, &cidr));
		return -EINVAL;
	}
	cidr.pos = r->value->pos;
	slot = schema_array_add(r->s->arena, &items, &list->count, sizeof(*slot));
	list->items = items;
	*slot = cidr;
	return 0;
}

/* Lists */

static int strings_read(const struct schema_reading *r)
{
	struct schema_strings *list = r->member;
	const char *text = schema_string_read(r);
	struct schema_string *slot;
	void *items = list->items;

	if (!text)
		return -EINVAL;
	slot = schema_array_add(r->s->arena, &items, &list->count, sizeof(*slot));
	list->items = items;
	*slot = (struct schema_string){ .text = text, .len = r->value->text.len, .pos = r->value->pos };
	return 0;
}

static int uints_read(const struct schema_reading *r)
{
	struct schema_uints *list = r->member;
	void *items = list->items;
	uint64_t *slot;
	int64_t value;
	int err = whole_number(r, &value);

	if (err)
		return err;
	if (value < r->row->min || value > r->row->max)
		return bounds_error(r);
	slot = schema_array_add(r->s->arena, &items, &list->count, sizeof(*slot));
	list->items = items;
	*slot = (uint64_t)value;
	return 0;
}

/* All of them */

static bool is_none(const struct schema_row *row)
{
	return row->default_text && strcmp(row->default_text, "none") == 0;
}

/* "none" is the spelling of zero where that is the default and no text is meant. */
static bool none_read(const struct schema_reading *r, size_t size)
{
	if (!is_none(r->row) || r->value->type != KDL_STRING || !span_eq(r->value->text, SPAN("none")))
		return false;
	memset(r->member, 0, size);
	return true;
}

int schema_reading_run(const struct schema_reading *r)
{
	if ((r->row->flags & SCHEMA_SECRET) && schema_pos_is_set(r->value->pos))
		diag_hide(r->s->diag, r->value->pos);
	switch (r->row->type) {
	case SCHEMA_BOOL:
		return bool_read(r);
	case SCHEMA_UINT:
	case SCHEMA_INT:
		return none_read(r, r->row->size) ? 0 : int_read(r);
	case SCHEMA_FLOAT:
		return none_read(r, sizeof(double)) ? 0 : float_read(r);
	case SCHEMA_STRING:
	case SCHEMA_PATH:
		return string_read(r);
	case SCHEMA_REGEX:
		CHECK(r->row->verify);
		return string_read(r);
	case SCHEMA_FILE:
		return file_read(r);
	case SCHEMA_ENUM:
	case SCHEMA_FLAGS:
		return enum_read(r);
	case SCHEMA_DURATION:
		if (none_read(r, r->row->size))
			return 0;
		return quantity_read(r, duration_unit(r), "a duration like \"250ms\", \"1.5s\" or \"2m\"");
	case SCHEMA_SIZE:
		if (none_read(r, r->row->size))
			return 0;
		return quantity_read(r, 1, "a size like 65536, \"64KiB\" or \"10MB\"");
	case SCHEMA_RATE:
		return none_read(r, sizeof(struct value_rate)) ? 0 : rate_read(r);
	case SCHEMA_ADDR:
		return none_read(r, sizeof(union value_addr)) ? 0 : addr_read(r);
	case SCHEMA_ENDPOINT:
		return none_read(r, sizeof(struct value_endpoint)) ? 0 : endpoint_read(r);
	case SCHEMA_STRINGS:
		return strings_read(r);
	case SCHEMA_UINTS:
		return uints_read(r);
	case SCHEMA_CIDRS:
		return cidrs_read(r);
	default:
		CHECK(!"a row with a value");
	}
}

int schema_read_value(struct schema *s, const struct schema_row *row, const struct kdl_value *value,
		      void *member)
{
	struct schema_reading r = { s, row, span_str(row->name), value, member };

	return schema_reading_run(&r);
}

int schema_default_set(struct schema *s, const struct schema_row *row, void *member)
{
	struct span rest = span_str(row->default_text);
	struct kdl_value v = { .type = KDL_STRING, .form = KDL_FORM_QUOTED, .is_substituted = true };
	struct span item;
	int err = 0;

	if (!row->default_text || is_none(row) || !schema_type_is_value(row->type))
		return 0;
	if (!schema_type_is_multi(row->type)) {
		v.text = rest;
		return schema_read_value(s, row, &v, member);
	}
	while (!err && span_next(&rest, ' ', &item)) {
		v.text = arena_span(s->arena, item);
		err = schema_read_value(s, row, &v, member);
	}
	return err;
}
