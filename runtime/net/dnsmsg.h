/* SPDX-License-Identifier: MIT */
/* DNS messages: reading and writing them (RFC 1035; record types of RFC 3596, 2782, 8659 and others; EDNS, RFC 6891). Pure. */
#ifndef GR_NET_DNSMSG_H
#define GR_NET_DNSMSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum {
	GR_DNS_HEADER = 12,    /* bytes of a header */
	GR_DNS_MAX = 65535,    /* bytes of the longest message */
	GR_DNS_NAME_MAX = 255, /* bytes of the longest name as sent, RFC 1035 section 2.3.4 */
	GR_DNS_LABEL_MAX = 63,
	GR_DNS_POINTER = 0xc0,   /* the two upper bits of a pointer to another name, section 4.1.4 */
	GR_DNS_NAME_TEXT = 1024, /* bytes for a name as text, with all escapes and the NUL */
	GR_DNS_TARGETS = 128,    /* names and their endings that later names of a message may point to */
	GR_DNS_FIELDS = 8,
};

/* Numbers that the code needs; all others are in gr_dns_type's table. */
enum {
	GR_DNS_A = 1,
	GR_DNS_CNAME = 5,
	GR_DNS_SOA = 6,
	GR_DNS_PTR = 12,
	GR_DNS_AAAA = 28,
	GR_DNS_OPT = 41,
	GR_DNS_ANY = 255,
	GR_DNS_IN = 1, /* the class */
};

enum {
	GR_DNS_QR = 0x8000,
	GR_DNS_AA = 0x0400,
	GR_DNS_TC = 0x0200,
	GR_DNS_RD = 0x0100,
	GR_DNS_RA = 0x0080,
	GR_DNS_AD = 0x0020,
	GR_DNS_CD = 0x0010,
};

enum { GR_DNS_NOERROR, GR_DNS_FORMERR, GR_DNS_SERVFAIL, GR_DNS_NXDOMAIN, GR_DNS_NOTIMP, GR_DNS_REFUSED };

/* ---- Record types ---- */

enum gr_dns_kind {
	GR_DNS_END, /* no field */
	GR_DNS_U8,
	GR_DNS_U16,
	GR_DNS_U32,
	GR_DNS_IP4,
	GR_DNS_IP6,
	GR_DNS_NAME,    /* written with compression: only in the types of RFC 1035 (RFC 3597 section 4) */
	GR_DNS_WHOLE,   /* a name that is written in full; read as any */
	GR_DNS_STRING,  /* at most 255 bytes */
	GR_DNS_STRINGS, /* one or more of them, up to the end of the data */
	GR_DNS_REST,    /* all bytes up to the end of the data */
};

struct gr_dns_type {
	const char *name;
	uint16_t number;
	bool in_only; /* its fields mean something only in class IN */
	struct {
		const char *name;
		enum gr_dns_kind kind;
	} fields[GR_DNS_FIELDS]; /* ended by GR_DNS_END; none at all: the data is opaque */
};

/* NULL: not a type we have a name for. */
const struct gr_dns_type *gr_dns_type(uint16_t number);

/* The number of "A", "aaaa", "TYPE65"; -1 when it is none. */
int gr_dns_type_number(const char *name);

/* The type if data of `len` bytes in that class is to be read by its fields; NULL: it is opaque. */
const struct gr_dns_type *gr_dns_layout(uint16_t type, uint16_t class, size_t len);

/* ---- Reading ----
 *
 * Names are text: labels joined by ".", without a final dot, the root "."; dots and backslashes inside a label as "\." and
 * "\\", bytes outside 0x21..0x7e as "\DDD". Text read this way and written again gives the same bytes.
 * All functions return 0, or GR_PROTOCOL for a malformed message; then the reader's position means nothing. */

struct gr_dns_header {
	uint16_t id, flags;
	uint16_t counts[4]; /* questions, answers, authorities, additionals */
};

/* A position in a message. Names may refer to anything before it. */
struct gr_dns_reader {
	const uint8_t *msg;
	size_t at, end;
};

struct gr_dns_question {
	char name[GR_DNS_NAME_TEXT];
	uint16_t type, class;
};

struct gr_dns_record {
	char name[GR_DNS_NAME_TEXT];
	uint16_t type, class;
	uint32_t ttl;
	struct gr_dns_reader data; /* for gr_dns_read_field */
};

struct gr_dns_value {
	uint32_t number;     /* U8, U16, U32 */
	const uint8_t *data; /* into the message: IP4, IP6, STRING, REST; STRINGS with a length byte before each */
	size_t len;
	char name[GR_DNS_NAME_TEXT]; /* NAME, WHOLE */
};

/* Starts at the header; the reader stands at the first question then. */
int gr_dns_read_header(struct gr_dns_reader *r, const uint8_t *msg, size_t len, struct gr_dns_header *out);
int gr_dns_read_question(struct gr_dns_reader *r, struct gr_dns_question *out);

/* Reads a record and moves behind its data, without looking at that. */
int gr_dns_read_record(struct gr_dns_reader *r, struct gr_dns_record *out);
int gr_dns_read_field(struct gr_dns_reader *r, enum gr_dns_kind kind, struct gr_dns_value *out);

/* Reads the whole message with the fields of all records. Bytes after the last record are malformed too. */
int gr_dns_check(const uint8_t *msg, size_t len);

/* Writes a text name as it is sent, uncompressed. Returns its length, or GR_BAD_NAME: an empty label, a label of more than
 * 63 bytes, more than 255 bytes in all, a bad escape. A final dot changes nothing. */
int gr_dns_name_encode(const char *text, uint8_t out[GR_DNS_NAME_MAX]);

/* Orders A-Z into a-z. */
void gr_dns_name_lower(uint8_t *name, size_t len);

/* ---- Writing ----
 *
 * Into one buffer that grows. Errors stick: after one, nothing is written and w->error tells why: GR_TOO_LARGE (the
 * limit), GR_BAD_NAME, -ENOMEM. */

struct gr_dns_writer {
	uint8_t *data; /* heap */
	size_t len, cap, limit;
	int error;
	int targets;                     /* used in `target` */
	uint16_t target[GR_DNS_TARGETS]; /* where names, and their endings, stand in the message */
};

/* A state of the writer to go back to. */
struct gr_dns_mark {
	size_t len;
	int targets;
};

/* Empty, with room for the header. limit: GR_DNS_MAX or less. */
void gr_dns_writer_init(struct gr_dns_writer *w, size_t limit);
void gr_dns_writer_free(struct gr_dns_writer *w);

/* Fills in the header, at any time. */
void gr_dns_write_header(struct gr_dns_writer *w, const struct gr_dns_header *h);
void gr_dns_write_question(struct gr_dns_writer *w, const char *name, uint16_t type, uint16_t class);

/* Starts a record; its fields follow, then gr_dns_end_record with what this returned. */
size_t gr_dns_begin_record(struct gr_dns_writer *w, const char *name, uint16_t type, uint16_t class, uint32_t ttl);
void gr_dns_write_field(struct gr_dns_writer *w, enum gr_dns_kind kind, const struct gr_dns_value *v);
void gr_dns_end_record(struct gr_dns_writer *w, size_t begin);

/* Drops what was written since, an error included. */
struct gr_dns_mark gr_dns_mark(const struct gr_dns_writer *w);
void gr_dns_rollback(struct gr_dns_writer *w, struct gr_dns_mark mark);

#endif
