/* SPDX-License-Identifier: MIT */
/* Host names for libraries, answered by net/resolve.c; libc's own resolver would stop all threads. What needs no DNS (numbers,
 * services, formatting) is left to libc. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/wait.h"
#include "net/resolve.h"
#include "posix/coop.h"
#include "posix/next.h"

/* What a name or an address was found to be, in the heap: too large for small stacks. */
struct found {
	struct gr_host host;
	char name[GR_DNS_NAME_TEXT];
};

/* How a search went: >= 0 and GR_* as in net/resolve.h, or this: it has to be left to libc. */
enum { LEAVE_TO_LIBC = 1 << 20 };

static int note_refusal(int rc)
{
	if (rc == GR_CANCELED || rc == GR_DEADLINE)
		gr_coop_refused(GR_CALL_RESOLVE);
	return rc;
}

static int resolve(const char *name, int family, struct gr_host *host)
{
	int rc = gr_resolve_local(name, family, host);

	if (rc != 0)
		return rc;
	if (!gr_coop_may_park())
		return LEAVE_TO_LIBC;
	gr_coop.count[GR_CALL_RESOLVE].parked++;
	return note_refusal(gr_resolve_host(name, family, INFINITY, host));
}

/* ---- getaddrinfo ---- */

static int eai_of(int rc)
{
	switch (rc) {
	case GR_NOT_FOUND:
	case GR_BAD_NAME:
		return EAI_NONAME;
	case GR_NO_DATA:
		return EAI_NODATA;
	case GR_CANCELED:
	case GR_DEADLINE:
		errno = ECANCELED;
		return EAI_SYSTEM;
	case -ENOMEM:
		return EAI_MEMORY;
	default:
		return EAI_AGAIN;
	}
}

static int numeric_text(const struct gr_addr *addr, bool mapped, char text[NI_MAXHOST])
{
	char *to = text;

	if (mapped)
		to = stpcpy(text, "::ffff:");
	return gr_next.getnameinfo(&addr->u.sa, addr->len, to, (socklen_t)(NI_MAXHOST - (to - text)), NULL, 0,
				   NI_NUMERICHOST);
}

/* libc makes the entries of each address, with all kinds of sockets and the service's port. Its lists may be joined: it frees
 * one entry after the other. */
static int append(const struct gr_addr *addr, bool mapped, const char *service, const struct addrinfo *hints,
		  struct addrinfo **list)
{
	struct addrinfo numeric = hints ? *hints : (struct addrinfo){0};
	char text[NI_MAXHOST];
	int rc;

	numeric.ai_flags = (numeric.ai_flags & (AI_PASSIVE | AI_NUMERICSERV)) | AI_NUMERICHOST;
	rc = numeric_text(addr, mapped, text);
	if (rc != 0)
		return rc;
	while (*list)
		list = &(*list)->ai_next;
	return gr_next.getaddrinfo(text, service, &numeric, list);
}

static int make_list(const struct gr_host *host, bool mapped, const char *service, const struct addrinfo *hints,
		     struct addrinfo **out)
{
	struct addrinfo *list = NULL;
	int rc = 0;

	for (int i = 0; i < host->n && rc == 0; i++)
		rc = append(&host->addrs[i], mapped, service, hints, &list);
	if (rc == 0 && list && hints && (hints->ai_flags & AI_CANONNAME)) {
		free(list->ai_canonname);
		list->ai_canonname = strdup(host->canon);
		rc = list->ai_canonname ? 0 : EAI_MEMORY;
	}
	if (rc == 0)
		*out = list;
	else if (list)
		freeaddrinfo(list);
	return rc;
}

static bool is_numeric(const char *name)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *list;

	if (gr_next.getaddrinfo(name, NULL, &hints, &list) != 0)
		return false;
	freeaddrinfo(list);
	return true;
}

static int block_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out,
			     const void *caller)
{
	double since = gr_coop_block();
	int rc = gr_next.getaddrinfo(name, service, hints, out);

	gr_coop_blocked(GR_CALL_RESOLVE, since, caller);
	return rc;
}

