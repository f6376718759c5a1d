/* SPDX-License-Identifier: MIT */
/* What is left of a vector of buffers after a part of it was transferred. */
#ifndef GR_POSIX_IOV_H
#define GR_POSIX_IOV_H

#include <stddef.h>
#include <sys/uio.h>

struct gr_iov {
	const struct iovec *next; /* the first buffer not done with; the vector itself is never changed */
	int n;                    /* buffers from there on */
	size_t done;              /* bytes of all so far */
	struct iovec part;        /* the rest of a buffer that was transferred in part; has a length only then */
};

static inline size_t gr_iov_size(const struct iovec *iov, int n)
{
	size_t size = 0;

	for (int i = 0; i < n; i++)
		size += iov[i].iov_len;
	return size;
}

/* The buffers for the next call: *n of them. */
static inline const struct iovec *gr_iov_rest(const struct gr_iov *v, int *n)
{
	*n = v->part.iov_len ? 1 : v->n;
	return v->part.iov_len ? &v->part : v->next;
}

/* Notes that so many bytes of them were transferred. */
static inline void gr_iov_advance(struct gr_iov *v, size_t bytes)
{
	v->done += bytes;
	if (v->part.iov_len) {
		v->part.iov_base = (char *)v->part.iov_base + bytes;
		v->part.iov_len -= bytes;
		return;
	}
	for (; v->n > 0 && bytes >= v->next->iov_len; v->n--, v->next++)
		bytes -= v->next->iov_len;
	if (bytes > 0) {
		v->part.iov_base = (char *)v->next->iov_base + bytes;
		v->part.iov_len = v->next->iov_len - bytes;
		v->next++;
		v->n--;
	}
}

static inline int gr_iov_left(const struct gr_iov *v)
{
	return v->n > 0 || v->part.iov_len > 0;
}

#endif
