/* SPDX-License-Identifier: MIT */
/* Parsing, resolving and formatting of addresses. */
#define _GNU_SOURCE
#include "net/addr.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_DNS = 253 }; /* RFC 1035 section 2.3.4, written without the final dot */

__attribute__((format(printf, 2, 3))) static int bad(char *why, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, GR_ADDR_WHY, format, ap);
	va_end(ap);
	return GR_BAD_ADDRESS;
}

/* Literals. */

static int parse_zone(const char *zone, uint32_t *id)
{
	char *end;
	unsigned long n = strtoul(zone, &end, 10);

	*id = isdigit((unsigned char)*zone) && *end == '\0' && n <= UINT32_MAX ? (uint32_t)n : if_nametoindex(zone);
	return *id ? 0 : -ENODEV;
}

static void set_v4(struct gr_addr *out, struct in_addr ip, uint16_t port)
{
	memset(out, 0, sizeof(*out));
	out->len = sizeof(out->u.in);
	out->u.in.sin_family = AF_INET;
	out->u.in.sin_port = htons(port);
	out->u.in.sin_addr = ip;
}

static void set_v6(struct gr_addr *out, struct in6_addr ip, uint16_t port)
{
	memset(out, 0, sizeof(*out));
	out->len = sizeof(out->u.in6);
	out->u.in6.sin6_family = AF_INET6;
	out->u.in6.sin6_port = htons(port);
	out->u.in6.sin6_addr = ip;
}

/* Splits "address%zone" into `text`; returns the zone, NULL when there is none or it does not fit. */
static const char *split_zone(const char *host, char *text, size_t size)
{
	const char *zone = strchr(host, '%');
	size_t len = zone ? (size_t)(zone - host) : strlen(host);

	snprintf(text, size, "%.*s", len < size ? (int)len : 0, host);
	return zone ? zone + 1 : NULL;
}

int gr_addr_literal(const char *host, uint16_t port, struct gr_addr *out)
{
	char text[INET6_ADDRSTRLEN];
	const char *zone = split_zone(host, text, sizeof(text));
	struct in6_addr v6;
	struct in_addr v4;

	if (!zone && inet_pton(AF_INET, text, &v4) == 1) {
		set_v4(out, v4, port);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6) != 1)
		return GR_BAD_ADDRESS;
	set_v6(out, v6, port);
	return zone ? parse_zone(zone, &out->u.in6.sin6_scope_id) : 0;
}

/* Parsing. */

static int parse_port(const char *p, size_t len, uint16_t *port, char *why)
{
	unsigned n = 0;

	if (len == 0)
		return bad(why, "missing port");
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)p[i]) || i >= 5)
			return bad(why, "bad port \"%.*s\"", len > 40 ? 40 : (int)len, p);
		n = n * 10 + (unsigned)(p[i] - '0');
	}
	if (n > 65535)
		return bad(why, "port %u is above 65535", n);
	*port = (uint16_t)n;
	return 0;
}

/* True if the last label is a number: then it must be a complete IPv4 address, never a name. */
static bool ends_in_number(const char *host)
{
	const char *dot = strrchr(host, '.');
	const char *label = dot ? dot + 1 : host;

	return *label && strspn(label, "0123456789") == strlen(label);
}

