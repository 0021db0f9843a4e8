/* SPDX-License-Identifier: GPL-2.0-only */
/* main.c - argv to the command table. */
#include "app/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
