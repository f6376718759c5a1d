/* SPDX-License-Identifier: MIT */
/* The words of the command line before the first operand. */
#ifndef GR_OPTIONS_H
#define GR_OPTIONS_H

#include <stdbool.h>

#define GR_VERSION "0.1.0"

/* What --version prints; main.c knows the VM's. */
extern const char gr_version[];

/* An option that came, in the order of the command line. */
struct gr_setting {
	const char *name;  /* without its dashes: "workers", "e" */
	const char *value; /* NULL: a flag */
	double number;     /* of an option that takes a number */
	bool is_number;
};

struct gr_options {
	int argc;
	char **argv;
	int first;      /* index of the first operand */
	bool separated; /* "--" came before it: only one script */
	bool interactive, version, check, quiet;
	bool environment;            /* false after -E */
	bool has_action;             /* -e, -l or -j came */
	bool coop;                   /* libc's blocking calls let other threads run */
	bool control;                /* listens on a control socket */
	double seed;                 /* of the ready order; 0: none */
	const char *log_file;        /* NULL: stderr */
	const char *log_syslog;      /* facility, "" for the default; NULL: not to syslog */
	const char *trace;           /* file for the trace of switches, "" for stderr; NULL: none */
	const char *profile;         /* file for the profiler; NULL: it is off */
	double profile_interval;     /* milliseconds */
	struct gr_setting *settings; /* what lualib/grun/main.lua acts on */
	int nsettings;
};

/* Fills *o from the command line; acts on --version and --help itself and on what belongs to the core (sizes, levels).
 * Returns 0, or -1 after a message on stderr. */
int gr_options_parse(struct gr_options *o, int argc, char **argv);

#endif
