/* SPDX-License-Identifier: MIT */
/* Reads the command line: one table says which options there are and what they take. */
#include "options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/stack.h"

static const char usage[] =
	"usage: grun [options] script.lua [more.lua ...] [--] [args...]\n"
	"       grun [options] serve ... app.lua     an application over HTTP; see grun serve --help\n"
	"       grun ps|top|trace|kill|stop|reload|upgrade|scale|reopen ...   see grun ps --help and so on\n"
	"Each script runs in a green thread of its own; without a script: standard input, or a prompt on a terminal.\n"
	"  -e stat            run the string 'stat'\n"
	"  -l name            require library 'name'\n"
	"  -i                 prompt after running the script\n"
	"  -v, --version      show version information\n"
	"  -E                 ignore environment variables\n"
	"  -j cmd, -O[opt]    control LuaJIT's compiler, as luajit does\n"
	"  -                  run standard input as a script\n"
	"  --                 stop handling options\n"
	"  --check            only compile the scripts\n"
	"  --no-coop          leave libc's blocking calls alone\n"
	"  --no-control       no control socket for grun ps, top and others\n"
	"  --stack-size KIB   C stack of a thread, in KiB of address space (default 256)\n"
	"  --seed N           pick ready threads in a pseudo-random order\n"
	"  --log LEVEL        none, error, warn (default), info or debug\n"
	"  --log-file FILE    append the log to a file instead of stderr\n"
	"  --log-syslog[=FACILITY]   send the log to syslog (default facility: daemon)\n"
	"  --trace-switches[=FILE]   write a line for every switch between threads (default: to stderr)\n"
	"  --profile FILE     sample where time goes; folded stacks for flame graphs at the end\n"
	"  --profile-interval MS     milliseconds between two samples (default 10)\n"
	"  -q, --quiet        no banner, no warnings\n"
	"  --help             show this text\n"
	"Worker processes, kept running by a master:\n"
	"  -w, --workers N    run the scripts in N processes that share listening sockets; auto: one per processor\n"
	"  --graceful-timeout S       seconds for connections when told to stop (10; with workers 30)\n"
	"  --worker-timeout S         kill a worker whose loop has not turned for so long (30; 0: never)\n"
	"  --max-requests N           replace a worker after so many connections, requests or datagrams\n"
	"  --max-requests-jitter N    and up to so many more\n"
	"  --bind-before-fork ADDR    listen there before the first worker starts (several times: several addresses)\n"
	"  --reuse-port               each worker has its own listening sockets (SO_REUSEPORT)\n"
	"  --reload                   replace the workers when a file that they have loaded changes\n"
	"  --preload                  run -e and -l once and fork the workers from that: they share memory; HUP does it anew\n"
	"  --pid FILE                 write the master's process id there\n"
	"  --user NAME, --group NAME  whom workers run as (needs root)\n"
	"  --umask OCTAL, --chdir DIR set before anything is run\n"
	"Signals to the master: TERM stop after connections have ended, INT stop now, HUP new workers first, then the old\n"
	"ones go, USR2 the same with the program itself, TTIN and TTOU one worker more or less, USR1 reopen log files.\n"
	"Exit status: 0; 1 a script failed or could not be loaded, or a worker failed before it served; 2 deadlock;\n"
	"130 after ^C (SIGINT).\n";

enum takes {
	NOTHING,
	TEXT,
	ATTACHED, /* a text, only in the same word, which may be missing */
	NUMBER,   /* a whole number */
};

struct option {
	const char *name; /* of a long option more than one letter */
	char letter;      /* short name, or 0 */
	enum takes takes;
	double low, high; /* of a NUMBER */
	/* Acts on it. Returns 0, or -1 after a message. NULL: it becomes a setting. */
	int (*apply)(struct gr_options *o, const struct gr_setting *s);
};

static void keep(struct gr_options *o, const struct gr_setting *s)
{
	o->settings[o->nsettings++] = *s;
}

static int apply_action(struct gr_options *o, const struct gr_setting *s)
{
	o->has_action = true;
	keep(o, s);
	return 0;
}

