/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a policy file before it is parsed: size, encoding, byte order mark, header document; and places
 * in it. Lines end where YAML 1.1 ends them: CR, LF, CRLF, NEL, LS, PS. Columns count characters. Pure.
 */
#pragma once

#include "common/policy/yaml_doc.h"

#define YAML_TEXT_MAX_BYTES ((size_t)16 << 20)

struct yaml_text {
    struct span body;  /* borrowed: without byte order mark and header document */
    size_t first_line; /* lines in front of body */
};

/*
 * 0 and *out; -EINVAL with *fault: not UTF-8, UTF-16, a NUL or another control character, a line break other
 * than CR and LF, a mark that reorders a line, a %TAG directive; -E2BIG with *fault.
 */
MUST_CHECK int yaml_text_check(struct span text, struct yaml_text *out, struct yaml_fault *fault);

/* Bytes of the line break at s.data[i], or 0. */
size_t yaml_break_len(struct span s, size_t i);

/* A place that only moves forward, so that following a parser through a text is linear. Zero = the start. */
struct yaml_cursor {
    size_t offset;
    size_t line; /* 0-based, as libyaml counts */
    size_t col;
};

/* Moves forward to (line, col), or to the end of the line or text if that is shorter. */
void yaml_cursor_advance(struct yaml_cursor *c, struct span s, size_t line, size_t col);
uint8_t yaml_cursor_byte(const struct yaml_cursor *c, struct span s); /* 0 at the end */
