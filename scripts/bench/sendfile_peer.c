/* SPDX-License-Identifier: MIT */
/* The yardstick and the client of the sendfile bench.
 * sendfile_peer serve FILE TIMES     a blocking sendfile(2) loop that serves one client after the other
 * sendfile_peer read [-p PID] PORT   reads all from such a server; reports its speed, and how the memory of the process PID
 *                                    grew meanwhile */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return addr;
}

static void send_file(int to, int file, off_t size)
{
	off_t at = 0;

	while (at < size)
		if (sendfile(to, file, &at, (size_t)(size - at)) <= 0)
			fail("sendfile");
}

static void serve(const char *path, int times)
{
	int file = open(path, O_RDONLY), listener = socket(AF_INET, SOCK_STREAM, 0), client;
	struct sockaddr_in addr = loopback(0);
	socklen_t len = sizeof(addr);
	struct stat st;

	if (file < 0 || fstat(file, &st) < 0)
		fail(path);
	if (bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, 16) < 0)
		fail("listen");
	getsockname(listener, (struct sockaddr *)&addr, &len);
	printf("listening on tcp://127.0.0.1:%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	while ((client = accept(listener, NULL, NULL)) >= 0) {
		for (int i = 0; i < times; i++)
			send_file(client, file, st.st_size);
		close(client);
	}
	fail("accept");
}

/* Peak of resident memory in KiB; 0 for no process. */
static long memory(const char *pid)
{
	char path[64], line[128];
	long kib = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	file = fopen(path, "r");
	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file))
		sscanf(line, "VmHWM: %ld", &kib);
	fclose(file);
	return kib;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void read_all(const char *pid, int port)
{
	static char buf[1 << 20];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in addr = loopback(port);
	long before = memory(pid);
	double start, bytes = 0;
	ssize_t n;

	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		fail("connect");
	start = now();
	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		bytes += (double)n;
	if (n < 0)
		fail("recv");
	printf("bytes=%.0f mb_per_s=%.1f growth_kib=%ld\n", bytes, bytes / 1e6 / (now() - start), memory(pid) - before);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		serve(argv[2], atoi(argv[3]));
	else if (argc == 5 && strcmp(argv[1], "read") == 0 && strcmp(argv[2], "-p") == 0)
		read_all(argv[3], atoi(argv[4]));
	else if (argc == 3 && strcmp(argv[1], "read") == 0)
		read_all("self", atoi(argv[2]));
	else
		fprintf(stderr, "usage: sendfile_peer serve FILE TIMES | read [-p PID] PORT\n");
	return argc > 2 ? 0 : 2;
}
