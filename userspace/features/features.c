/* SPDX-License-Identifier: GPL-2.0-only */
/* features.c - finds filters and builtin handlers by name; the list is features.def. */
#include "base/check.h"
#include "proxy/filter.h"
#include "proxy/handler.h"

#define FILTER(symbol)	extern const struct filter symbol;
#define HANDLER(symbol) extern const struct handler symbol;
#include "features/features.def"
#undef FILTER
#undef HANDLER

static const struct filter *const filters[] = {
#define FILTER(symbol) &symbol,
#define HANDLER(symbol)
#include "features/features.def"
#undef FILTER
#undef HANDLER
};

static const struct handler *const handlers[] = {
#define FILTER(symbol)
#define HANDLER(symbol) &symbol,
#include "features/features.def"
#undef FILTER
#undef HANDLER
};

const struct filter *filter_at(size_t index)
{
	return index < ARRAY_LEN(filters) ? filters[index] : NULL;
}

const struct filter *filter_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(filters); i++)
		if (strcmp(filters[i]->name, name) == 0)
			return filters[i];
	return NULL;
}

const struct handler *handler_at(size_t index)
{
	return index < ARRAY_LEN(handlers) ? handlers[index] : NULL;
}

const struct handler *handler_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
		if (strcmp(handlers[i]->name, name) == 0)
			return handlers[i];
	return NULL;
}
