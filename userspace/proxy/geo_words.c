/* SPDX-License-Identifier: GPL-2.0-only */
/* geo_words.c - databases and lists of countries in the file. */
#include "proxy/geo_words.h"

#include <strings.h>

#include "base/check.h"

enum geo_format geo_words_format(const char *path)
{
	size_t len = strlen(path);

	return len > 5 && strcasecmp(path + len - 5, ".mmdb") == 0 ? GEO_FORMAT_MAXMIND : GEO_FORMAT_IP2LOCATION;
}

static void put(void *file)
{
	geo_file_put(file);
}

struct geo_file *geo_words_open(struct schema *s, const char *path, enum geo_format format, struct schema_pos pos)
{
	struct strbuf why = { 0 };
	struct geo_file *f;

	strbuf_init(&why);
	f = geo_file_get(path, format, &why);
	if (f)
		arena_on_reset(s->arena, put, f);
	else
		diag_error(s->diag, pos, "%s", why.ptr);
	strbuf_fini(&why);
	return f;
}

bool geo_words_has_asn(struct geo_file *f)
{
	struct geo_database *d = geo_file_database(f);
	bool has_asn = geo_database_info(d)->has_asn;

	geo_database_put(d);
	return has_asn;
}

static bool has(const geo_country *list, size_t count, geo_country country)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == country)
			return true;
	return false;
}

geo_country *geo_words_countries(struct schema *s, const struct schema_strings *list, size_t *out_count)
{
	size_t size = 1, count = 0;
	geo_country *countries;

	for (size_t i = 0; i < list->count; i++)
		size += strlen(list->items[i].text) / 3 + 1;
	countries = arena_array(s->arena, size, sizeof(*countries));
	for (size_t i = 0; i < list->count; i++) {
		struct span rest = span_str(list->items[i].text), word;

		while (span_next(&rest, ',', &word)) {
			geo_country country;

			word = span_trim(word);
			if (!geo_country_read(word, &country))
				diag_hint(s->diag,
					  diag_error(s->diag, list->items[i].pos, "\"" SPAN_FMT "\" is not a country",
						     SPAN_ARG(word)),
					  "write the two letters of ISO 3166-1, such as \"DE\"");
			else if (!has(countries, count, country))
				countries[count++] = country;
		}
	}
	*out_count = count;
	return countries;
}
