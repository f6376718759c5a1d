/* SPDX-License-Identifier: MIT */
/* Operations on whole files, run by pool threads: read, write, copy. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "core/error.h"
#include "posix/fs.h"

enum { STEP = 256 << 10, TRIES = 100 };

static int close_after(int fd, int rc)
{
	return close(fd) < 0 && rc == 0 ? -errno : rc;
}

/* ---- Reading ---- */

/* A file may grow meanwhile, and those of /proc have no size. */
static size_t guess_size(int fd, size_t max)
{
	struct stat st;
	size_t size = fstat(fd, &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : STEP - 1;

	return (size < max ? size : max) + 1;
}

static int grow(struct gr_fs *f, size_t *cap, size_t most)
{
	char *data;

	if (f->len < *cap)
		return 0;
	*cap = *cap * 2 < most ? *cap * 2 : most;
	data = realloc(f->data, *cap);
	if (data == NULL)
		return -ENOMEM;
	f->data = data;
	return 0;
}

/* One byte more than allowed is asked for, so that a file of just that size has room for its end. */
static int read_all(struct gr_fs *f, int fd)
{
	size_t cap = guess_size(fd, f->max);
	ssize_t n;

	f->data = malloc(cap);
	if (f->data == NULL)
		return -ENOMEM;
	for (;;) {
		if (f->len > f->max)
			return GR_TOO_LARGE;
		if (grow(f, &cap, f->max + 1) < 0)
			return -ENOMEM;
		n = read(fd, f->data + f->len, cap - f->len);
		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		f->len += n > 0 ? (size_t)n : 0;
	}
}

int gr_fs_read(struct gr_fs *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : close_after(fd, read_all(f, fd));
}

/* ---- Writing ---- */

static int write_all(int fd, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		p += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int write_plain(struct gr_fs *f)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (f->append ? O_APPEND : O_TRUNC);
	int fd = open(f->path, flags, f->mode < 0 ? 0666 : f->mode);

	return fd < 0 ? -errno : close_after(fd, write_all(fd, f->data, f->len));
}

/* A new file beside the path, with its permissions; not mkstemp, so that the umask counts. *name is heap, NULL on
 * failure. */
static int open_beside(const char *path, int mode, char **name)
{
	struct stat st;
	bool there = mode < 0 && stat(path, &st) == 0;
	unsigned random = 0;
	int fd = -1;

	for (int i = 0; i < TRIES; i++) {
		getrandom(&random, sizeof(random), 0);
		if (asprintf(name, "%s.%08x.tmp", path, random) < 0)
			*name = NULL;
		if (*name == NULL)
			return -ENOMEM;
		fd = open(*name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode < 0 ? 0666 : mode);
		if (fd >= 0)
			break;
		free(*name);
		*name = NULL;
		if (errno != EEXIST)
			return -errno;
	}
	if (fd >= 0 && there)
		fchmod(fd, st.st_mode & 07777);
	return fd < 0 ? -EEXIST : fd;
}

/* Makes a rename last. Where directories cannot be synced there is nothing to do. */
static void sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
	free(dir);
}

static int write_beside(struct gr_fs *f, const char *path)
{
	char *name = NULL;
	int fd = open_beside(path, f->mode, &name), rc;

	if (name == NULL)
		return fd;
	rc = write_all(fd, f->data, f->len);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	rc = close_after(fd, rc);
	if (rc == 0 && rename(name, path) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(name);
	else
		sync_directory(path);
	free(name);
	return rc;
}

/* A link stays one; the file that it leads to is replaced. */
int gr_fs_write(struct gr_fs *f)
{
	char *real;
	int rc;

	if (!f->atomic)
		return write_plain(f);
	real = realpath(f->path, NULL);
	rc = write_beside(f, real ? real : f->path);
	free(real);
	return rc;
}

/* ---- Copying ---- */

static int copy_through_us(int in, int out)
{
	char *buf = malloc(STEP);
	ssize_t n = -1;
	int rc = buf ? 0 : -ENOMEM;

	while (rc == 0 && n != 0) {
		n = read(in, buf, STEP);
		if (n < 0 && errno != EINTR)
			rc = -errno;
		else if (n > 0)
			rc = write_all(out, buf, (size_t)n);
	}
	free(buf);
	return rc;
}

/* The kernel's way first; it knows not every pair of files, and says 0 for those of /proc. */
static int copy_content(int in, int out)
{
	ssize_t n, sum = 0;

	do {
		n = copy_file_range(in, NULL, out, NULL, 1 << 30, 0);
		sum += n > 0 ? n : 0;
	} while (n > 0);
	return n == 0 && sum > 0 ? 0 : copy_through_us(in, out);
}

static int copy_to(const char *path, int in)
{
	struct stat from, to;
	int out, rc;

	if (fstat(in, &from) < 0)
		return -errno;
	if (S_ISDIR(from.st_mode))
		return -EISDIR;
	out = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, from.st_mode & 0777);
	if (out < 0)
		return -errno;
	if (fstat(out, &to) < 0)
		rc = -errno;
	else if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
		rc = -EINVAL;
	else
		rc = S_ISREG(to.st_mode) && ftruncate(out, 0) < 0 ? -errno : copy_content(in, out);
	return close_after(out, rc);
}

int gr_fs_copy(struct gr_fs *f)
{
	int in = open(f->path, O_RDONLY | O_CLOEXEC);

	return in < 0 ? -errno : close_after(in, copy_to(f->other, in));
}
