/* SPDX-License-Identifier: MIT */
/* The client of the idle bench: opens connections, each of which exchanges one message (so that the server has served it)
 * and then is silent, and reports what one weighs in the server: the growth of its memory by the last of them, divided by
 * their number. The first connections are not counted, so that what the server sets up only once is not either.
 * usage: idle_load PORT PID CONNECTIONS [tcp|http [SECONDS]]     http: the message is a request; SECONDS of silence (1) */
#include "bench.h"

enum { FIRST = 500 };

static const char PING[] = "ping", REQUEST[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

static void open_one(int port, const char *message)
{
	int fd = connect_to(port);
	char answer[4];

	if (send(fd, message, strlen(message), 0) != (ssize_t)strlen(message) || recv(fd, answer, 4, MSG_WAITALL) != 4)
		die("no answer");
}

int main(int argc, char **argv)
{
	int port = argc > 3 ? atoi(argv[1]) : 0, n = argc > 3 ? atoi(argv[3]) : 0;
	const char *message = argc > 4 && strcmp(argv[4], "http") == 0 ? REQUEST : PING;
	double rss, pss;

	if (port <= 0 || n <= 0) {
		fprintf(stderr, "usage: idle_load PORT PID CONNECTIONS [tcp|http [SECONDS]]\n");
		return 2;
	}
	for (int i = 0; i < FIRST; i++)
		open_one(port, message);
	rss = memory_kib(argv[2], "smaps_rollup", "Rss");
	pss = memory_kib(argv[2], "smaps_rollup", "Pss");
	for (int i = 0; i < n; i++)
		open_one(port, message);
	sleep(argc > 5 ? atoi(argv[5]) : 1); /* whatever the server still puts away */
	printf("connections=%d rss_kib=%.3f pss_kib=%.3f\n", n, (memory_kib(argv[2], "smaps_rollup", "Rss") - rss) / n,
	       (memory_kib(argv[2], "smaps_rollup", "Pss") - pss) / n);
	return 0;
}
