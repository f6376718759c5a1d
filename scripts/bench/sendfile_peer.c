/* SPDX-License-Identifier: MIT */
/* The yardstick and the client of the sendfile bench.
 * sendfile_peer serve FILE TIMES     a blocking sendfile(2) loop that serves one client after the other
 * sendfile_peer read [-p PID] PORT   reads all from such a server; reports its speed, and how the memory of the process PID
 *                                    grew meanwhile */
#include "bench.h"
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static void send_file(int to, int file, off_t size)
{
	off_t at = 0;

	while (at < size)
		if (sendfile(to, file, &at, (size_t)(size - at)) <= 0)
			die("sendfile");
}

static void send_times(const char *path, int times)
{
	int file = open(path, O_RDONLY), listener = serve_on(SOCK_STREAM, "tcp", 0), client;
	struct stat st;

	if (file < 0 || fstat(file, &st) < 0)
		die(path);
	while ((client = accept(listener, NULL, NULL)) >= 0) {
		for (int i = 0; i < times; i++)
			send_file(client, file, st.st_size);
		close(client);
	}
	die("accept");
}

static void read_all(const char *pid, int port)
{
	static char buf[1 << 20];
	double before = memory_kib(pid, "status", "VmHWM"), bytes = 0;
	uint64_t start = now_ns(CLOCK_MONOTONIC);
	int fd = connect_to(port);
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		bytes += (double)n;
	if (n < 0)
		die("recv");
	printf("bytes=%.0f mb_per_s=%.1f growth_kib=%.0f\n", bytes,
	       bytes * 1e3 / (double)(now_ns(CLOCK_MONOTONIC) - start), memory_kib(pid, "status", "VmHWM") - before);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "serve") == 0)
		send_times(argv[2], atoi(argv[3]));
	else if (argc == 5 && strcmp(argv[1], "read") == 0 && strcmp(argv[2], "-p") == 0)
		read_all(argv[3], atoi(argv[4]));
	else if (argc == 3 && strcmp(argv[1], "read") == 0)
		read_all("self", atoi(argv[2]));
	else
		fprintf(stderr, "usage: sendfile_peer serve FILE TIMES | read [-p PID] PORT\n");
	return argc > 2 ? 0 : 2;
}