static int look_up(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out,
		   const void *caller)
{
	int family = hints ? hints->ai_family : AF_UNSPEC, rc;
	bool mapped = false;
	struct gr_host *host = malloc(sizeof(*host));

	if (host == NULL)
		return EAI_MEMORY;
	rc = resolve(name, family, host);
	if ((rc == GR_NO_DATA || rc == GR_NOT_FOUND) && family == AF_INET6 && (hints->ai_flags & AI_V4MAPPED)) {
		mapped = true;
		rc = resolve(name, AF_INET, host);
	}
	if (rc == LEAVE_TO_LIBC)
		rc = block_getaddrinfo(name, service, hints, out, caller);
	else
		rc = rc < 0 ? eai_of(rc) : make_list(host, mapped, service, hints, out);
	free(host);
	return rc;
}

int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
		struct addrinfo **restrict out)
{
	int family = hints ? hints->ai_family : AF_UNSPEC;

	if (!gr_coop_here(GR_CALL_RESOLVE) || name == NULL || *name == '\0' ||
	    (hints && (hints->ai_flags & AI_NUMERICHOST)) ||
	    (family != AF_UNSPEC && family != AF_INET && family != AF_INET6) || is_numeric(name))
		return gr_next.getaddrinfo(name, service, hints, out);
	return look_up(name, service, hints, out, __builtin_return_address(0));
}

/* ---- struct hostent ---- */

/* Where the parts of an answer go: the buffer that is left. NULL once it was too small. */
struct room {
	char *at, *end;
};

static void *put(struct room *room, const void *data, size_t n, size_t align)
{
	char *at = room->at;

	if (at == NULL)
		return NULL;
	at += (align - (uintptr_t)at % align) % align;
	if (at > room->end || (size_t)(room->end - at) < n) {
		room->at = NULL;
		return NULL;
	}
	if (data)
		memcpy(at, data, n);
	room->at = at + n;
	return at;
}

static const void *bytes_of(const struct gr_addr *addr, size_t *n)
{
	bool v6 = addr->u.sa.sa_family == AF_INET6;

	*n = v6 ? 16 : 4;
	return v6 ? (const void *)&addr->u.in6.sin6_addr : (const void *)&addr->u.in.sin_addr;
}

/* Returns 0 or ERANGE. */
static int fill(struct hostent *h, const char *name, const struct gr_addr *addrs, int n, char *buf, size_t size)
{
	struct room room = {buf, buf + size};
	size_t len = 0;

	h->h_addr_list = put(&room, NULL, ((size_t)n + 1) * sizeof(char *), sizeof(char *));
	h->h_aliases = put(&room, &(char *){NULL}, sizeof(char *), sizeof(char *));
	for (int i = 0; i < n && room.at; i++) {
		const void *bytes = bytes_of(&addrs[i], &len);

		h->h_addr_list[i] = put(&room, bytes, len, 4);
	}
	h->h_name = put(&room, name, strlen(name) + 1, 1);
	if (room.at == NULL)
		return ERANGE;
	h->h_addr_list[n] = NULL;
	h->h_addrtype = addrs[0].u.sa.sa_family;
	h->h_length = (int)len;
	return 0;
}

static int herrno_of(int rc)
{
	switch (rc) {
	case GR_NOT_FOUND:
	case GR_BAD_NAME:
		return HOST_NOT_FOUND;
	case GR_NO_DATA:
		return NO_DATA;
	case GR_CANCELED:
	case GR_DEADLINE:
		errno = ECANCELED;
		return NETDB_INTERNAL;
	default:
		return TRY_AGAIN;
	}
}

/* What the _r functions return: 0 also for "not found". */
static int failed(int rc, int *herrno)
{
	*herrno = herrno_of(rc);
	return *herrno == TRY_AGAIN ? EAGAIN : *herrno == NETDB_INTERNAL ? ECANCELED : 0;
}

static int finish(struct hostent *h, const char *name, const struct gr_addr *addrs, int n, char *buf, size_t size,
		  struct hostent **out, int *herrno)
{
	int rc = fill(h, name, addrs, n, buf, size);

	if (rc == 0)
		*out = h;
	else
		*herrno = NETDB_INTERNAL;
	return rc;
}

static int block_by_name(const char *name, int family, struct hostent *h, char *buf, size_t size, struct hostent **out,
			 int *herrno, const void *caller)
{
	double since = gr_coop_block();
	int rc = gr_next.gethostbyname2_r(name, family, h, buf, size, out, herrno);

	gr_coop_blocked(GR_CALL_RESOLVE, since, caller);
	return rc;
}

