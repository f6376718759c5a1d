/* SPDX-License-Identifier: MIT */
/* Standard I/O that parks. A thread must not be switched away from inside stdio: its locks belong to the OS thread, and its
 * buffers to everybody. So waiting is done outside and only what cannot block inside. What is buffered stays in the FILE,
 * where C code and exit(3) find it. */
#ifndef GR_POSIX_FILE_H
#define GR_POSIX_FILE_H

#include <stdbool.h>
#include <stdio.h>

#include "core/turn.h"
#include "core/wait.h"

struct gr_process;

/* What a FILE on a pipe, terminal or socket needs besides. Lives in the heap or in userdata. */
struct gr_file {
	FILE *fp;                        /* NULL once closed */
	struct gr_io rd, wr;             /* on its descriptor */
	struct gr_turn reading, writing; /* a read and a write each have the FILE for themselves */
	char *ahead;                     /* heap: bytes that a read that was broken off had taken, to be read first */
	size_t ahead_at, nahead;         /* where they begin in it, and how many */
	unsigned fills;                  /* reads in a row for which nobody waited */
	struct gr_process *process;      /* popen: whose pipe it is; or NULL */
};

/* True if reading and writing never wait: everything with a position (regular files, directories, /dev/null). */
bool gr_file_is_plain(FILE *fp);

void gr_file_init(struct gr_file *f, FILE *fp);

/* That of stdout, which is never closed. */
struct gr_file *gr_file_stdout(void);

/* Frees what is read ahead and ends all waits with GR_CLOSED: closing comes next. */
void gr_file_end(struct gr_file *f);

/* True if the current thread may park. Where it may not, everything below blocks as stdio does. */
bool gr_file_may_park(void);

/* What can be read without a system call: returns how much, and where in *p. */
size_t gr_file_peek(const struct gr_file *f, const char **p);

/* Moves n bytes, at most what gr_file_peek returned, to `to`. */
void gr_file_take(struct gr_file *f, char *to, size_t n);

/* Puts n bytes in front of what is read next. Returns 0 or -ENOMEM. */
int gr_file_put_back(struct gr_file *f, const char *p, size_t n);

/* Waits until gr_file_peek has something. Returns 1; 0 at the end of the file or after an error (see feof, ferror); or what
 * a wait returns. For whose turn it is to read. Parks. */
int gr_file_fill(struct gr_file *f);

/* The same for a FILE alone, which is plain or may block. */
int gr_file_fill_plain(FILE *fp);

/* How much a FILE has buffered for reading, and where in *p. */
size_t gr_file_buffered(const FILE *fp, const char **p);

/* True if fwrite of these bytes only puts them into the FILE's buffer. */
bool gr_file_fits(FILE *fp, const char *p, size_t n);

/* Writes as fwrite does, buffering alike. Returns 0, a negative errno or what a wait returns; it is unknown then how much
 * was written. For whose turn it is to write. Parks. */
int gr_file_write(struct gr_file *f, const char *p, size_t n);

/* Writes what is buffered, as fflush does. Returns as gr_file_write; what a wait that ended early left stays buffered. */
int gr_file_flush(struct gr_file *f);

#endif