static int apply_show_version(struct gr_options *o, const struct gr_setting *s)
{
	(void)s;
	o->version = true;
	return 0;
}

static int apply_version(struct gr_options *o, const struct gr_setting *s)
{
	(void)o, (void)s;
	puts(gr_version);
	exit(EXIT_SUCCESS);
}

static int apply_help(struct gr_options *o, const struct gr_setting *s)
{
	(void)o, (void)s;
	fputs(usage, stdout);
	exit(EXIT_SUCCESS);
}

static int apply_interactive(struct gr_options *o, const struct gr_setting *s)
{
	(void)s;
	o->interactive = o->version = true;
	return 0;
}

static int apply_check(struct gr_options *o, const struct gr_setting *s)
{
	(void)s;
	o->check = true;
	return 0;
}

static int apply_no_coop(struct gr_options *o, const struct gr_setting *s)
{
	(void)s;
	o->coop = false;
	return 0;
}

static int apply_no_control(struct gr_options *o, const struct gr_setting *s)
{
	(void)s;
	o->control = false;
	return 0;
}

static int apply_no_environment(struct gr_options *o, const struct gr_setting *s)
{
	(void)s;
	o->environment = false;
	return 0;
}

static int apply_quiet(struct gr_options *o, const struct gr_setting *s)
{
	(void)s;
	o->quiet = true;
	return 0;
}

static int apply_stack_size(struct gr_options *o, const struct gr_setting *s)
{
	(void)o;
	return gr_stack_set_size((size_t)s->number << 10);
}

static int apply_seed(struct gr_options *o, const struct gr_setting *s)
{
	o->seed = s->number;
	return 0;
}

static int apply_log(struct gr_options *o, const struct gr_setting *s)
{
	(void)o;
	if (gr_log_set(s->value) == 0)
		return 0;
	fprintf(stderr, "grun: unknown log level '%s' (none, error, warn, info, debug)\n", s->value);
	return -1;
}

static int apply_log_file(struct gr_options *o, const struct gr_setting *s)
{
	o->log_file = s->value;
	return 0;
}

static int apply_log_syslog(struct gr_options *o, const struct gr_setting *s)
{
	o->log_syslog = s->value ? s->value : "";
	return 0;
}

static int apply_trace(struct gr_options *o, const struct gr_setting *s)
{
	o->trace = s->value ? s->value : "";
	return 0;
}

static int apply_profile(struct gr_options *o, const struct gr_setting *s)
{
	o->profile = s->value;
	return 0;
}

static int apply_profile_interval(struct gr_options *o, const struct gr_setting *s)
{
	o->profile_interval = s->number;
	return 0;
}

static const struct option options[] = {
	{"e", 'e', .takes = TEXT, .apply = apply_action},
	{"l", 'l', .takes = TEXT, .apply = apply_action},
	{"j", 'j', .takes = TEXT, .apply = apply_action},
	{"O", 'O', .takes = ATTACHED},
	{"i", 'i', .apply = apply_interactive},
	{"v", 'v', .apply = apply_show_version},
	{"E", 'E', .apply = apply_no_environment},
	{"version", .apply = apply_version},
	{"help", .apply = apply_help},
	{"check", .apply = apply_check},
	{"no-coop", .apply = apply_no_coop},
	{"no-control", .apply = apply_no_control},
	{"quiet", 'q', .apply = apply_quiet},
	{"stack-size", .takes = NUMBER, .low = 64, .high = 1 << 20, .apply = apply_stack_size},
	{"seed", .takes = NUMBER, .low = 1, .high = 9007199254740991.0, .apply = apply_seed},
	{"log", .takes = TEXT, .apply = apply_log},
	{"log-file", .takes = TEXT, .apply = apply_log_file},
	{"log-syslog", .takes = ATTACHED, .apply = apply_log_syslog},
	{"trace-switches", .takes = ATTACHED, .apply = apply_trace},
	{"profile", .takes = TEXT, .apply = apply_profile},
	{"profile-interval", .takes = NUMBER, .low = 1, .high = 10000, .apply = apply_profile_interval},
	/* Workers: read by lualib/grun/settings.lua. */
	{"workers", 'w', .takes = TEXT},
	{"graceful-timeout", .takes = TEXT},
	{"max-requests", .takes = TEXT},
	{"max-requests-jitter", .takes = TEXT},
	{"worker-timeout", .takes = TEXT},
	{"bind-before-fork", .takes = TEXT},
	{"reuse-port", .takes = NOTHING},
	{"pid", .takes = TEXT},
	{"user", .takes = TEXT},
	{"group", .takes = TEXT},
	{"umask", .takes = TEXT},
	{"chdir", .takes = TEXT},
	{"reload", .takes = NOTHING},
	{"preload", .takes = NOTHING},
};

