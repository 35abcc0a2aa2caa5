/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/yaml_doc.h"

#include "common/policy/yaml_scalar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct yaml_doc *must_parse(const char *text)
{
    struct yaml_doc *doc = NULL;
    struct yaml_fault fault;
    if (yaml_doc_parse(span_str(text), &doc, &fault) != 0) {
        fail_msg("%u:%u: %s in %s", fault.pos.line, fault.pos.col, fault.message, text);
    }
    return doc;
}

static void check_pos(struct yaml_pos pos, uint32_t line, uint32_t col, uint32_t len)
{
    if (pos.line != line || pos.col != col || pos.len != len) {
        fail_msg("%u:%u, %u long; expected %u:%u, %u", pos.line, pos.col, pos.len, line, col, len);
    }
}

static void check_text(const struct yaml_node *n, const char *text)
{
    assert_non_null(n);
    assert_int_equal(n->kind, YAML_SCALAR);
    assert_true(span_is_equal(n->text, span_str(text)));
}

static void test_tree(void **state)
{
    (void)state;
    struct yaml_doc *doc =
        must_parse("a: one\nb:\n  - two\n  - {c: \"three\", d: []}\n\xc3\xa9: caf\xc3\xa9\n");
    const struct yaml_node *root = yaml_doc_root(doc);
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->count, 3);
    const struct yaml_node *a = yaml_map_get(root, "a");
    check_text(a, "one");
    assert_true(a->is_plain);
    check_pos(a->key_pos, 1, 1, 1);
    check_pos(a->pos, 1, 4, 3);
    const struct yaml_node *b = yaml_map_get(root, "b");
    assert_int_equal(b->kind, YAML_LIST);
    assert_int_equal(b->count, 2);
    check_text(b->first, "two");
    check_pos(b->first->pos, 3, 5, 3);
    const struct yaml_node *map = b->first->next;
    check_pos(map->pos, 4, 5, 1);
    check_text(yaml_map_get(map, "c"), "three");
    assert_false(yaml_map_get(map, "c")->is_plain);
    check_pos(yaml_map_get(map, "c")->pos, 4, 9, 7);
    assert_int_equal(yaml_map_get(map, "d")->count, 0);
    assert_null(map->next);
    const struct yaml_node *e = yaml_map_get(root, "\xc3\xa9");
    check_text(e, "caf\xc3\xa9");
    check_pos(e->key_pos, 5, 1, 1); /* characters, not bytes */
    check_pos(e->pos, 5, 4, 4);
    assert_null(yaml_map_get(root, "absent"));
    assert_null(yaml_map_get(a, "a"));
    assert_null(yaml_map_get(NULL, "a"));
    yaml_doc_free(doc);
    yaml_doc_free(NULL);
}

static void test_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t line, col, len;
    } rows[] = {
        {"", 1, 1, 1},
        {"\n", 1, 1, 1},
        {"# comment\n", 1, 1, 1},
        {"\xef\xbb\xbf", 1, 1, 1},
        {"---\n", 2, 1, 1},
        {"---\n...\n", 2, 1, 1},
        {"null", 1, 1, 4},
        {"~", 1, 1, 1},
        {"--- NULL\n", 1, 5, 4},
        {"\xef\xbb\xbf\n", 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct yaml_doc *doc = must_parse(rows[i].text);
        assert_int_equal(yaml_doc_root(doc)->kind, YAML_NONE);
        check_pos(yaml_doc_root(doc)->pos, rows[i].line, rows[i].col, rows[i].len);
        yaml_doc_free(doc);
    }
    struct yaml_doc *doc = must_parse("\"null\"");
    check_text(yaml_doc_root(doc), "null");
    yaml_doc_free(doc);
}

static void check_fault(struct span text, uint32_t line, uint32_t col, const char *part)
{
    struct yaml_doc *doc = NULL;
    struct yaml_fault fault;
    assert_int_equal(yaml_doc_parse(text, &doc, &fault), -EINVAL);
    assert_null(doc);
    if (fault.pos.line != line || fault.pos.col != col || fault.pos.len == 0 ||
        strstr(fault.message, part) == NULL) {
        fail_msg("%u:%u: %s; expected %u:%u: %s", fault.pos.line, fault.pos.col, fault.message, line, col,
                 part);
    }
}

