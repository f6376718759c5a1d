/* SPDX-License-Identifier: MIT */
/* The log: how a message looks and where it goes. */
#define _GNU_SOURCE
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/green.h"

enum { HEAD_MAX = 256, SHORT = 1024 };

enum form {
	PLAIN,   /* grun: text */
	STAMPED, /* 2026-01-31T12:00:00.123Z warn 4711 #7 "name" text */
	JOURNAL, /* <4>text: systemd's journal notes time and process itself */
	SYSLOG,  /* RFC 3164, as the C library writes it to /dev/log */
};

enum gr_log_level gr_log_level = GR_LOG_WARN;
__thread bool gr_log_outside;

static struct gr_sink sink = GR_SINK_INIT(STDERR_FILENO);

static struct {
	enum form form;
	char *path;  /* of the file or socket, or NULL */
	char *ident; /* of syslog */
	int facility;
	bool opened; /* sink.fd is ours */
} target = {.form = PLAIN};

static const char *const level_names[] = {"none", "error", "warn", "info", "debug"};
static const int severities[] = {0, 3, 4, 6, 7}; /* syslog's */

/* ---- Levels ---- */

int gr_log_level_of(const char *name)
{
	for (int i = 0; i < 5; i++)
		if (strcmp(name, level_names[i]) == 0)
			return i;
	return -1;
}

const char *gr_log_level_name(enum gr_log_level level)
{
	return level_names[level];
}

int gr_log_set(const char *name)
{
	int level = gr_log_level_of(name);

	if (level < 0)
		return -1;
	gr_log_level = (enum gr_log_level)level;
	return 0;
}

/* ---- The form of a message ---- */

/* systemd says which descriptor leads to its journal: "device:inode". */
static bool leads_to_journal(int fd)
{
	const char *value = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return value && sscanf(value, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &st) == 0 &&
	       st.st_dev == device && st.st_ino == inode;
}

static int put_who(char *head, size_t size)
{
	const struct gr_green *g = gr_current;

	if (gr_log_outside || !gr_on_green())
		return 0;
	return snprintf(head, size, g->name ? "#%llu \"%s\" " : "#%llu ", (unsigned long long)g->id, g->name);
}

static int put_stamp(enum gr_log_level level, char *head, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(head, size, "%Y-%m-%dT%H:%M:%S", &tm);
	return (int)n +
	       snprintf(head + n, size - n, ".%03ldZ %s %d ", now.tv_nsec / 1000000, level_names[level], getpid());
}

static int put_syslog(enum gr_log_level level, char *head, size_t size)
{
	time_t now = time(NULL);
	char date[32];
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(date, sizeof(date), "%b %e %H:%M:%S", &tm);
	return snprintf(head, size, "<%d>%s %s[%d]: ", target.facility | severities[level], date, target.ident,
			getpid());
}

/* What stands before the text. Returns its length. */
static size_t put_head(enum gr_log_level level, char *head, size_t size)
{
	int n = 0;

	switch (target.form) {
	case PLAIN:
		return (size_t)snprintf(head, size, "grun: ");
	case STAMPED:
		n = put_stamp(level, head, size);
		break;
	case JOURNAL:
		n = snprintf(head, size, "<%d>", severities[level]);
		break;
	case SYSLOG:
		n = put_syslog(level, head, size);
		break;
	}
	if ((size_t)n >= size)
		return size - 1;
	n += put_who(head + n, size - (size_t)n);
	return (size_t)n < size ? (size_t)n : size - 1;
}

/* What stands before a further line of the text, so that no text can look like another message. */
static size_t put_indent(enum gr_log_level level, char *out)
{
	if (target.form == JOURNAL)
		return (size_t)sprintf(out, "<%d>\t", severities[level]);
	if (target.form == STAMPED)
		*out = '\t';
	return target.form == STAMPED;
}

/* Writes the whole message to out, which has room. Returns its length. */
static size_t render(enum gr_log_level level, const char *text, size_t n, char *out)
{
	size_t length = put_head(level, out, HEAD_MAX);

	for (size_t i = 0; i < n; i++) {
		out[length++] = text[i];
		if (text[i] == '\n')
			length += put_indent(level, out + length);
	}
	if (target.form != SYSLOG)
		out[length++] = '\n';
	return length;
}

static size_t room_for(const char *text, size_t n)
{
	size_t room = HEAD_MAX + n + 2;

	for (size_t i = 0; i < n; i++)
		room += text[i] == '\n' ? 8 : 0;
	return room;
}

