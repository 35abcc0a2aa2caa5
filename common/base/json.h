/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one JSON document (RFC 8259) into memory of its own that grows up to a limit. The output is plain
 * ASCII: text is read as UTF-8, everything else is escaped, and a byte that is no UTF-8 becomes U+FFFD.
 * Values go into the innermost open object or array; a value in an object has a key, one in an array or at
 * the top has none (NULL). The first failure is kept and makes everything after it do nothing, so only
 * json_finish() need be looked at. Zero-initialised with a limit = empty. Pure; one thread.
 *
 *   struct json j = {.limit = 1 << 20};
 *   json_object(&j, NULL);
 *   json_u64(&j, "errors", 3);
 *   json_end(&j);
 *   rc = json_finish(&j, &text);
 *   ...
 *   json_fini(&j);
 */
#pragma once

#include "common/base/buf.h"
#include "common/base/err.h"

#define JSON_DEPTH_MAX 32U

struct json {
    size_t limit; /* bytes of the document; set by the caller before the first value */
    /* private */
    struct buf out;
    uint32_t objects; /* bit n: level n is an object */
    unsigned depth;
    bool wants_comma;
    int rc;
};

/* Opens an object or an array; json_end() closes the innermost one. */
void json_object(struct json *j, const char *key);
void json_array(struct json *j, const char *key);
void json_end(struct json *j);

void json_str(struct json *j, const char *key, const char *s); /* NULL is written as null */
void json_span(struct json *j, const char *key, struct span s);
void json_u64(struct json *j, const char *key, uint64_t n);
void json_i64(struct json *j, const char *key, int64_t n);
void json_bool(struct json *j, const char *key, bool b);
void json_null(struct json *j, const char *key);

/*
 * The document and a newline behind it, valid until json_fini(); call it once. 0; -ENOMEM; -E2BIG if it is
 * longer than limit; -EINVAL if it was not built properly (a key missing or too many, an end without a
 * beginning, nothing or two values at the top, deeper than JSON_DEPTH_MAX), which is also a CHECK.
 */
MUST_CHECK int json_finish(struct json *j, struct span *text);
void json_fini(struct json *j); /* frees; safe on an empty one */

#define JSON_ESCAPE_CAP 12U
/* How the character stands inside a JSON string: its length in out, no NUL. Beyond U+10FFFF: as U+FFFD. */
size_t json_escape(uint32_t code, uint8_t out[JSON_ESCAPE_CAP]);