static void test_faults(void **state)
{
    (void)state;
    check_fault(SPAN_LIT("a: *b\n"), 1, 4, "an alias");
    check_fault(SPAN_LIT("a: &b c\n"), 1, 4, "an anchor");
    check_fault(SPAN_LIT("&b a: c\n"), 1, 1, "an anchor");
    check_fault(SPAN_LIT("&b [a]\n"), 1, 1, "an anchor");
    check_fault(SPAN_LIT("a: !x c\n"), 1, 4, "a tag");
    check_fault(SPAN_LIT("!x a: c\n"), 1, 1, "a tag");
    check_fault(SPAN_LIT("a: !!str c\n"), 1, 4, "a tag");
    check_fault(SPAN_LIT("a: ! c\n"), 1, 4, "a tag");
    check_fault(SPAN_LIT("a: ! 'c'\n"), 1, 4, "a tag");
    check_fault(SPAN_LIT("caf\xc3\xa9: [b, ! c]\n"), 1, 11, "a tag");
    check_fault(SPAN_LIT("a: ! [b]\n"), 1, 4, "a tag");
    check_fault(SPAN_LIT("<<: {a: b}\n"), 1, 1, "a merge key");
    check_fault(SPAN_LIT("a: b\n\"a\": c\n"), 2, 1, "given before, on line 1");
    check_fault(SPAN_LIT("[a]: b\n"), 1, 1, "a key must be a plain word");
    check_fault(SPAN_LIT("? {a: b}\n: c\n"), 1, 3, "a key must be a plain word");
    check_fault(SPAN_LIT("'': b\n"), 1, 1, "an empty key");
    check_fault(SPAN_LIT("a: \"\\0\"\n"), 1, 4, "a NUL character");
    check_fault(SPAN_LIT("\"a\\x00b\": c\n"), 1, 1, "a NUL character");
    check_fault(SPAN_LIT("a: [b]\n---\nc: d\n"), 2, 1, "a second document");
    check_fault(SPAN_LIT("a: [b]\n...\n---\nc: d\n"), 3, 1, "a second document");
    check_fault(SPAN_LIT("%TAG !e! tag:example.com,2000:\n---\na: b\n"), 1, 1, "a %TAG directive");
    check_fault(SPAN_LIT("%YAML 9.0\n---\na: b\n"), 1, 1, "incompatible YAML");
    check_fault(SPAN_LIT("a: {\n"), 2, 1, "");
    check_fault(SPAN_LIT("a: 'b\n"), 2, 1, "quoted scalar");
    check_fault(SPAN_LIT("a: \"\\q\"\n"), 1, 5, "escape character");
    check_fault(SPAN_LIT("\ta: b\n"), 1, 1, "cannot start any token");
    check_fault(SPAN_LIT("Version: 1\n---\na: *b\n"), 3, 4, "an alias");
}

static void test_a_header_is_skipped(void **state)
{
    (void)state;
    struct yaml_doc *doc = must_parse("Version:   3\nHash:   ab:c\n---\nversion: 1\n");
    const struct yaml_node *version = yaml_map_get(yaml_doc_root(doc), "version");
    check_text(version, "1");
    check_pos(version->pos, 4, 10, 1);
    yaml_doc_free(doc);
}

