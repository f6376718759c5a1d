/* SPDX-License-Identifier: MIT */
/* Result codes of every layer: >= 0, or a negative errno, or one of the negative GR_* below. */
#ifndef GR_CORE_ERROR_H
#define GR_CORE_ERROR_H

/* Far below any -errno, so that both share one int. */
enum gr_error {
	GR_TIMEOUT = -10000, /* the call's own timeout passed */
	GR_CLOSED,           /* end of stream, or closed by another thread while waiting */
	GR_BUSY,             /* another thread already waits for the same thing */
	GR_CANCELED,         /* the thread is cancelled; a binding raises */
	GR_DEADLINE,         /* the deadline of a surrounding scope passed; a binding raises */
	GR_TOO_LARGE,        /* a limit was reached; nothing was consumed */
	GR_BAD_ADDRESS,      /* an address that cannot be parsed */
	GR_NOT_FOUND,        /* a host name that does not resolve */
	GR_LIMIT,            /* no further thread can be created */
	GR_MISUSE,           /* a wait where waiting is not possible */
	GR_PROTOCOL,         /* a message that cannot be parsed */
	GR_BAD_NAME,         /* a host name that cannot exist */
	GR_NO_DATA,          /* the name exists, but not with the type asked for */
	GR_NOT_LOCAL,        /* a host name that only DNS may know, where DNS is not asked */
	GR_FORM_ERROR,       /* DNS servers: cannot understand the question */
	GR_SERVER_FAILURE,   /* … failed */
	GR_NOT_IMPLEMENTED,  /* … do not answer such questions */
	GR_REFUSED,          /* … do not answer us */
	GR_BAD_RESPONSE,     /* … gave an answer that makes no sense */
	GR_TLS,              /* TLS failed; gr_error_explain says how */
	GR_TLS_VERIFY,       /* the peer's certificate was refused; likewise */
	GR_TRUNCATED,        /* a TLS connection ended without its closing message: bytes may be missing */
};

/* The message for people. "timeout" and "closed" are exactly these words. Static or thread-local text, never NULL. */
const char *gr_strerror(int rc);

/* The stable code for programs: "timeout", "closed", "busy", …, or the name of the errno ("ECONNREFUSED"). */
const char *gr_errname(int rc);

/* Sets the message that gr_strerror gives for GR_TLS and GR_TLS_VERIFY. Right before such a code is returned: no wait may
 * come before it is read. At most 1023 bytes. */
void gr_error_explain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