static int by_name(const char *name, int family, struct hostent *h, char *buf, size_t size, struct hostent **out,
		   int *herrno, const void *caller)
{
	struct gr_host *host;
	int rc;

	if (!gr_coop_here(GR_CALL_RESOLVE) || (family != AF_INET && family != AF_INET6))
		return gr_next.gethostbyname2_r(name, family, h, buf, size, out, herrno);
	*out = NULL;
	host = malloc(sizeof(*host));
	if (host == NULL) {
		*herrno = NETDB_INTERNAL;
		return ENOMEM;
	}
	rc = resolve(name, family, host);
	if (rc == LEAVE_TO_LIBC)
		rc = block_by_name(name, family, h, buf, size, out, herrno, caller);
	else if (rc < 0)
		rc = failed(rc, herrno);
	else
		rc = finish(h, host->canon, host->addrs, host->n, buf, size, out, herrno);
	free(host);
	return rc;
}

int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict h, char *restrict buf, size_t size,
		     struct hostent **restrict out, int *restrict herrno)
{
	return by_name(name, family, h, buf, size, out, herrno, __builtin_return_address(0));
}

int gethostbyname_r(const char *restrict name, struct hostent *restrict h, char *restrict buf, size_t size,
		    struct hostent **restrict out, int *restrict herrno)
{
	return by_name(name, AF_INET, h, buf, size, out, herrno, __builtin_return_address(0));
}

/* For the functions without _r. libc has one such place for all, which the next thread's call would overwrite. */
struct place {
	struct hostent h;
	char buf[2048];
};

static struct place *next_place(void)
{
	static struct place places[16];
	static unsigned n;

	return &places[n++ % 16];
}

struct hostent *gethostbyname2(const char *name, int family)
{
	struct place *p;
	struct hostent *out = NULL;
	int herrno = 0;

	if (!gr_coop_here(GR_CALL_RESOLVE))
		return gr_next.gethostbyname2(name, family);
	p = next_place();
	by_name(name, family, &p->h, p->buf, sizeof(p->buf), &out, &herrno, __builtin_return_address(0));
	if (out == NULL)
		h_errno = herrno;
	return out;
}

struct hostent *gethostbyname(const char *name)
{
	return gethostbyname2(name, AF_INET);
}

/* ---- From addresses to names ---- */

/* The first name of an answer to a question for PTR records. Returns 0 or GR_NO_DATA. */
static int first_name(const struct gr_dns_answer *answer, char *out)
{
	struct gr_dns_reader r;
	struct gr_dns_record *record = malloc(sizeof(*record));
	struct gr_dns_value *value = malloc(sizeof(*value));
	int rc = GR_NO_DATA;

	if (record && value)
		for (unsigned n = gr_dns_answer_read(answer, &r); n > 0 && gr_dns_read_record(&r, record) == 0; n--) {
			if (record->type != GR_DNS_PTR || gr_dns_read_field(&record->data, GR_DNS_NAME, value) < 0)
				continue;
			strcpy(out, value->name);
			rc = 0;
			break;
		}
	free(value);
	free(record);
	return rc;
}

/* The name of an address; LEAVE_TO_LIBC where nothing may park. */
static int name_of(const struct gr_addr *addr, char name[GR_DNS_NAME_TEXT])
{
	struct gr_dns_answer *answer = NULL;
	int rc;

	if (!gr_coop_may_park())
		return LEAVE_TO_LIBC;
	gr_coop.count[GR_CALL_RESOLVE].parked++;
	rc = note_refusal(gr_resolve_reverse(addr, INFINITY, &answer, name));
	if (rc >= 0 && answer)
		rc = first_name(answer, name);
	gr_dns_answer_free(answer);
	return rc < 0 ? rc : 0;
}

static bool to_addr(const void *bytes, socklen_t len, int family, struct gr_addr *addr)
{
	memset(addr, 0, sizeof(*addr));
	addr->u.sa.sa_family = (sa_family_t)family;
	if (family == AF_INET && len == 4)
		memcpy(&addr->u.in.sin_addr, bytes, 4);
	else if (family == AF_INET6 && len == 16)
		memcpy(&addr->u.in6.sin6_addr, bytes, 16);
	else
		return false;
	addr->len = family == AF_INET ? sizeof(addr->u.in) : sizeof(addr->u.in6);
	return true;
}

