/* SPDX-License-Identifier: MIT */
/* Formatting and parsing of dates, without the C library's locale and time zone. */
#include "http/date.h"

#include <string.h>

#include "http/text.h"

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char *const long_days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

enum { DAY = 24 * 60 * 60 };

static const int64_t year_1 = -62135596800, year_10000 = 253402300800;

struct date {
	int year, month, day, hour, minute, second; /* month 0-11, day 1-31 */
};

/* Days since 1970 of the first of March of `year`; years begin in March here, so that the leap day is their last. */
static int64_t march(int year)
{
	return 365 * (int64_t)year + year / 4 - year / 100 + year / 400 - 719468;
}

static int days_before(int month_from_march)
{
	return (153 * month_from_march + 2) / 5;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* ---- Formatting. ---- */

static void split(int64_t day, struct date *d)
{
	int year = (int)((day - march(0)) * 400 / 146097) + 1, month = 11;

	while (march(year) > day)
		year--;
	day -= march(year);
	while (days_before(month) > day)
		month--;
	d->day = (int)(day - days_before(month)) + 1;
	d->month = (month + 2) % 12;
	d->year = year + (d->month < 2);
}

static char *digits(char *out, int n)
{
	out[0] = (char)('0' + n / 10);
	out[1] = (char)('0' + n % 10);
	return out + 2;
}

void gr_http_date_format(int64_t time, char *out)
{
	struct date d;
	int64_t day;
	int rest;

	if (time < year_1)
		time = year_1;
	if (time >= year_10000)
		time = year_10000 - 1;
	day = (time - year_1) / DAY + year_1 / DAY;
	rest = (int)(time - day * DAY);
	split(day, &d);
	memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", GR_HTTP_DATE);
	memcpy(out, days + 3 * ((day - year_1 / DAY + 1) % 7), 3);
	digits(out + 5, d.day);
	memcpy(out + 8, months + 3 * d.month, 3);
	digits(digits(out + 12, d.year / 100), d.year % 100);
	digits(out + 17, rest / 3600);
	digits(out + 20, rest / 60 % 60);
	digits(out + 23, rest % 60);
}

/* ---- Parsing. ---- */

static int find3(const char *names, int count, const char *p)
{
	int i = 0;

	while (i < count && memcmp(names + 3 * i, p, 3) != 0)
		i++;
	return i;
}

/* Returns the end of the number, NULL if it has not that many digits. */
static const char *number(const char *p, const char *end, int count, int *n)
{
	if (end - p < count || !gr_text_all(p, (size_t)count, GR_CHAR_DIGIT))
		return NULL;
	*n = (int)gr_text_number(p, (size_t)count);
	return p + count;
}

static const char *long_day(const char *p, const char *end)
{
	for (int i = 0; i < 7; i++) {
		size_t len = strlen(long_days[i]);

		if ((size_t)(end - p) >= len && memcmp(p, long_days[i], len) == 0)
			return p + len;
	}
	return NULL;
}

/* RFC 9110: a year that seems to be more than 50 years ahead is the last one that ended so. */
static int century(int year, int64_t now)
{
	struct date today;

	split(now / DAY, &today);
	year += today.year / 100 * 100;
	return year > today.year + 50 ? year - 100 : year;
}

/* Parses what one letter of a format stands for; NULL if it is not there. */
static const char *part(char letter, const char *p, const char *end, int64_t now, struct date *d)
{
	switch (letter) {
	case 'a':
		return end - p >= 3 && find3(days, 7, p) < 7 ? p + 3 : NULL;
	case 'A':
		return long_day(p, end);
	case 'b':
		return end - p >= 3 && (d->month = find3(months, 12, p)) < 12 ? p + 3 : NULL;
	case 'd':
		return number(p, end, 2, &d->day);
	case 'e':
		return p < end && *p == ' ' ? number(p + 1, end, 1, &d->day) : number(p, end, 2, &d->day);
	case 'H':
		return number(p, end, 2, &d->hour);
	case 'M':
		return number(p, end, 2, &d->minute);
	case 'S':
		return number(p, end, 2, &d->second);
	case 'Y':
		return number(p, end, 4, &d->year);
	case 'y':
		p = number(p, end, 2, &d->year);
		d->year = century(d->year, now);
		return p;
	default:
		return p < end && *p == letter ? p + 1 : NULL;
	}
}

static bool match(const char *format, const char *p, const char *end, int64_t now, struct date *d)
{
	for (; *format && p; format++) {
		if (*format == '%')
			p = part(*++format, p, end, now, d);
		else
			p = p < end && *p == *format ? p + 1 : NULL;
	}
	return p == end;
}

static bool is_valid(const struct date *d)
{
	static const char lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (d->year < 1 || d->day < 1 || d->day > lengths[d->month] ||
	    (d->month == 1 && d->day == 29 && !is_leap(d->year)))
		return false;
	return d->hour < 24 && d->minute < 60 && d->second <= 60;
}

bool gr_http_date_parse(const char *p, size_t len, int64_t now, int64_t *time)
{
	static const char *const formats[] = {
		"%a, %d %b %Y %H:%M:%S GMT",
		"%A, %d-%b-%y %H:%M:%S GMT",
		"%a %b %e %H:%M:%S %Y",
		"%a, %d-%b-%Y %H:%M:%S GMT",
	};
	struct date d = {0};
	unsigned i = 0;

	while (i < 4 && !match(formats[i], p, p + len, now, &d))
		i++;
	if (i == 4 || !is_valid(&d))
		return false;
	*time = (march(d.year - (d.month < 2)) + days_before((d.month + 10) % 12) + d.day - 1) * DAY + d.hour * 3600 +
		d.minute * 60 + d.second;
	return true;
}
