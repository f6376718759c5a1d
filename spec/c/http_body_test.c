/* SPDX-License-Identifier: MIT */
/* Bodies: the chunked coding and multipart/form-data, at every split. */
#include "http/chunked.h"
#include "http/multipart.h"
#include "http_check.h"

/* ---- Chunked ---- */

struct decoded {
	int rc;
	size_t used, len;
	char data[40000];
};

/* Decodes pieces that are `first` and then `step` bytes long. */
static void decode(struct decoded *d, const char *text, size_t len, size_t first, size_t step)
{
	struct gr_chunked c = {0};
	size_t n = first, used, piece;

	d->rc = 0;
	d->used = d->len = 0;
	while (d->used < len && d->rc == 0) {
		char *copy;

		n = n < len - d->used ? n : len - d->used;
		copy = exact(text + d->used, n);
		d->rc = gr_chunked_next(&c, copy, n, &used, &piece);
		memcpy(d->data + d->len, copy + used - piece, piece);
		d->used += used;
		d->len += piece;
		free(copy);
		n = step;
	}
}

static bool same_decoded(const struct decoded *a, const struct decoded *b)
{
	return a->rc == b->rc && a->used == b->used && a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* True if every split gives the same as `whole`. */
static bool decode_splits(const struct decoded *whole, const char *text, size_t len)
{
	static struct decoded parts;

	decode(&parts, text, len, 1, 1);
	if (!same_decoded(whole, &parts))
		return false;
	for (size_t at = 1; at < len; at++) {
		decode(&parts, text, len, at, len);
		if (!same_decoded(whole, &parts))
			return false;
	}
	return true;
}

/* True if decoding in place gives the same and keeps what follows. */
static bool decode_in_place(const struct decoded *whole, const char *text, size_t len)
{
	struct gr_chunked c = {0};
	char *copy = exact(text, len);
	size_t used, data;
	int rc = gr_chunked_decode(&c, copy, len, &used, &data);
	bool same = rc == whole->rc && used == whole->used && data == whole->len &&
		    memcmp(copy, whole->data, data) == 0 && memcmp(copy + data, text + used, len - used) == 0;

	free(copy);
	return same;
}

static void test_chunked(void)
{
	static const struct {
		const char *text;
		size_t len;
		int rc;
		const char *data;
	} cases[] = {
		{TEXT("0\r\n"), 1, ""},
		{TEXT("0\r\n\r\nGET / HTTP/1.1\r\n"), 1, ""},
		{TEXT("3\r\nabc\r\n0\r\nX: y\r\n\r\n"), 1, "abc"},
		{TEXT("3\r\nabc\r\n00a\r\n0123456789\r\n0000000000000000\r\n"), 1, "abc0123456789"},
		{TEXT("A;x\r\n\r\n345678\r\n\r\n0;\r\n"), 1, "\r\n345678\r\n"},
		{TEXT("1;a=\"b;c\" ;\t\xff\r\nx\r\n0\r\n"), 1, "x"},
		{TEXT("3\r\nab"), 0, "ab"},
		{TEXT("3\r\nabc\r"), 0, "abc"},
		{TEXT("7fffffffffffffff\r\nabc"), 0, "abc"},
		{TEXT("07fffffffffffffff\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("8000000000000000\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("fffffffffffffffff\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("10000000000000000\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("00000000000000003\r\nabc\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT(";x\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("-1\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("+1\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("0x1\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("0_0\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT(" 1\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1 \r\nx\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1 ;a\r\nx\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1\nx\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1\rx\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1;a\nx\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1;a\rb\r\nx\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1;\0\r\nx\r\n"), GR_HTTP_BAD_CHUNK, ""},
		{TEXT("1\r\nx\n0\r\n"), GR_HTTP_BAD_CHUNK, "x"},
		{TEXT("1\r\nxy\r\n0\r\n"), GR_HTTP_BAD_CHUNK, "x"},
		{TEXT("1\r\nx\r0\r\n"), GR_HTTP_BAD_CHUNK, "x"},
		{TEXT("1\r\nx0\r\n"), GR_HTTP_BAD_CHUNK, "x"},
		{TEXT("3\r\nabc\r\n\r\n"), GR_HTTP_BAD_CHUNK, "abc"},
	};
	static struct decoded whole;
	bool good = true, splits = true, places = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *t = cases[i].text;
		size_t len = cases[i].len;

		decode(&whole, t, len, len, len);
		good = row(whole.rc == cases[i].rc && whole.len == strlen(cases[i].data) &&
				   memcmp(whole.data, cases[i].data, whole.len) == 0,
			   t, len) &&
		       good;
		splits = row(decode_splits(&whole, t, len), t, len) && splits;
		places = row(decode_in_place(&whole, t, len), t, len) && places;
	}
	check(good, "chunked: good and bad bodies");
	check(splits, "chunked: every split");
	check(places, "chunked: in place");
}

/* A chunk of one byte with `ext` bytes of extension. */
static size_t put_chunk(char *out, size_t ext)
{
	out[0] = '1';
	memset(out + 1, ';', ext);
	strcpy(out + 1 + ext, "\r\nx\r\n");
	return strlen(out);
}

static void test_chunk_extensions(void)
{
	static char text[40000];
	static struct decoded d;
	size_t n = put_chunk(text, GR_CHUNK_EXT_MAX);
	int chunks = GR_CHUNK_EXT_TOTAL / GR_CHUNK_EXT_MAX;

	decode(&d, text, n, n, n);
	check(d.rc == 0 && d.len == 1 && decode_splits(&d, text, n), "chunked: the longest extension");
	n = put_chunk(text, GR_CHUNK_EXT_MAX + 1);
	decode(&d, text, n, n, n);
	check(d.rc == GR_HTTP_LONG_CHUNK_EXT && decode_splits(&d, text, n), "chunked: a longer one");
	n = 0;
	for (int i = 0; i < chunks; i++)
		n += put_chunk(text + n, GR_CHUNK_EXT_MAX);
	decode(&d, text, n, n, n);
	check(d.rc == 0 && d.len == (size_t)chunks, "chunked: the most extensions");
	n += put_chunk(text + n, 1);
	decode(&d, text, n, n, n);
	check(d.rc == GR_HTTP_LONG_CHUNK_EXT && d.len == (size_t)chunks, "chunked: one more");
}

static void test_chunk_head(void)
{
	static const struct {
		size_t size;
		const char *text;
	} cases[] = {{1, "1\r\n"},
		     {15, "f\r\n"},
		     {16, "10\r\n"},
		     {0xabcdef, "abcdef\r\n"},
		     {SIZE_MAX, "ffffffffffffffff\r\n"}};
	char text[GR_CHUNK_HEAD_MAX];
	bool good = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t n = gr_chunk_head(text, cases[i].size);

		good = good && is_text((struct gr_slice){text, n}, cases[i].text);
	}
	check(good, "chunked: size lines");
}

/* ---- Multipart ---- */

static const struct gr_http_limits limits = {100, 200, 4};

struct scanned {
	int rc;
	char text[2000], last;
};

/* Events as text: "{" fields "}" data, "." for the end of a part; joined, since pieces of data depend on splits. */
static void record(struct scanned *s, int event, struct gr_slice piece, const struct gr_multipart *m)
{
	size_t n = strlen(s->text);
	struct gr_slice name, filename;

	if (event == GR_PART_BEGIN) {
		int rc = gr_multipart_names(m, piece.p, &name, &filename);

		if (rc < 0)
			snprintf(s->text + n, sizeof(s->text) - n, "{%u}", m->head.nfields);
		else
			snprintf(s->text + n, sizeof(s->text) - n, "{%.*s %.*s}", (int)name.len, name.p,
				 filename.p ? (int)filename.len : 1, filename.p ? filename.p : "-");
	} else if (event == GR_PART_DATA) {
		snprintf(s->text + n, sizeof(s->text) - n, "%.*s", (int)piece.len, piece.p);
	} else if (event == GR_PART_END) {
		snprintf(s->text + n, sizeof(s->text) - n, ".");
	}
}

static void scan(struct scanned *s, const char *text, size_t len, size_t first, size_t step)
{
	struct gr_http_field fields[4];
	struct gr_multipart m;
	struct gr_slice piece;
	size_t at = 0, have = first, used;

	memset(s, 0, sizeof(*s));
	gr_multipart_init(&m, slice("B"), fields, &limits, 3);
	for (;;) {
		char *copy = exact(text + at, have);

		s->rc = gr_multipart_next(&m, copy, have, &used, &piece);
		record(s, s->rc, piece, &m);
		free(copy);
		at += used;
		have -= used;
		if (s->rc < 0 || s->rc == GR_MULTIPART_END || (s->rc == GR_PART_MORE && at + have == len))
			return;
		if (s->rc == GR_PART_MORE)
			have += step < len - at - have ? step : len - at - have;
	}
}

static bool scan_splits(const struct scanned *whole, const char *text, size_t len)
{
	struct scanned s;

	scan(&s, text, len, 0, 1);
	if (s.rc != whole->rc || strcmp(s.text, whole->text) != 0)
		return false;
	for (size_t at = 0; at < len; at++) {
		scan(&s, text, len, at, len);
		if (s.rc != whole->rc || strcmp(s.text, whole->text) != 0)
			return false;
	}
	return true;
}

#define PART "Content-Disposition: form-data; name=x\r\n\r\n"

static void test_multipart(void)
{
	static const struct {
		const char *text;
		int rc;
		const char *found;
	} cases[] = {
		{"--B\r\n" PART "abc\r\n--B--\r\n", GR_MULTIPART_END, "{x -}abc."},
		{"--B\r\n" PART "abc\r\n--B--", GR_MULTIPART_END, "{x -}abc."},
		{"--B--", GR_MULTIPART_END, ""},
		{"\r\n--B--", GR_MULTIPART_END, ""},
		{"preamble --B\r\n-\r\n--B  \t\r\n" PART "\r\n--B--epilogue\r\n--B\r\n", GR_MULTIPART_END, "{x -}."},
		{"--B\r\ncontent-disposition: Form-Data; Name=\"a b\"; filename=\"c;d\"\r\nContent-Type: text/plain\r\n\r\n"
		 "1\r\n--B\r\n" PART "2\r\n--B--",
		 GR_MULTIPART_END, "{\"a b\" \"c;d\"}1.{x -}2."},
		{"--B\r\n" PART "--B--", GR_MULTIPART_END, "{x -}."}, /* an empty body without its CR LF */
		{"--B\r\n" PART "\r\n\r\n--B-", GR_PART_MORE, "{x -}\r\n."},
		{"--B\r\n" PART "a\r\n-\r\n--\r\n--\r--B\n--B\r\r\n--B--", GR_MULTIPART_END,
		 "{x -}a\r\n-\r\n--\r\n--\r--B\n--B\r."},
		{"--B\r\n" PART "a\n--B--\n\r\n--b\r\n--B--", GR_MULTIPART_END, "{x -}a\n--B--\n\r\n--b."},
		{"--B\r\n\r\nabc\r\n--B--", GR_MULTIPART_END, "{0}abc."},
		{"--B\r\nContent-Disposition: form-data\r\n\r\n\r\n--B--", GR_MULTIPART_END, "{1}."},
		{"--B\r\nContent-Disposition: attachment; name=x\r\n\r\n\r\n--B--", GR_MULTIPART_END, "{1}."},
		{"--B\r\nContent-Disposition: form-data; name=x\r\n" PART "\r\n--B--", GR_MULTIPART_END, "{2}."},
		{"--B\r\n" PART "abc", GR_PART_MORE, "{x -}abc"},
		{"--B\r\n" PART "abc\r\n--", GR_PART_MORE, "{x -}abc"},
		{"", GR_PART_MORE, ""},
		{"abc", GR_PART_MORE, ""},
		{"--Bx\r\n", GR_HTTP_BAD_MULTIPART, ""},
		{"--B-x", GR_HTTP_BAD_MULTIPART, ""},
		{"--B\n" PART, GR_HTTP_BAD_MULTIPART, ""},
		{"--B\rX", GR_HTTP_BAD_MULTIPART, ""},
		{"--B\r\n" PART "abc\r\n--Bc\r\n--B--", GR_HTTP_BAD_MULTIPART, "{x -}abc."},
		{"--B\r\nA : b\r\n\r\n", GR_HTTP_SPACE_COLON, ""},
		{"--B\r\nA: b\r\n c\r\n\r\n", GR_HTTP_FOLDED, ""},
		{"--B\r\nA: b\n\n", GR_HTTP_LINE_END, ""},
		{"--B\r\na:1\r\na:2\r\na:3\r\na:4\r\na:5\r\n\r\n", GR_HTTP_MANY_FIELDS, ""},
		{"--B\r\n\r\n\r\n--B\r\n\r\n\r\n--B\r\n\r\n\r\n--B\r\n\r\n\r\n--B--", GR_HTTP_MANY_PARTS,
		 "{0}.{0}.{0}."},
	};
	struct scanned whole;
	bool good = true, splits = true;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *t = cases[i].text;
		size_t len = strlen(t);

		scan(&whole, t, len, len, len);
		good = row(whole.rc == cases[i].rc && strcmp(whole.text, cases[i].found) == 0, t, len) && good;
		splits = row(scan_splits(&whole, t, len), t, len) && splits;
	}
	check(good, "multipart: good and bad bodies");
	check(splits, "multipart: every split");
}

static void test_multipart_limits(void)
{
	static char text[1000];
	struct scanned s;
	size_t n;

	n = (size_t)snprintf(text, sizeof(text), "--B%64s\r\n" PART "\r\n--B--", "");
	scan(&s, text, n, n, n);
	check(s.rc == GR_MULTIPART_END && scan_splits(&s, text, n), "multipart: the most padding");
	n = (size_t)snprintf(text, sizeof(text), "--B%65s\r\n" PART "\r\n--B--", "");
	scan(&s, text, n, n, n);
	check(s.rc == GR_HTTP_BAD_MULTIPART && scan_splits(&s, text, n), "multipart: more padding");
	n = (size_t)snprintf(text, sizeof(text), "--B\r\nA: %300d", 1);
	scan(&s, text, n, n, n);
	check(s.rc == GR_HTTP_LONG_BLOCK, "multipart: long fields");
}

/* Data is handed on at once but for what may begin a delimiter. */
static void test_multipart_look_behind(void)
{
	struct gr_http_field fields[4];
	struct gr_multipart m;
	struct gr_slice piece;
	static const char head[] = "--B\r\n\r\n", data[] = "abc\r\nd\r\n--";
	size_t used;

	gr_multipart_init(&m, slice("B"), fields, &limits, 1);
	gr_multipart_next(&m, TEXT(head), &used, &piece);
	check(gr_multipart_next(&m, TEXT(data), &used, &piece) == GR_PART_DATA && is_text(piece, "abc\r\nd") &&
		      used == 6,
	      "multipart: only what may be a delimiter is held back");
	check(gr_multipart_next(&m, data + 6, 4, &used, &piece) == GR_PART_MORE && used == 0,
	      "multipart: until it is clear");
	check(gr_multipart_next(&m, TEXT("\r\n-x"), &used, &piece) == GR_PART_DATA && used == 4,
	      "multipart: a line's end that begins none is handed on");
}

static void test_boundaries(void)
{
	static const char *const good[] = {"B", "----WebKitFormBoundary7MA4YWxkTrZu0gW", "a b'()+_,-./:=?z",
					   "0123456789012345678901234567890123456789012345678901234567890123456789"};
	static const char *const bad[] = {
		"",         " ",    "a ",
		"a\r\nb",   "a\"b", "a;b",
		"\xc3\xa4", "a~",   "01234567890123456789012345678901234567890123456789012345678901234567890"};
	struct gr_multipart m;
	bool all = true;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		all = all && gr_multipart_init(&m, slice(good[i]), NULL, &limits, 1) == 0;
	check(all, "multipart: boundaries");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		all = all && gr_multipart_init(&m, slice(bad[i]), NULL, &limits, 1) == GR_HTTP_BAD_MULTIPART;
	check(all && gr_multipart_init(&m, (struct gr_slice){"a\0b", 3}, NULL, &limits, 1) < 0,
	      "multipart: what is no boundary");
}

int main(void)
{
	test_chunked();
	test_chunk_extensions();
	test_chunk_head();
	test_multipart();
	test_multipart_limits();
	test_multipart_look_behind();
	test_boundaries();
	return failures > 0;
}