static int block_by_addr(const void *bytes, socklen_t len, int family, struct hostent *h, char *buf, size_t size,
			 struct hostent **out, int *herrno, const void *caller)
{
	double since = gr_coop_block();
	int rc = gr_next.gethostbyaddr_r(bytes, len, family, h, buf, size, out, herrno);

	gr_coop_blocked(GR_CALL_RESOLVE, since, caller);
	return rc;
}

static int by_addr(const void *bytes, socklen_t len, int family, struct hostent *h, char *buf, size_t size,
		   struct hostent **out, int *herrno, const void *caller)
{
	struct gr_addr addr;
	char name[GR_DNS_NAME_TEXT];
	int rc;

	if (!gr_coop_here(GR_CALL_RESOLVE) || !to_addr(bytes, len, family, &addr))
		return gr_next.gethostbyaddr_r(bytes, len, family, h, buf, size, out, herrno);
	*out = NULL;
	rc = name_of(&addr, name);
	if (rc == LEAVE_TO_LIBC)
		return block_by_addr(bytes, len, family, h, buf, size, out, herrno, caller);
	return rc < 0 ? failed(rc, herrno) : finish(h, name, &addr, 1, buf, size, out, herrno);
}

int gethostbyaddr_r(const void *restrict bytes, socklen_t len, int family, struct hostent *restrict h,
		    char *restrict buf, size_t size, struct hostent **restrict out, int *restrict herrno)
{
	return by_addr(bytes, len, family, h, buf, size, out, herrno, __builtin_return_address(0));
}

struct hostent *gethostbyaddr(const void *bytes, socklen_t len, int family)
{
	struct place *p;
	struct hostent *out = NULL;
	int herrno = 0;

	if (!gr_coop_here(GR_CALL_RESOLVE))
		return gr_next.gethostbyaddr(bytes, len, family);
	p = next_place();
	by_addr(bytes, len, family, &p->h, p->buf, sizeof(p->buf), &out, &herrno, __builtin_return_address(0));
	if (out == NULL)
		h_errno = herrno;
	return out;
}

static int block_getnameinfo(const struct sockaddr *sa, socklen_t len, char *host, socklen_t hostlen, char *service,
			     socklen_t servicelen, int flags, const void *caller)
{
	double since = gr_coop_block();
	int rc = gr_next.getnameinfo(sa, len, host, hostlen, service, servicelen, flags);

	gr_coop_blocked(GR_CALL_RESOLVE, since, caller);
	return rc;
}

/* The service is libc's business; so is an address without a name, unless a name is a must. */
int getnameinfo(const struct sockaddr *restrict sa, socklen_t len, char *restrict host, socklen_t hostlen,
		char *restrict service, socklen_t servicelen, int flags)
{
	char name[GR_DNS_NAME_TEXT];
	struct gr_addr addr;
	int rc;

	if (!gr_coop_here(GR_CALL_RESOLVE) || host == NULL || hostlen == 0 || (flags & NI_NUMERICHOST) ||
	    len > sizeof(addr.u) || (sa->sa_family != AF_INET && sa->sa_family != AF_INET6))
		return gr_next.getnameinfo(sa, len, host, hostlen, service, servicelen, flags);
	memset(&addr, 0, sizeof(addr));
	memcpy(&addr.u, sa, len);
	addr.len = len;
	rc = name_of(&addr, name);
	if (rc == LEAVE_TO_LIBC)
		return block_getnameinfo(sa, len, host, hostlen, service, servicelen, flags,
					 __builtin_return_address(0));
	if (rc == GR_CANCELED || rc == GR_DEADLINE)
		return eai_of(rc);
	if (rc < 0) {
		if (flags & NI_NAMEREQD)
			return eai_of(rc) == EAI_AGAIN ? EAI_AGAIN : EAI_NONAME;
		return gr_next.getnameinfo(sa, len, host, hostlen, service, servicelen, flags | NI_NUMERICHOST);
	}
	if (strlen(name) >= hostlen)
		return EAI_OVERFLOW;
	strcpy(host, name);
	return service && servicelen ? gr_next.getnameinfo(sa, len, NULL, 0, service, servicelen, flags) : 0;
}
