/* SPDX-License-Identifier: MIT */
/* Operations on files that may block for long: each is a piece of work for another OS thread. */
#ifndef GR_POSIX_FS_H
#define GR_POSIX_FS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "posix/work.h"

/* One operation, made by gr_fs_new and given back with gr_fs_free, or by the pool that it was left to. */
struct gr_fs {
	struct gr_work work;
	int (*op)(struct gr_fs *f); /* returns 0 or a negative errno or GR_TOO_LARGE */
	int rc;                     /* what op returned */
	char *path, *other;
	char *data; /* bytes to write, or what was found; heap */
	size_t len;
	size_t max; /* gr_fs_read: at most so many bytes */
	int mode;   /* permissions; -1: the usual ones */
	bool append, atomic;
	bool recursive; /* gr_fs_remove; for gr_fs_mkdir: parents too */
	struct stat st;
};

/* Copies the texts (`other` may be NULL). Returns NULL when out of memory. */
struct gr_fs *gr_fs_new(int (*op)(struct gr_fs *), const char *path, const char *other);
void gr_fs_free(struct gr_fs *f);

/* Has it done by another thread. Returns 0, and then f->rc is its result; otherwise what gr_work_do returns, and f is gone.
 * Parks. */
int gr_fs_do(struct gr_fs *f);

/* The operations. Paths are followed through links unless it says otherwise. */
int gr_fs_read(struct gr_fs *f);     /* -> data, len; GR_TOO_LARGE past f->max */
int gr_fs_write(struct gr_fs *f);    /* data, len; atomic: by way of a new file that is synced and renamed */
int gr_fs_stat(struct gr_fs *f);     /* -> st */
int gr_fs_lstat(struct gr_fs *f);    /* -> st, of a link itself */
int gr_fs_list(struct gr_fs *f);     /* -> data, len: for each entry a letter of gr_fs_type, the name, a 0; no order */
int gr_fs_mkdir(struct gr_fs *f);    /* with `recursive` an existing directory is no error */
int gr_fs_remove(struct gr_fs *f);   /* a link itself; recursive: with what is below, links not followed, "/" refused */
int gr_fs_rename(struct gr_fs *f);   /* path to other */
int gr_fs_copy(struct gr_fs *f);     /* content and permissions of a file, path to other */
int gr_fs_chmod(struct gr_fs *f);    /* mode */
int gr_fs_symlink(struct gr_fs *f);  /* a link at other that says path */
int gr_fs_readlink(struct gr_fs *f); /* -> data, len */
int gr_fs_realpath(struct gr_fs *f); /* -> data, len */
int gr_fs_mkstemp(struct gr_fs *f);  /* path ends in XXXXXX and is changed: a new empty file */
int gr_fs_mkdtemp(struct gr_fs *f);  /* the same, a new directory */

/* "file", "directory", "link", "pipe", "socket", "char", "block" or "other". */
const char *gr_fs_type(mode_t mode);
/* The same of a letter of gr_fs_list. */
const char *gr_fs_type_of_letter(char letter);

#endif