void gr_log_text(enum gr_log_level level, const char *text, size_t n)
{
	char small[SHORT + HEAD_MAX], *out = small;
	int saved = errno;

	if (level > gr_log_level)
		return;
	while (n > 0 && text[n - 1] == '\n')
		n--;
	if (room_for(text, n) > sizeof(small))
		out = malloc(room_for(text, n));
	if (out == NULL) {
		out = small;
		n = SHORT / 16; /* of lines that are empty */
	}
	gr_sink_put(&sink, out, render(level, text, n, out));
	if (out != small)
		free(out);
	errno = saved;
}

void gr_log(enum gr_log_level level, const char *format, ...)
{
	char text[SHORT];
	int saved = errno, n;
	va_list ap;

	if (level > gr_log_level)
		return;
	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	gr_log_text(level, text, n < 0 ? 0 : n < SHORT ? (size_t)n : SHORT - 1);
	errno = saved;
}

/* ---- Where messages go ---- */

static size_t notice(uint64_t n, char *text, size_t size)
{
	char what[128];
	int length = snprintf(what, sizeof(what), "%llu messages of the log were dropped: nothing took them",
			      (unsigned long long)n);

	(void)size;
	gr_log_outside = true; /* in the writer's OS thread */
	return render(GR_LOG_WARN, what, (size_t)length, text);
}

static int connect_syslog(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static int reconnect(struct gr_sink *s)
{
	int fd = connect_syslog(target.path);

	if (fd < 0)
		return fd;
	gr_sink_replace(s, fd);
	return 0;
}

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);

	return fd < 0 ? -errno : fd;
}

/* Everything is at hand: nothing fails from here on. What is queued still goes to the old place if that is quick. */
static void set_target(enum form form, int fd, char *path, char *ident, int facility)
{
	gr_sink_flush(&sink, 0.1);
	pthread_mutex_lock(&sink.lock);
	if (!target.opened)
		sink.fd = fd;
	else if (fd == STDERR_FILENO)
		close(sink.fd);
	else
		gr_sink_replace(&sink, fd);
	if (fd == STDERR_FILENO)
		sink.fd = fd;
	free(target.path);
	free(target.ident);
	target.form = form;
	target.path = path;
	target.ident = ident;
	target.facility = facility;
	target.opened = fd != STDERR_FILENO;
	sink.datagrams = form == SYSLOG;
	sink.queued_only = target.opened && form != SYSLOG;
	sink.reconnect = reconnect;
	sink.notice = notice;
	pthread_mutex_unlock(&sink.lock);
}

void gr_log_stamp(void)
{
	sink.notice = notice;
	if (target.form == PLAIN)
		target.form = leads_to_journal(STDERR_FILENO) ? JOURNAL : STAMPED;
}

int gr_log_to_stderr(void)
{
	set_target(leads_to_journal(STDERR_FILENO) ? JOURNAL : STAMPED, STDERR_FILENO, NULL, NULL, 0);
	return 0;
}

int gr_log_to_file(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open_file(path) : -ENOMEM;

	if (fd < 0) {
		free(copy);
		return fd;
	}
	set_target(STAMPED, fd, copy, NULL, 0);
	return 0;
}

static int facility_of(const char *name)
{
	static const char *const names[] = {"kern", "user", "mail", "daemon", "auth",     "syslog",
					    "lpr",  "news", "uucp", "cron",   "authpriv", "ftp"};

	for (int i = 0; i < (int)(sizeof(names) / sizeof(*names)); i++)
		if (strcmp(name, names[i]) == 0)
			return i << 3;
	if (strncmp(name, "local", 5) == 0 && name[5] >= '0' && name[5] <= '7' && name[6] == '\0')
		return (16 + name[5] - '0') << 3;
	return -EINVAL;
}

int gr_log_to_syslog(const char *path, const char *facility, const char *ident)
{
	int code = facility_of(facility), fd;
	char *copy, *name;

	if (code < 0)
		return code;
	fd = connect_syslog(path ? path : "/dev/log");
	if (fd < 0)
		return fd;
	copy = strdup(path ? path : "/dev/log");
	name = strdup(ident ? ident : "grun");
	if (copy == NULL || name == NULL) {
		free(copy);
		free(name);
		close(fd);
		return -ENOMEM;
	}
	set_target(SYSLOG, fd, copy, name, code);
	return 0;
}

int gr_log_reopen(void)
{
	int fd;

	if (!target.opened)
		return 0;
	fd = target.form == SYSLOG ? connect_syslog(target.path) : open_file(target.path);
	if (fd < 0)
		return fd;
	gr_sink_replace(&sink, fd);
	return 0;
}

struct gr_sink_stats gr_log_stats(void)
{
	return gr_sink_stats(&sink);
}

void gr_log_share(void)
{
	gr_sink_share(&sink);
}