static int check_host(const char *host, char *why)
{
	struct in_addr v4;

	if (strlen(host) > NAME_MAX_DNS)
		return bad(why, "host name longer than %d bytes", NAME_MAX_DNS);
	for (const char *p = host; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-._", *p))
			return bad(why, "bad character in host name \"%.60s\"", host);
	if (*host == '.' || strstr(host, ".."))
		return bad(why, "empty label in host name \"%.60s\"", host);
	if (ends_in_number(host) && inet_pton(AF_INET, host, &v4) != 1)
		return bad(why, "bad IPv4 address \"%.60s\"", host);
	return 0;
}

static int check_v6(const char *host, char *why)
{
	char text[INET6_ADDRSTRLEN];
	const char *zone = split_zone(host, text, sizeof(text));
	struct in6_addr v6;

	if (inet_pton(AF_INET6, text, &v6) != 1 || (zone && *zone == '\0'))
		return bad(why, "bad IPv6 address \"%.60s\"", host);
	return 0;
}

static int copy_name(struct gr_endpoint *out, const char *p, size_t len, char *why)
{
	if (len >= sizeof(out->name))
		return bad(why, "host name longer than %d bytes", NAME_MAX_DNS);
	memcpy(out->name, p, len);
	out->name[len] = '\0';
	return 0;
}

static int parse_bracketed(const char *p, size_t len, struct gr_endpoint *out, char *why)
{
	const char *end = memchr(p, ']', len);
	size_t used;

	if (!end)
		return bad(why, "missing \"]\"");
	used = (size_t)(end - p) + 1;
	if (copy_name(out, p + 1, used - 2, why) < 0 || check_v6(out->name, why) < 0)
		return GR_BAD_ADDRESS;
	if (used == len || p[used] != ':')
		return bad(why, "missing port");
	return parse_port(p + used + 1, len - used - 1, &out->port, why);
}

static int parse_inet(const char *p, size_t len, struct gr_endpoint *out, char *why)
{
	const char *colon = memrchr(p, ':', len);
	size_t host;

	if (memchr(p, '@', len))
		return bad(why, "a user has no place in it");
	if (len > 0 && *p == '[')
		return parse_bracketed(p, len, out, why);
	if (!colon)
		return bad(why, "missing port");
	host = (size_t)(colon - p);
	if (memchr(p, ':', host))
		return bad(why, "an IPv6 address needs brackets, as in [::1]:80");
	if (copy_name(out, p, host, why) < 0 || check_host(out->name, why) < 0)
		return GR_BAD_ADDRESS;
	return parse_port(colon + 1, len - host - 1, &out->port, why);
}

static int parse_unix(const char *p, size_t len, struct gr_endpoint *out, char *why)
{
	size_t limit = len > 0 && *p == '@' ? GR_ADDR_PATH + 1 : GR_ADDR_PATH;

	/* unix:///path is the same with an empty authority. */
	if (len > 1 && p[0] == '/' && p[1] == '/') {
		if (len == 2 || p[2] != '/')
			return bad(why, "write unix:/path or unix:@name");
		p += 2, len -= 2;
	}
	if (len == 0 || (len == 1 && *p == '@'))
		return bad(why, "missing path");
	if (len > limit)
		return bad(why, "unix path of %zu bytes, the limit is %zu", len, limit);
	return copy_name(out, p, len, why);
}

static int parse_fd(const char *p, size_t len, struct gr_endpoint *out, char *why)
{
	int fd = 0;

	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)p[i]) || i >= 9)
			return bad(why, "bad descriptor \"%.*s\"", len > 40 ? 40 : (int)len, p);
		fd = fd * 10 + (p[i] - '0');
	}
	if (len == 0)
		return bad(why, "missing descriptor");
	out->fd = fd;
	return 0;
}

static const struct scheme {
	const char *prefix;
	int (*parse)(const char *p, size_t len, struct gr_endpoint *out, char *why);
} schemes[] = {
	[GR_SCHEME_TCP] = {"tcp://", parse_inet},
	[GR_SCHEME_TLS] = {"tls://", parse_inet},
	[GR_SCHEME_UDP] = {"udp://", parse_inet},
	[GR_SCHEME_UNIX] = {"unix:", parse_unix},
	[GR_SCHEME_UNIXGRAM] = {"unixgram:", parse_unix},
	[GR_SCHEME_FD] = {"fd:", parse_fd},
};
enum { SCHEMES = sizeof(schemes) / sizeof(schemes[0]) };

/* Returns SCHEMES when the text begins with none. */
static int find_scheme(const char *text, size_t len)
{
	int i = 0;

	while (i < SCHEMES && (len < strlen(schemes[i].prefix) ||
			       strncasecmp(text, schemes[i].prefix, strlen(schemes[i].prefix)) != 0))
		i++;
	return i;
}

int gr_addr_parse(const char *text, size_t len, struct gr_endpoint *out, char *why)
{
	const char *mark;
	size_t skip;
	int scheme;

	if (len == 0)
		return bad(why, "empty");
	if (memchr(text, '\0', len))
		return bad(why, "contains a NUL byte");
	*out = (struct gr_endpoint){.fd = -1};
	scheme = find_scheme(text, len);
	if (scheme < SCHEMES) {
		out->scheme = (enum gr_scheme)scheme;
		skip = strlen(schemes[scheme].prefix);
		return schemes[scheme].parse(text + skip, len - skip, out, why);
	}
	mark = memmem(text, len, "://", 3);
	if (mark)
		return bad(why, "unknown scheme \"%.*s\"", mark - text > 40 ? 40 : (int)(mark - text), text);
	return parse_inet(text, len, out, why);
}

/* Behind "scheme://" or "//". */
static size_t skip_scheme(const char *text, size_t len)
{
	size_t n = 0;

	while (n < len && !strchr(":@/", text[n]))
		n++;
	n += n < len && text[n] == ':';
	return len - n >= 2 && memcmp(text + n, "//", 2) == 0 ? n + 2 : 0;
}

/* Passwords may have any character that should have been escaped, even "/" and "@". */
const char *gr_addr_password(const char *text, size_t len, size_t *n)
{
	size_t skip = skip_scheme(text, len);
	const char *at = memrchr(text + skip, '@', len - skip);
	const char *colon = at ? memchr(text + skip, ':', (size_t)(at - text) - skip) : NULL;

	*n = colon ? (size_t)(at - colon) - 1 : 0;
	return colon ? colon + 1 : NULL;
}

/* Resolving. */

