/* SPDX-License-Identifier: MIT */
/* The sampling profiler: LuaJIT's, with the samples summed up per stack in the folded form that flame graphs are made of. */
#define _GNU_SOURCE
#include "bind/lib_profile.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <luajit.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bind/luautil.h"
#include "bind/state.h"
#include "core/hub.h"
#include "core/log.h"

enum {
	LEVELS = 60,       /* innermost functions of a stack that are told apart */
	STACK_TEXT = 4096, /* bytes of a folded stack */
	BUCKETS = 1 << 12,
	ROOM = 16 << 20, /* bytes of different stacks; what comes then counts as "(other)" */
};

struct entry {
	struct entry *next;
	uint64_t samples;
	size_t size;
	char text[];
};

static struct {
	bool running;
	int interval; /* milliseconds */
	char *path;   /* or NULL: only taken by dump */
	pid_t first;  /* whose file has that very name; 0 in a worker: its master's */
	bool heeds_forks;
	struct entry *buckets[BUCKETS];
	size_t used;
	uint64_t samples, other;
} profile;

/* ---- Samples ---- */

static size_t hash(const char *text, size_t n)
{
	size_t h = 14695981039346656037u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)text[i]) * 1099511628211u;
	return (h ^ h >> 29) % BUCKETS;
}

static void count(const char *text, size_t n, uint64_t samples)
{
	struct entry **bucket = &profile.buckets[hash(text, n)], *entry;

	profile.samples += samples;
	for (entry = *bucket; entry; entry = entry->next) {
		if (entry->size == n && memcmp(entry->text, text, n) == 0) {
			entry->samples += samples;
			return;
		}
	}
	entry = profile.used + n + sizeof(*entry) <= ROOM ? malloc(sizeof(*entry) + n) : NULL;
	if (entry == NULL) {
		profile.other += samples;
		return;
	}
	profile.used += n + sizeof(*entry);
	entry->next = *bucket;
	entry->samples = samples;
	entry->size = n;
	memcpy(entry->text, text, n);
	*bucket = entry;
}

/* ";" separates the frames of a stack, a line break the stacks. */
static size_t put(char *text, size_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));

static size_t put(char *text, size_t at, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text + at, STACK_TEXT - at, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= STACK_TEXT - at)
		return at;
	for (size_t i = at; i < at + (size_t)n; i++)
		if (text[i] == ';' || text[i] == '\n')
			text[i] = ':';
	return at + (size_t)n;
}

/* The thread: its name, or where it was spawned, so that the many threads of one kind are one. */
static size_t put_thread(char *text)
{
	const char *source;
	int line = 0;

	if (!gr_on_green())
		return put(text, 0, "hub");
	if (gr_current->name)
		return put(text, 0, "%s", gr_current->name);
	source = gr_hub.spawn_site ? gr_hub.spawn_site(gr_current, &line) : NULL;
	return source ? put(text, 0, "spawned at %s:%d", source, line) : put(text, 0, "main");
}

static size_t put_frame(const lua_Debug *ar, char *text, size_t at)
{
	const char *name = ar->namewhat && *ar->namewhat ? ar->name : NULL;

	if (at >= STACK_TEXT - 1)
		return at;
	text[at++] = ';';
	if (*ar->what == 'C')
		return put(text, at, "%s [C]", name ? name : "?");
	if (*ar->what == 'm')
		return put(text, at, "%s", ar->short_src);
	return put(text, at, "%s %s:%d", name ? name : "function", ar->short_src, ar->linedefined);
}

static const char *state_name(int vmstate)
{
	switch (vmstate) {
	case 'N':
		return "[compiled]";
	case 'I':
		return "[interpreted]";
	case 'C':
		return "[C]";
	case 'G':
		return "[GC]";
	default:
		return "[JIT compiler]";
	}
}

/* A hook of the VM: nothing may wait, raise or allocate Lua values here. */
static void on_sample(void *data, lua_State *L, int samples, int vmstate)
{
	static char text[STACK_TEXT];
	static lua_Debug frames[LEVELS];
	size_t at = put_thread(text);
	int n = 0;

	(void)data;
	while (n < LEVELS && lua_getstack(L, n, &frames[n]) && lua_getinfo(L, "Snl", &frames[n]))
		n++;
	while (n > 0)
		at = put_frame(&frames[--n], text, at);
	if (at < STACK_TEXT - 1)
		text[at++] = ';';
	at = put(text, at, "%s", state_name(vmstate));
	count(text, at, (uint64_t)samples);
}

/* ---- Sampling ---- */

static void forget(void)
{
	for (int i = 0; i < BUCKETS; i++) {
		while (profile.buckets[i]) {
			struct entry *entry = profile.buckets[i];

			profile.buckets[i] = entry->next;
			free(entry);
		}
	}
	profile.used = 0;
	profile.samples = profile.other = 0;
}

/* "l": the samples are exact to the line also in compiled code, which is left for each. */
static void run(void)
{
	char mode[16];

	snprintf(mode, sizeof(mode), "li%d", profile.interval);
	luaJIT_profile_start(gr_lua.main, mode, on_sample, NULL);
}

/* In a child that a fork made, when its loop is polled for the first time: timers are not inherited. */
static void run_in_child(void)
{
	luaJIT_profile_stop(gr_lua.main);
	forget();
	run();
}