static void test_depth(void **state)
{
    (void)state;
    struct yaml_doc *doc = must_parse("[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]"); /* 16 */
    yaml_doc_free(doc);
    check_fault(SPAN_LIT("[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]"), 1, 17, "nested deeper than 16");
    check_fault(SPAN_LIT("- - - - - - - - - - - - - - - - - a"), 1, 33, "nested deeper than 16");
    check_fault(SPAN_LIT("[{a: [{a: [{a: [{a: [{a: [{a: [{a: [{a: [b]}]}]}]}]}]}]}]}]"), 1, 41,
                "nested deeper than 16");
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Each is refused at once: the bound is generous for sanitizers and a busy machine; without the cap it is
 * minutes. */
static void test_hostile(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    char *text = malloc(COUNT + 1);
    assert_non_null(text);
    int64_t start = now_ms();
    static const char fills[] = "[{-?";
    for (size_t i = 0; i + 1 < sizeof fills; i++) {
        struct yaml_doc *doc = NULL;
        struct yaml_fault fault;
        for (size_t k = 0; k < COUNT; k++) {
            text[k] = fills[i] == '-' || fills[i] == '?' ? (k % 2 == 0 ? fills[i] : ' ') : fills[i];
        }
        text[COUNT] = '\0';
        assert_int_equal(yaml_doc_parse(span_str(text), &doc, &fault), -EINVAL);
    }
    free(text);
    check_fault(SPAN_LIT("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"), 1, 4, "an anchor");
    assert_true(now_ms() - start < 2000);
}

static void test_many_keys(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    char *text = malloc(COUNT * 12 + 16);
    assert_non_null(text);
    size_t len = 0;
    for (size_t i = 0; i < COUNT; i++) {
        len += (size_t)snprintf(text + len, 12, "k%zu: v\n", i);
    }
    struct yaml_doc *doc = must_parse(text);
    assert_int_equal(yaml_doc_root(doc)->count, COUNT);
    check_text(yaml_map_get(yaml_doc_root(doc), "k19999"), "v");
    yaml_doc_free(doc);
    (void)snprintf(text + len, 12, "k777: v\n");
    check_fault(span_str(text), COUNT + 1, 1, "given before, on line 778");
    free(text);
}

static void test_every_truncation(void **state)
{
    (void)state;
    static const char text[] =
        "Version: 1\n---\nversion: 1\nmap: {a: [b, \"c\\x41\", 'd'], \"\xc3\xa9\": |\n";
    for (size_t len = 0; len < sizeof text; len++) {
        struct yaml_doc *doc = NULL;
        struct yaml_fault fault;
        uint8_t *copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, text, len);
        int rc = yaml_doc_parse(span_make(copy, len), &doc, &fault);
        assert_true(rc == 0 || rc == -EINVAL);
        assert_int_equal(rc == 0, doc != NULL);
        assert_int_equal(rc != 0, fault.message[0] != '\0');
        free(copy); /* the text was borrowed for the call */
        yaml_doc_free(doc);
    }
}

static void test_line_ends(void **state)
{
    (void)state;
    static const char *const texts[] = {"a: 1\nb: 2\n", "a: 1\r\nb: 2\r\n", "a: 1\rb: 2\r",
                                        ("\xef\xbb\xbf"
                                         "a: 1\nb: 2")};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct yaml_doc *doc = must_parse(texts[i]);
        check_text(yaml_map_get(yaml_doc_root(doc), "a"), "1");
        check_pos(yaml_map_get(yaml_doc_root(doc), "a")->pos, 1, 4, 1);
        check_pos(yaml_map_get(yaml_doc_root(doc), "b")->key_pos, 2, 1, 1);
        yaml_doc_free(doc);
    }
}

static void test_scalar_types(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum scalar_type expect;
    } rows[] = {
        {"a", SCALAR_TEXT},     {"yes", SCALAR_TEXT},   {"off", SCALAR_TEXT},   {"0443", SCALAR_TEXT},
        {"1.2.3", SCALAR_TEXT}, {"1e", SCALAR_TEXT},    {"-", SCALAR_TEXT},     {"+", SCALAR_TEXT},
        {".", SCALAR_TEXT},     {"0x", SCALAR_TEXT},    {"0xg", SCALAR_TEXT},   {"0o8", SCALAR_TEXT},
        {"0b2", SCALAR_TEXT},   {"1-2", SCALAR_TEXT},   {"1e5e5", SCALAR_TEXT}, {"1_000", SCALAR_TEXT},
        {"tRue", SCALAR_TEXT},  {"nULL", SCALAR_TEXT},  {"e5", SCALAR_TEXT},    {".e5", SCALAR_TEXT},
        {"null", SCALAR_NULL},  {"~", SCALAR_NULL},     {"", SCALAR_NULL},      {"Null", SCALAR_NULL},
        {"true", SCALAR_BOOL},  {"FALSE", SCALAR_BOOL}, {"True", SCALAR_BOOL},  {"0", SCALAR_INT},
        {"443", SCALAR_INT},    {"-1", SCALAR_INT},     {"+1", SCALAR_INT},     {"0x1F", SCALAR_INT},
        {"0o17", SCALAR_INT},   {"0b101", SCALAR_INT},  {"1.0", SCALAR_FLOAT},  {"-1.5e-3", SCALAR_FLOAT},
        {"1e3", SCALAR_FLOAT},  {".5", SCALAR_FLOAT},   {".inf", SCALAR_FLOAT}, {"-.INF", SCALAR_FLOAT},
        {".nan", SCALAR_FLOAT}, {"1.", SCALAR_FLOAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct yaml_node n = {.kind = YAML_SCALAR, .is_plain = true, .text = span_str(rows[i].text)};
        if (yaml_scalar_type(&n) != rows[i].expect) {
            fail_msg("%s is %d, not %d", rows[i].text, (int)yaml_scalar_type(&n), (int)rows[i].expect);
        }
        n.is_plain = false;
        assert_int_equal(yaml_scalar_type(&n), SCALAR_TEXT);
    }
}

