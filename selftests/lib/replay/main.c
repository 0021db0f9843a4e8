/* SPDX-License-Identifier: GPL-2.0-only */
/* main.c - feeds files to a fuzz target: what libFuzzer does with a corpus, without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The bytes go into a block of exactly their size, so that ASan sees a read behind the end. */
static int file_replay(const char *path)
{
	struct stat st;
	uint8_t *data;
	FILE *file = fopen(path, "rb");

	if (!file || fstat(fileno(file), &st) < 0) {
		perror(path);
		return 1;
	}
	data = malloc(st.st_size ? (size_t)st.st_size : 1);
	if (!data || fread(data, 1, (size_t)st.st_size, file) != (size_t)st.st_size) {
		perror(path);
		exit(1);
	}
	fclose(file);
	(void)LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
	return 0;
}

/* Usage: replay_<name> DIRECTORY; prints how many inputs ran. */
int main(int argc, char **argv)
{
	struct dirent *entry;
	char path[4096];
	int failed = 0, count = 0;
	DIR *dir;

	if (argc != 2 || !(dir = opendir(argv[1]))) {
		perror(argc == 2 ? argv[1] : "usage: replay DIRECTORY");
		return 1;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
		fprintf(stderr, "%s\n", path);
		failed += file_replay(path);
		count++;
	}
	closedir(dir);
	printf("%d inputs\n", count);
	return failed ? 1 : 0;
}
