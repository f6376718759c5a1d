/* SPDX-License-Identifier: MIT */
/* Operations on files, run by pool threads. Whole files are in fs_file.c. */
#define _GNU_SOURCE
#include "posix/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8 };

static struct gr_workers workers = GR_WORKERS_INIT(THREADS, NULL);

/* ---- The record ---- */

static void run(struct gr_work *w)
{
	struct gr_fs *f = (struct gr_fs *)(void *)w;

	f->rc = f->op(f);
}

static void drop(struct gr_work *w)
{
	gr_fs_free((struct gr_fs *)(void *)w);
}

struct gr_fs *gr_fs_new(int (*op)(struct gr_fs *), const char *path, const char *other)
{
	struct gr_fs *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->work.run = run;
	f->work.drop = drop;
	f->op = op;
	f->mode = -1;
	f->path = strdup(path);
	f->other = other ? strdup(other) : NULL;
	if (f->path == NULL || (other && f->other == NULL)) {
		gr_fs_free(f);
		return NULL;
	}
	return f;
}

void gr_fs_free(struct gr_fs *f)
{
	free(f->path);
	free(f->other);
	free(f->data);
	free(f);
}

int gr_fs_do(struct gr_fs *f)
{
	return gr_work_do(&workers, &f->work, INFINITY, "fs");
}

static int result(int rc)
{
	return rc < 0 ? -errno : 0;
}

static int give(struct gr_fs *f, char *text)
{
	if (text == NULL)
		return -errno;
	f->data = text;
	f->len = strlen(text);
	return 0;
}

/* ---- Looking ---- */

static const struct {
	unsigned mode, type;
	const char *name;
} types[] = {
	{S_IFREG, DT_REG, "file"},  {S_IFDIR, DT_DIR, "directory"}, {S_IFLNK, DT_LNK, "link"},
	{S_IFIFO, DT_FIFO, "pipe"}, {S_IFSOCK, DT_SOCK, "socket"},  {S_IFCHR, DT_CHR, "char"},
	{S_IFBLK, DT_BLK, "block"},
};

enum { TYPES = sizeof(types) / sizeof(types[0]) };

const char *gr_fs_type(mode_t mode)
{
	for (int i = 0; i < TYPES; i++)
		if (types[i].mode == (mode & S_IFMT))
			return types[i].name;
	return "other";
}

const char *gr_fs_type_of_letter(char letter)
{
	return letter - 'a' < TYPES ? types[letter - 'a'].name : "other";
}

int gr_fs_stat(struct gr_fs *f)
{
	return result(stat(f->path, &f->st));
}

int gr_fs_lstat(struct gr_fs *f)
{
	return result(lstat(f->path, &f->st));
}

int gr_fs_realpath(struct gr_fs *f)
{
	return give(f, realpath(f->path, NULL));
}

int gr_fs_readlink(struct gr_fs *f)
{
	char text[PATH_MAX];
	ssize_t n = readlink(f->path, text, sizeof(text));

	return n < 0 ? -errno : give(f, strndup(text, (size_t)n));
}

/* Some file systems do not tell the type with the name. */
static char letter_of(int dir, const struct dirent *entry)
{
	struct stat st;
	int i = 0;

	if (entry->d_type == DT_UNKNOWN && fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		while (i < TYPES && types[i].mode != (st.st_mode & S_IFMT))
			i++;
	else
		while (i < TYPES && types[i].type != entry->d_type)
			i++;
	return (char)('a' + i);
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int list_to(FILE *out, DIR *dir)
{
	const struct dirent *entry;

	for (;;) {
		errno = 0;
		entry = readdir(dir);
		if (entry == NULL)
			return -errno;
		if (!is_dots(entry->d_name))
			fprintf(out, "%c%s%c", letter_of(dirfd(dir), entry), entry->d_name, '\0');
	}
}

int gr_fs_list(struct gr_fs *f)
{
	DIR *dir = opendir(f->path);
	FILE *out;
	int rc;

	if (dir == NULL)
		return -errno;
	out = open_memstream(&f->data, &f->len);
	rc = out ? list_to(out, dir) : -errno;
	if (out && fclose(out) != 0 && rc == 0)
		rc = -errno;
	closedir(dir);
	return rc;
}

/* ---- Changing ---- */

int gr_fs_rename(struct gr_fs *f)
{
	return result(rename(f->path, f->other));
}

int gr_fs_chmod(struct gr_fs *f)
{
	return result(chmod(f->path, (mode_t)f->mode));
}

int gr_fs_symlink(struct gr_fs *f)
{
	return result(symlink(f->path, f->other));
}

int gr_fs_mkstemp(struct gr_fs *f)
{
	int fd = mkostemp(f->path, O_CLOEXEC);

	return fd < 0 ? -errno : result(close(fd));
}

int gr_fs_mkdtemp(struct gr_fs *f)
{
	return mkdtemp(f->path) ? 0 : -errno;
}

static int make_dir(const char *path, mode_t mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return errno == EEXIST ? -ENOTDIR : -errno;
}

int gr_fs_mkdir(struct gr_fs *f)
{
	mode_t mode = f->mode < 0 ? 0777 : (mode_t)f->mode;
	int rc = 0;

	if (!f->recursive)
		return result(mkdir(f->path, mode));
	for (char *p = f->path + 1; *f->path && *p && rc == 0; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		rc = make_dir(f->path, 0777);
		*p = '/';
	}
	return rc < 0 ? rc : make_dir(f->path, mode);
}

/* ---- Removing ---- */

static int remove_at(int dir, const char *name);

/* Empties the directory; the descriptor is closed. */
static int empty(int fd)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *entry;
	int rc = 0;

	if (dir == NULL) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (rc == 0 && (entry = readdir(dir)) != NULL)
		if (!is_dots(entry->d_name))
			rc = remove_at(dirfd(dir), entry->d_name);
	closedir(dir);
	return rc;
}

/* By descriptors, so that a directory exchanged for a link meanwhile leads nowhere else. */
static int remove_at(int dir, const char *name)
{
	int fd, rc;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = empty(fd);
	if (rc == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		rc = -errno;
	return rc;
}

/* "/" by whatever name, and what rm(1) refuses: paths that end in "." or "..". */
static int check_removable(const char *path)
{
	const char *name = strrchr(path, '/');
	struct stat st, root;

	if (lstat(path, &st) < 0 || stat("/", &root) < 0)
		return -errno;
	if (st.st_dev == root.st_dev && st.st_ino == root.st_ino)
		return -EPERM;
	return is_dots(name ? name + 1 : path) ? -EINVAL : 0;
}

int gr_fs_remove(struct gr_fs *f)
{
	int rc;

	if (!f->recursive)
		return result(remove(f->path));
	rc = check_removable(f->path);
	return rc < 0 ? rc : remove_at(AT_FDCWD, f->path);
}
