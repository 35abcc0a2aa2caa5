/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a strict reader of the one form of JSON that our programs write to logs and error bodies: one
 * flat object of strings, integers and booleans (RFC 8259) in plain ASCII, without white space, ended by a
 * newline. Anything else fails the test that reads it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct json_member {
    char key[256];
    char kind;           /* 's'tring, 'n'umber or 'b'oolean */
    uint8_t bytes[4096]; /* of a string what it means (\u00XX is one byte), of the others the text */
    size_t len;
};

/* Reads the whole object and returns how many members it has; member want, if there is one, is put into *out.
 */
size_t json_flat_read(const char *line, size_t want, struct json_member *out);
