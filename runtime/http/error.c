/* SPDX-License-Identifier: MIT */
/* The tables of errors and of reason phrases. */
#include "http/error.h"

#include <stddef.h>

static const struct {
	int status;
	const char *text;
} errors[] = {
#define AT(code) [(code) - GR_HTTP_NOT_HTTP]
	AT(GR_HTTP_NOT_HTTP) = {400, "not HTTP"},
	AT(GR_HTTP_TLS_HELLO) = {400, "TLS on a plain HTTP port"},
	AT(GR_HTTP_H2_PREFACE) = {400, "HTTP/2 is not spoken here"},
	AT(GR_HTTP_EMPTY_LINES) = {400, "empty lines before the request"},
	AT(GR_HTTP_LINE_END) = {400, "line does not end with CR LF"},
	AT(GR_HTTP_BAD_LINE) = {400, "malformed first line"},
	AT(GR_HTTP_BAD_METHOD) = {501, "method too long"},
	AT(GR_HTTP_BAD_TARGET) = {400, "malformed request target"},
	AT(GR_HTTP_BAD_VERSION) = {505, "HTTP version not supported"},
	AT(GR_HTTP_BAD_STATUS) = {500, "malformed status"},
	AT(GR_HTTP_BAD_NAME) = {400, "malformed field name"},
	AT(GR_HTTP_SPACE_COLON) = {400, "space before the colon of a field"},
	AT(GR_HTTP_FOLDED) = {400, "folded field"},
	AT(GR_HTTP_BAD_VALUE) = {400, "control character in a field"},
	AT(GR_HTTP_NO_HOST) = {400, "no Host field"},
	AT(GR_HTTP_BAD_HOST) = {400, "malformed or repeated Host field"},
	AT(GR_HTTP_BAD_LENGTH) = {400, "malformed or repeated Content-Length field"},
	AT(GR_HTTP_BAD_CODING) = {400, "Transfer-Encoding other than chunked"},
	AT(GR_HTTP_TWO_FRAMINGS) = {400, "both Content-Length and Transfer-Encoding"},
	AT(GR_HTTP_BAD_EXPECT) = {417, "unknown expectation"},
	AT(GR_HTTP_LONG_LINE) = {414, "first line too long"},
	AT(GR_HTTP_LONG_BLOCK) = {431, "fields too long"},
	AT(GR_HTTP_MANY_FIELDS) = {431, "too many fields"},
	AT(GR_HTTP_BAD_CHUNK) = {400, "malformed chunk"},
	AT(GR_HTTP_LONG_CHUNK_EXT) = {400, "chunk extensions too long"},
	AT(GR_HTTP_BAD_MULTIPART) = {400, "malformed multipart body"},
	AT(GR_HTTP_MANY_PARTS) = {413, "too many parts in a multipart body"},
	AT(GR_HTTP_BAD_ESCAPE) = {400, "malformed percent escape"},
	AT(GR_HTTP_NUL) = {400, "NUL byte"},
	AT(GR_HTTP_OUTSIDE) = {400, "path leads out of its root"},
	AT(GR_HTTP_BAD_PROXY) = {400, "malformed PROXY protocol header"},
	AT(GR_HTTP_BAD_FRAMING) = {500, "framing fields that contradict the body"},
	AT(GR_HTTP_NO_SPACE) = {500, "buffer too small"},
#undef AT
};

int gr_http_error_status(int error)
{
	return error >= GR_HTTP_NOT_HTTP && error < GR_HTTP_ERROR_END ? errors[error - GR_HTTP_NOT_HTTP].status : 500;
}

const char *gr_http_error_text(int error)
{
	if (error < GR_HTTP_NOT_HTTP || error >= GR_HTTP_ERROR_END)
		return "unknown error";
	return errors[error - GR_HTTP_NOT_HTTP].text;
}

/* The IANA registry of HTTP status codes, by hundreds. */
static const char *const informational[] = {"Continue", "Switching Protocols", "Processing", "Early Hints"};
static const char *const successful[] = {
	"OK", "Created", "Accepted", "Non-Authoritative Information", "No Content", "Reset Content", "Partial Content",
	"Multi-Status", "Already Reported", [26] = "IM Used",
};
static const char *const redirection[] = {
	"Multiple Choices", "Moved Permanently", "Found", "See Other", "Not Modified", "Use Proxy",
	[7] = "Temporary Redirect", "Permanent Redirect",
};
static const char *const client_error[] = {
	"Bad Request", "Unauthorized", "Payment Required", "Forbidden", "Not Found", "Method Not Allowed",
	"Not Acceptable", "Proxy Authentication Required", "Request Timeout", "Conflict", "Gone", "Length Required",
	"Precondition Failed", "Content Too Large", "URI Too Long", "Unsupported Media Type", "Range Not Satisfiable",
	"Expectation Failed", [21] = "Misdirected Request", "Unprocessable Content", "Locked", "Failed Dependency",
	"Too Early", "Upgrade Required", [28] = "Precondition Required", "Too Many Requests",
	[31] = "Request Header Fields Too Large", [51] = "Unavailable For Legal Reasons",
};
static const char *const server_error[] = {
	"Internal Server Error", "Not Implemented", "Bad Gateway", "Service Unavailable", "Gateway Timeout",
	"HTTP Version Not Supported", "Variant Also Negotiates", "Insufficient Storage", "Loop Detected",
	[11] = "Network Authentication Required",
};

#define LIST(a) {a, sizeof(a) / sizeof((a)[0])}
static const struct {
	const char *const *names;
	int count;
} reasons[] = {
	LIST(informational), LIST(successful), LIST(redirection), LIST(client_error), LIST(server_error),
};

const char *gr_http_reason(int status)
{
	int hundred = status / 100 - 1, rest = status % 100;

	if (status < 100 || status > 599 || rest >= reasons[hundred].count || !reasons[hundred].names[rest])
		return "";
	return reasons[hundred].names[rest];
}