static int resolve_unix(const char *path, struct gr_addr *out)
{
	size_t len = strlen(path);
	bool abstract = *path == '@';

	memset(out, 0, sizeof(*out));
	out->u.un.sun_family = AF_UNIX;
	memcpy(out->u.un.sun_path, path, len);
	if (abstract)
		out->u.un.sun_path[0] = '\0';
	/* The length of an abstract name counts; a path ends with its NUL. */
	out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (abstract ? 0 : 1));
	return 1;
}

static int both(struct gr_addr first, struct gr_addr second, struct gr_addr *out, int max)
{
	out[0] = first;
	if (max > 1)
		out[1] = second;
	return max > 1 ? 2 : 1;
}

/* A dual-stack socket first; IPv4 alone for kernels without IPv6. */
static int resolve_any(uint16_t port, struct gr_addr *out, int max)
{
	struct gr_addr v4, v6;

	set_v4(&v4, (struct in_addr){htonl(INADDR_ANY)}, port);
	set_v6(&v6, in6addr_any, port);
	return both(v6, v4, out, max);
}

/* RFC 6761 section 6.3: always the loopback, whatever the hosts file says. */
static int resolve_localhost(uint16_t port, struct gr_addr *out, int max)
{
	struct gr_addr v4, v6;

	set_v4(&v4, (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
	set_v6(&v6, in6addr_loopback, port);
	return both(v4, v6, out, max);
}

int gr_addr_resolve(const struct gr_endpoint *e, bool passive, struct gr_addr *out, int max)
{
	int rc;

	if (e->scheme == GR_SCHEME_UNIX || e->scheme == GR_SCHEME_UNIXGRAM)
		return resolve_unix(e->name, out);
	if (*e->name == '\0' && passive)
		return resolve_any(e->port, out, max);
	if (*e->name == '\0' || strcasecmp(e->name, "localhost") == 0)
		return resolve_localhost(e->port, out, max);
	rc = gr_addr_literal(e->name, e->port, out);
	if (rc == GR_BAD_ADDRESS)
		return GR_NOT_FOUND;
	return rc < 0 ? rc : 1;
}

/* Formatting. */

static size_t format_unix(const struct gr_addr *addr, const char *prefix, char *text)
{
	size_t len = addr->len > offsetof(struct sockaddr_un, sun_path) ?
	                     addr->len - offsetof(struct sockaddr_un, sun_path) : 0;
	const char *path = addr->u.un.sun_path;
	size_t skip = strlen(prefix);

	if (len > sizeof(addr->u.un.sun_path))
		len = sizeof(addr->u.un.sun_path);
	if (len > 0 && path[0] != '\0')
		len = strnlen(path, len);
	memcpy(text, prefix, skip);
	memcpy(text + skip, path, len);
	if (len > 0 && path[0] == '\0')
		text[skip] = '@';
	text[skip + len] = '\0';
	return skip + len;
}

static size_t format_v4(const void *ip, uint16_t port, const char *prefix, char *text)
{
	char host[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, ip, host, sizeof(host));
	return (size_t)snprintf(text, GR_ADDR_TEXT, "%s%s:%u", prefix, host, ntohs(port));
}

static void format_zone(uint32_t id, char *zone)
{
	char name[IF_NAMESIZE];

	if (id == 0)
		*zone = '\0';
	else if (if_indextoname(id, name))
		sprintf(zone, "%%%s", name);
	else
		sprintf(zone, "%%%u", id);
}

static size_t format_v6(const struct sockaddr_in6 *in6, const char *prefix, char *text)
{
	char host[INET6_ADDRSTRLEN], zone[IF_NAMESIZE + 1];

	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return format_v4(&in6->sin6_addr.s6_addr[12], in6->sin6_port, prefix, text);
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	format_zone(in6->sin6_scope_id, zone);
	return (size_t)snprintf(text, GR_ADDR_TEXT, "%s[%s%s]:%u", prefix, host, zone, ntohs(in6->sin6_port));
}

size_t gr_addr_format(const struct gr_addr *addr, enum gr_scheme scheme, char *text)
{
	bool inet = scheme == GR_SCHEME_TCP || scheme == GR_SCHEME_TLS || scheme == GR_SCHEME_UDP;
	const char *prefix = schemes[inet ? scheme : GR_SCHEME_TCP].prefix;

	switch (addr->u.sa.sa_family) {
	case AF_INET:
		return format_v4(&addr->u.in.sin_addr, addr->u.in.sin_port, prefix, text);
	case AF_INET6:
		return format_v6(&addr->u.in6, prefix, text);
	default:
		return format_unix(addr, schemes[scheme == GR_SCHEME_UNIXGRAM ? scheme : GR_SCHEME_UNIX].prefix, text);
	}
}

/* Comparing. */

bool gr_addr_same_ip(const struct gr_addr *a, const struct gr_addr *b)
{
	if (a->u.sa.sa_family != b->u.sa.sa_family)
		return false;
	if (a->u.sa.sa_family == AF_INET)
		return a->u.in.sin_addr.s_addr == b->u.in.sin_addr.s_addr;
	return a->u.sa.sa_family == AF_INET6 && a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
	       IN6_ARE_ADDR_EQUAL(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr);
}