enum { N_OPTIONS = sizeof(options) / sizeof(*options) };

static int bad_option(const char *what, const char *option)
{
	fprintf(stderr, "grun: %s '%s'\n%s", what, option, usage);
	return -1;
}

static int read_number(const struct option *option, struct gr_setting *s)
{
	char *end;

	s->number = strtod(s->value, &end);
	s->is_number = true;
	if (end != s->value && *end == '\0' && s->number >= option->low && s->number <= option->high &&
	    s->number == floor(s->number))
		return 0;
	fprintf(stderr, "grun: --%s needs a whole number from %.0f to %.0f, not '%s'\n", option->name, option->low,
		option->high, s->value);
	return -1;
}

/* One option of the words `word` and `next`; `attached` is the value that came in the same word, or NULL. Returns how
 * many words it used, or -1. */
static int use(struct gr_options *o, const struct option *option, const char *word, const char *attached,
	       const char *next)
{
	struct gr_setting s = {.name = option->name};
	bool wants = option->takes == TEXT || option->takes == NUMBER;

	if (option->takes == NOTHING && attached)
		return bad_option(word[1] == '-' ? "unexpected value in" : "unknown option", word);
	s.value = attached || !wants ? attached : next;
	if (wants && s.value == NULL)
		return bad_option(option->name[1] ? "missing value after" : "missing argument after", word);
	if (option->takes == NUMBER && read_number(option, &s) < 0)
		return -1;
	if (option->apply == NULL)
		keep(o, &s);
	else if (option->apply(o, &s) < 0)
		return -1;
	return wants && !attached ? 2 : 1;
}

static const struct option *find_long(const char *name, size_t length)
{
	for (int i = 0; i < N_OPTIONS; i++) {
		if (length > 1 && strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
			return &options[i];
	}
	return NULL;
}

static const struct option *find_short(char letter)
{
	for (int i = 0; i < N_OPTIONS; i++) {
		if (options[i].letter == letter)
			return &options[i];
	}
	return NULL;
}

/* `--name`, `--name value` and `--name=value`. */
static int parse_long(struct gr_options *o, const char *word, const char *next)
{
	size_t length = strcspn(word + 2, "=");
	const struct option *option = find_long(word + 2, length);
	const char *rest = word + 2 + length;

	return option ? use(o, option, word, *rest ? rest + 1 : NULL, next) : bad_option("unknown option", word);
}

/* `-x`, `-x value` and `-xvalue`. */
static int parse_short(struct gr_options *o, const char *word, const char *next)
{
	const struct option *option = find_short(word[1]);

	return option ? use(o, option, word, word[2] ? word + 2 : NULL, next) : bad_option("unknown option", word);
}

int gr_options_parse(struct gr_options *o, int argc, char **argv)
{
	int i = 1;

	*o = (struct gr_options){.argc = argc, .argv = argv, .environment = true, .coop = true, .control = true};
	o->profile_interval = 10;
	o->settings = calloc((size_t)argc + 1, sizeof(*o->settings));
	if (o->settings == NULL) {
		fputs("grun: out of memory\n", stderr);
		return -1;
	}
	while (i < argc && argv[i][0] == '-' && argv[i][1]) {
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;
		int used;

		if (strcmp(argv[i], "--") == 0) {
			o->separated = true;
			i++;
			break;
		}
		used = argv[i][1] == '-' ? parse_long(o, argv[i], next) : parse_short(o, argv[i], next);
		if (used < 0)
			return -1;
		i += used;
	}
	o->first = i;
	return 0;
}