/* What of the text the value of a key of the root came from, key included. */
static void check_range(const char *text, const char *key, const char *source)
{
    struct yaml_doc *doc = must_parse(text);
    const struct yaml_node *n = yaml_map_get(yaml_doc_root(doc), key);
    assert_non_null(n);
    struct span found = span_sub(span_str(text), n->key_start, n->end - n->key_start);
    if (!span_is_equal(found, span_str(source)) || n->start < n->key_start) {
        fail_msg("\"%.*s\", expected \"%s\"", (int)found.len, (const char *)found.data, source);
    }
    yaml_doc_free(doc);
}

static void test_ranges(void **state)
{
    (void)state;
    check_range("a: one  # c\nb: 2\n", "a", "a: one");
    check_range("\"a\"  :  'one'  # c\n", "a", "\"a\"  :  'one'");
    check_range("a:\n  - x\n  - y: {z: 1 } # c\n\n# d\nb: 2\n", "a", "a:\n  - x\n  - y: {z: 1 }");
    check_range("a: [ 1,\n 2\n ] # c\nb: 2\n", "a", "a: [ 1,\n 2\n ]");
    check_range("a:\r\n  b:\r\n    c: x\r\n  # d\r\n", "a", "a:\r\n  b:\r\n    c: x");
    check_range("a: |\n  x\n\nb: 2\n", "a", "a: |\n  x\n\n");
    check_range("a: x\n  y z  # c\n", "a", "a: x\n  y z");
    check_range("a:  # nothing\nb: 2\n", "a", "a:");
    check_range("{ a: { b: \"}\" } , b: 2}", "a", "a: { b: \"}\" }");
    check_range("\xef\xbb\xbf\xc3\xa9: 1\na: \xc3\xa9 # c\n", "a", "a: \xc3\xa9");
    check_range("Version:   3\n---\nb: 1\na: 2\n", "a", "a: 2");
}

static void test_same_tree(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool is_same;
    } rows[] = {
        {"a: { b: [1, 2] }", "a:\n  b: # c\n  - 1\n  - 2\n", true},
        {"a: 1", "a: 2", false},
        {"a: 1", "a: \"1\"", false},
        {"a: 1", "b: 1", false},
        {"a: [1]", "a: [1, 1]", false},
        {"a: { b: 1, c: 1 }", "a: { c: 1, b: 1 }", false},
        {"a: { b: { c: { d: 1 } } }", "a: { b: { c: { d: 2 } } }", false},
        {"x", "x", true},
        {"x", "y", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct yaml_doc *a = must_parse(rows[i].a);
        struct yaml_doc *b = must_parse(rows[i].b);
        assert_int_equal(yaml_is_same_tree(yaml_doc_root(a), yaml_doc_root(b)), rows[i].is_same);
        yaml_doc_free(a);
        yaml_doc_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),    cmocka_unit_test(test_same_tree),
        cmocka_unit_test(test_tree),      cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_faults),    cmocka_unit_test(test_a_header_is_skipped),
        cmocka_unit_test(test_depth),     cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_many_keys), cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_line_ends), cmocka_unit_test(test_scalar_types),
    };
    return cmocka_run_group_tests_name("yaml_doc", tests, NULL, NULL);
}
