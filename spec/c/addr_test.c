/* SPDX-License-Identifier: MIT */
/* Addresses and the hosts file, without Lua and sockets. Prints one "ok" or "not ok" line a test. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/hosts.h"

static int failures;

static void check(bool good, const char *name)
{
	printf("%s %s\n", good ? "ok" : "not ok", name);
	failures += !good;
}

static char *repeat(const char *before, char c, int n, const char *after)
{
	char *text = calloc(1, strlen(before) + (size_t)n + strlen(after) + 1);

	if (text == NULL)
		abort();
	strcpy(text, before);
	memset(text + strlen(before), c, (size_t)n);
	strcat(text, after);
	return text;
}

/* ---- Parsing ---- */

static void test_good(void)
{
	static const struct {
		const char *text, *name;
		enum gr_scheme scheme;
		int port;
	} cases[] = {
		{"tcp://127.0.0.1:80", "127.0.0.1", GR_SCHEME_TCP, 80},
		{"127.0.0.1:80", "127.0.0.1", GR_SCHEME_TCP, 80},
		{"TCP://example.org:443", "example.org", GR_SCHEME_TCP, 443},
		{"example.org.:443", "example.org.", GR_SCHEME_TCP, 443},
		{"tcp://:80", "", GR_SCHEME_TCP, 80},
		{":80", "", GR_SCHEME_TCP, 80},
		{"localhost:0", "localhost", GR_SCHEME_TCP, 0},
		{"my_host-1:65535", "my_host-1", GR_SCHEME_TCP, 65535},
		{"[::1]:80", "::1", GR_SCHEME_TCP, 80},
		{"tcp://[fe80::1%lo]:80", "fe80::1%lo", GR_SCHEME_TCP, 80},
		{"tcp://[::ffff:1.2.3.4]:80", "::ffff:1.2.3.4", GR_SCHEME_TCP, 80},
		{"unix:/run/app.sock", "/run/app.sock", GR_SCHEME_UNIX, 0},
		{"unix:///run/app.sock", "/run/app.sock", GR_SCHEME_UNIX, 0},
		{"unix:app.sock", "app.sock", GR_SCHEME_UNIX, 0},
		{"unix:@app", "@app", GR_SCHEME_UNIX, 0},
		{"tls://example.org:443", "example.org", GR_SCHEME_TLS, 443},
		{"tls://[::1]:443", "::1", GR_SCHEME_TLS, 443},
		{"UDP://:53", "", GR_SCHEME_UDP, 53},
		{"udp://[::1]:53", "::1", GR_SCHEME_UDP, 53},
		{"unixgram:/dev/log", "/dev/log", GR_SCHEME_UNIXGRAM, 0},
		{"unixgram:@log", "@log", GR_SCHEME_UNIXGRAM, 0},
		{"fd:3", "", GR_SCHEME_FD, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[128], why[GR_ADDR_WHY] = "";
		struct gr_endpoint e;
		int rc = gr_addr_parse(cases[i].text, strlen(cases[i].text), &e, why);

		snprintf(name, sizeof(name), "parses %s", cases[i].text);
		check(rc == 0 && e.scheme == cases[i].scheme && e.port == cases[i].port &&
			      strcmp(e.name, cases[i].name) == 0 &&
			      e.fd == (e.scheme == GR_SCHEME_FD ? 3 : -1), name);
	}
}

static void expect_bad(const char *text, size_t len, const char *reason)
{
	char name[300], why[GR_ADDR_WHY] = "";
	struct gr_endpoint e;
	int rc = gr_addr_parse(text, len, &e, why);

	snprintf(name, sizeof(name), "refuses \"%.60s\": %s", text, reason);
	if (strcmp(why, reason) != 0)
		printf("# said: %s\n", why);
	check(rc == GR_BAD_ADDRESS && strcmp(why, reason) == 0, name);
}

static void test_bad(void)
{
	static const char *const cases[][2] = {
		{"", "empty"},
		{"tcp://", "missing port"},
		{"tcp://127.0.0.1", "missing port"},
		{"tcp://127.0.0.1:", "missing port"},
		{"80", "missing port"},
		{"host:http", "bad port \"http\""},
		{"host:80/", "bad port \"80/\""},
		{"host:-1", "bad port \"-1\""},
		{"host:+80", "bad port \"+80\""},
		{"host: 80", "bad port \" 80\""},
		{"host:000080", "bad port \"000080\""},
		{"host:65536", "port 65536 is above 65535"},
		{"host:99999", "port 99999 is above 65535"},
		{"::1:80", "an IPv6 address needs brackets, as in [::1]:80"},
		{"[::1:80", "missing \"]\""},
		{"[::1]", "missing port"},
		{"[::1]80", "missing port"},
		{"[::1]:", "missing port"},
		{"[]:80", "bad IPv6 address \"\""},
		{"[1.2.3.4]:80", "bad IPv6 address \"1.2.3.4\""},
		{"[::g]:80", "bad IPv6 address \"::g\""},
		{"[::1%]:80", "bad IPv6 address \"::1%\""},
		{"1.2.3:80", "bad IPv4 address \"1.2.3\""},
		{"1.2.3.256:80", "bad IPv4 address \"1.2.3.256\""},
		{"01.2.3.4:80", "bad IPv4 address \"01.2.3.4\""},
		{"12345:80", "bad IPv4 address \"12345\""},
		{"a b:80", "bad character in host name \"a b\""},
		{"*:80", "bad character in host name \"*\""},
		{"a..b:80", "empty label in host name \"a..b\""},
		{".a:80", "empty label in host name \".a\""},
		{"user:pw@host:80", "a user has no place in it"},
		{"tls://user:pw@host", "a user has no place in it"},
		{"sctp://host:80", "unknown scheme \"sctp\""},
		{"://host:80", "unknown scheme \"\""},
		{"unix:", "missing path"},
		{"unix:@", "missing path"},
		{"unix://host/path", "write unix:/path or unix:@name"},
		{"tls://host", "missing port"},
		{"udp://host:65536", "port 65536 is above 65535"},
		{"unixgram:", "missing path"},
		{"fd:", "missing descriptor"},
		{"fd:-1", "bad descriptor \"-1\""},
		{"fd:3x", "bad descriptor \"3x\""},
		{"fd:2147483648", "bad descriptor \"2147483648\""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_bad(cases[i][0], strlen(cases[i][0]), cases[i][1]);
	expect_bad("unix:/a\0b", 9, "contains a NUL byte");
}

static void test_lengths(void)
{
	char *path = repeat("unix:/", 'p', 106, ""), *longer = repeat("unix:/", 'p', 107, "");
	char *abstract = repeat("unix:@", 'a', 107, ""), *host = repeat("", 'h', 253, ":1");
	char *long_host = repeat("", 'h', 254, ":1"), *huge = repeat("", 'h', 70000, ":1");
	char why[GR_ADDR_WHY];
	struct gr_endpoint e;

	check(gr_addr_parse(path, strlen(path), &e, why) == 0, "a unix path of 107 bytes is the longest");
	expect_bad(longer, strlen(longer), "unix path of 108 bytes, the limit is 107");
	check(gr_addr_parse(abstract, strlen(abstract), &e, why) == 0, "an abstract name may have 107 bytes after @");
	check(gr_addr_parse(host, strlen(host), &e, why) == 0, "a host name of 253 bytes is the longest");
	expect_bad(long_host, strlen(long_host), "host name longer than 253 bytes");
	expect_bad(huge, strlen(huge), "host name longer than 253 bytes");
	free(path), free(longer), free(abstract), free(host), free(long_host), free(huge);
}

/* ---- Resolving and formatting ---- */

static int resolve(const char *text, bool passive, struct gr_addr *out, int max)
{
	char why[GR_ADDR_WHY];
	struct gr_endpoint e;
	int rc = gr_addr_parse(text, strlen(text), &e, why);

	return rc < 0 ? rc : gr_addr_resolve(&e, passive, out, max);
}

static void test_round_trip(void)
{
	static const char *const cases[][2] = {
		{"127.0.0.1:80", "tcp://127.0.0.1:80"},
		{"tcp://[::1]:65535", "tcp://[::1]:65535"},
		{"tcp://[0:0::0:1]:1", "tcp://[::1]:1"},
		{"tcp://[::ffff:1.2.3.4]:5", "tcp://1.2.3.4:5"},
		{"tcp://[fe80::1%lo]:80", "tcp://[fe80::1%lo]:80"},
		{"unix:/run/app.sock", "unix:/run/app.sock"},
		{"unix:@app", "unix:@app"},
		{"tls://127.0.0.1:443", "tls://127.0.0.1:443"},
		{"udp://[::1]:53", "udp://[::1]:53"},
		{"unixgram:/dev/log", "unixgram:/dev/log"},
		{"unixgram:@log", "unixgram:@log"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char name[128], text[GR_ADDR_TEXT] = "", why[GR_ADDR_WHY];
		struct gr_endpoint e = {0};
		struct gr_addr addr;
		int rc = gr_addr_parse(cases[i][0], strlen(cases[i][0]), &e, why);
		int n = rc < 0 ? rc : gr_addr_resolve(&e, false, &addr, 1);
		size_t len = n == 1 ? gr_addr_format(&addr, e.scheme, text) : 0;

		snprintf(name, sizeof(name), "%s is written as %s", cases[i][0], cases[i][1]);
		check(n == 1 && len == strlen(text) && strcmp(text, cases[i][1]) == 0, name);
	}
}

static bool is(const struct gr_addr *addr, const char *text)
{
	char buf[GR_ADDR_TEXT];

	gr_addr_format(addr, GR_SCHEME_TCP, buf);
	return strcmp(buf, text) == 0;
}

static void test_special_names(void)
{
	struct gr_addr a[4];

	check(resolve(":80", true, a, 4) == 2 && is(&a[0], "tcp://[::]:80") && is(&a[1], "tcp://0.0.0.0:80"),
	      "no host means all interfaces to listen");
	check(resolve(":80", false, a, 4) == 2 && is(&a[0], "tcp://127.0.0.1:80") && is(&a[1], "tcp://[::1]:80"),
	      "no host means this machine to connect");
	check(resolve("LocalHost:80", true, a, 4) == 2 && is(&a[0], "tcp://127.0.0.1:80"), "localhost is built in");
	check(resolve("localhost:80", true, a, 1) == 1, "no more addresses are stored than there is room for");
	check(resolve("no-such-host.invalid:80", false, a, 4) == GR_NOT_FOUND, "an unknown name is not found");
	check(resolve("[fe80::1%nosuchif]:80", false, a, 4) == -ENODEV, "an unknown zone is ENODEV");
}

static void test_unix_lengths(void)
{
	struct gr_addr a;
	char text[GR_ADDR_TEXT];
	size_t before = offsetof(struct sockaddr_un, sun_path);

	check(resolve("unix:@app", false, &a, 1) == 1 && a.len == before + 4 && a.u.un.sun_path[0] == '\0',
	      "an abstract name begins with NUL and has no NUL at its end");
	check(resolve("unix:/app", false, &a, 1) == 1 && a.len == before + 5, "a path ends with NUL");
	a.len = (socklen_t)before;
	check(gr_addr_format(&a, GR_SCHEME_UNIX, text) == 5 && strcmp(text, "unix:") == 0, "an unnamed unix socket is unix:");
	a.len = sizeof(a.u.un);
	memset(a.u.un.sun_path, 'p', sizeof(a.u.un.sun_path));
	check(gr_addr_format(&a, GR_SCHEME_UNIX, text) == 5 + sizeof(a.u.un.sun_path), "a path without NUL is written whole");
}

/* ---- The hosts file ---- */

static const char sample[] = "# comment\n"
			     "127.0.0.1\tone  Two.example\t# three\n"
			     "   10.0.0.1 one\r\n"
			     "\n"
			     "::1 one\n"
			     "fe80::1%lo zoned\n"
			     "not-an-address one\n"
			     "300.1.1.1 one\n"
			     "10.0.0.2\n"
			     "10.0.0.3 last";

static int find(const char *name, struct gr_addr *out, int max)
{
	return gr_hosts_find(sample, sizeof(sample) - 1, name, 7, out, max);
}

static void test_hosts_text(void)
{
	struct gr_addr a[8];

	check(find("one", a, 8) == 3 && is(&a[0], "tcp://127.0.0.1:7") && is(&a[1], "tcp://10.0.0.1:7") &&
		      is(&a[2], "tcp://[::1]:7"), "all addresses of a name, in the file's order");
	check(find("one", a, 2) == 2, "at most as many as there is room for");
	check(find("TWO.Example.", a, 8) == 1, "case and a final dot do not matter");
	check(find("three", a, 8) == 0 && find("comment", a, 8) == 0, "comments are no names");
	check(find("on", a, 8) == 0 && find("ones", a, 8) == 0, "only whole names count");
	check(find("zoned", a, 8) == 1 && is(&a[0], "tcp://[fe80::1%lo]:7"), "zones are understood");
	check(find("last", a, 8) == 1, "the last line needs no newline");
	check(find("10.0.0.2", a, 8) == 0 && find("", a, 8) == 0, "an address is not its own name");
	check(gr_hosts_find("", 0, "one", 7, a, 8) == 0, "an empty file has no names");
}

/* Every prefix, copied so that a sanitizer sees a read past its end. */
static void test_hosts_prefixes(void)
{
	struct gr_addr a[8];
	int most = 0;

	for (size_t n = 0; n <= sizeof(sample) - 1; n++) {
		char *part = malloc(n ? n : 1);
		int found;

		if (part == NULL)
			abort();
		memcpy(part, sample, n);
		found = gr_hosts_find(part, n, "one", 7, a, 8);
		most = found > most ? found : most;
		free(part);
	}
	check(most == 3, "any prefix of a hosts file is read safely");
}

static void put(const char *path, const char *text, time_t mtime)
{
	FILE *f = fopen(path, "w");
	struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};

	if (f == NULL || fputs(text, f) < 0 || fclose(f) != 0 || utimensat(AT_FDCWD, path, times, 0) < 0)
		abort();
}

static void test_hosts_file(void)
{
	char path[] = "/tmp/hosts_XXXXXX";
	int fd = mkstemp(path);
	struct gr_textfile h = {.path = path};
	struct gr_addr a[2];
	char *before;

	if (fd < 0)
		abort();
	close(fd);
	put(path, "10.0.0.1 name\n", 1000);
	check(gr_hosts_lookup(&h, "name", 1, a, 2) == 1 && is(&a[0], "tcp://10.0.0.1:1"), "the file is read");
	before = h.text;
	check(gr_hosts_lookup(&h, "name", 1, a, 2) == 1 && h.text == before, "and not again while it stays the same");
	put(path, "10.0.0.2 name\n", 2000);
	check(gr_hosts_lookup(&h, "name", 1, a, 2) == 1 && is(&a[0], "tcp://10.0.0.2:1"), "but when its time changed");
	unlink(path);
	check(gr_hosts_lookup(&h, "name", 1, a, 2) == 0, "a missing file is empty");
	put(path, "10.0.0.2 name\n", 2000);
	check(gr_hosts_lookup(&h, "name", 1, a, 2) == 1, "and read when it is back");
	put(path, "", 3000);
	check(gr_hosts_lookup(&h, "name", 1, a, 2) == 0, "an empty file has no names");
	unlink(path);
	gr_hosts_lookup(&h, "name", 1, a, 2);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_good();
	test_bad();
	test_lengths();
	test_round_trip();
	test_special_names();
	test_unix_lengths();
	test_hosts_text();
	test_hosts_prefixes();
	test_hosts_file();
	return failures > 0;
}