static void in_child(void)
{
	if (profile.running && !gr_lua.forked && gr_hub.on_poll == NULL)
		gr_hub.on_poll = run_in_child;
}

/* ---- Where to ---- */

/* Where this process writes: %p is its id; children without one in the name get their own file. Heap, or NULL. */
static char *output_path(void)
{
	const char *mark = strstr(profile.path, "%p");
	char *path = NULL;
	int rc;

	if (mark)
		rc = asprintf(&path, "%.*s%d%s", (int)(mark - profile.path), profile.path, getpid(), mark + 2);
	else if (getpid() != profile.first)
		rc = asprintf(&path, "%s.%d", profile.path, getpid());
	else
		rc = asprintf(&path, "%s", profile.path);
	return rc < 0 ? NULL : path;
}

/* As it is meant now, wherever the process has gone by the time it writes. Heap, or NULL. */
static char *absolute(const char *path)
{
	char *dir, *whole = NULL;

	if (*path == '/' || *path == '\0')
		return strdup(path);
	dir = getcwd(NULL, 0);
	if (dir == NULL)
		return strdup(path);
	if (asprintf(&whole, "%s/%s", dir, path) < 0)
		whole = NULL;
	free(dir);
	return whole;
}

/* Can it be written? The file is made if need be; what is in it stays, and a pipe's reader sees no end. Returns 0 or a
 * negative errno. */
static int check_writable(const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return access(path, W_OK) < 0 ? -errno : 0;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	return fd < 0 ? -errno : close(fd);
}

static int set_path(const char *path)
{
	char *file;
	int rc;

	free(profile.path);
	profile.path = path ? absolute(path) : NULL;
	if (path == NULL)
		return 0;
	file = profile.path ? output_path() : NULL;
	rc = file ? check_writable(file) : -ENOMEM;
	free(file);
	return rc;
}

/* ---- Starting and stopping ---- */

int gr_profile_start(int interval, const char *path)
{
	int rc;

	if (profile.running)
		return -EALREADY;
	if (!profile.heeds_forks) {
		profile.heeds_forks = true;
		profile.first = getenv("GRUN_WORKER") ? 0 : getpid();
		pthread_atfork(NULL, NULL, in_child);
	}
	rc = set_path(path);
	if (rc < 0)
		return rc;
	forget();
	profile.interval = interval;
	profile.running = true;
	run();
	return 0;
}

static void stop(void)
{
	if (profile.running)
		luaJIT_profile_stop(gr_lua.main);
	profile.running = false;
}

/* ---- Output ---- */

static void write_stacks(FILE *file)
{
	for (int i = 0; i < BUCKETS; i++)
		for (const struct entry *entry = profile.buckets[i]; entry; entry = entry->next)
			fprintf(file, "%.*s %llu\n", (int)entry->size, entry->text, (unsigned long long)entry->samples);
	if (profile.other > 0)
		fprintf(file, "(other) %llu\n", (unsigned long long)profile.other);
}

/* Returns 0 or a negative errno. */
static int write_file(void)
{
	char *path = output_path();
	FILE *file = path ? fopen(path, "we") : NULL;
	int rc = file ? 0 : path ? -errno : -ENOMEM;

	if (file) {
		write_stacks(file);
		if (ferror(file))
			rc = -EIO;
		if (fclose(file) != 0)
			rc = -errno;
	}
	if (rc < 0)
		gr_log(GR_LOG_ERROR, "cannot write the profile %s: %s", path ? path : profile.path, strerror(-rc));
	free(path);
	return rc;
}

void gr_profile_finish(void)
{
	if (!profile.running)
		return;
	stop();
	if (profile.path)
		write_file();
}

/* ---- Lua ---- */

/* start(interval_ms, path|nil) -> true, or nil, message, code; "EALREADY": it runs */
static int l_profile_start(lua_State *L)
{
	const char *path = luaL_optstring(L, 2, NULL);
	int rc = gr_profile_start((int)luaL_checkinteger(L, 1), path);

	if (rc < 0)
		return gr_lua_failf(L, rc, "%s", path ? path : "profile");
	lua_pushboolean(L, 1);
	return 1;
}

/* stop() -> was it running */
static int l_profile_stop(lua_State *L)
{
	lua_pushboolean(L, profile.running);
	stop();
	return 1;
}

/* write() -> true, or nil, message, code; true too when there is no file to write to */
static int l_profile_write(lua_State *L)
{
	int rc = profile.path ? write_file() : 0;

	if (rc < 0)
		return gr_lua_fail(L, rc);
	lua_pushboolean(L, 1);
	return 1;
}

/* dump() -> the folded stacks, the number of samples */
static int l_profile_dump(lua_State *L)
{
	char number[32];
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	for (int i = 0; i < BUCKETS; i++) {
		for (const struct entry *entry = profile.buckets[i]; entry; entry = entry->next) {
			luaL_addlstring(&b, entry->text, entry->size);
			snprintf(number, sizeof(number), " %llu\n", (unsigned long long)entry->samples);
			luaL_addstring(&b, number);
		}
	}
	luaL_pushresult(&b);
	lua_pushnumber(L, (lua_Number)profile.samples);
	return 2;
}

static const luaL_Reg functions[] = {
	{"start", l_profile_start},
	{"stop", l_profile_stop},
	{"write", l_profile_write},
	{"dump", l_profile_dump},
	{NULL, NULL},
};

int luaopen_grun_core_profile(lua_State *L)
{
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	return 1;
}
