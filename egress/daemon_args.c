/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/daemon_args.h"

#include "common/run/settings_value.h"

#include <errno.h>
#include <stdlib.h>

int arg_list_add(struct arg_list *l, const char *item)
{
    if (l->count + 2 > l->cap) {
        size_t cap = l->cap == 0 ? 16 : l->cap * 2;
        const char **items = realloc(l->items, cap * sizeof *items);
        if (items == NULL) {
            return -ENOMEM;
        }
        l->items = items;
        l->cap = cap;
    }
    l->items[l->count++] = item;
    l->items[l->count] = NULL;
    return 0;
}

void daemon_args_fini(struct daemon_args *a)
{
    free(a->dnsd.items);
    free(a->tunneld.items);
    *a = (struct daemon_args){0};
}

struct cli_option cli_option_at(const struct cli *c)
{
    const char *arg = c->argv[c->at];
    struct span all = span_str(arg + 2);
    size_t equals = span_find(all, '=');
    struct cli_option o = {.name = span_sub(all, 0, equals), .value = NULL};
    if (equals < all.len) {
        o.value = arg + 2 + equals + 1;
    }
    return o;
}

bool cli_is_named(const struct cli_option *o, const char *name)
{
    return span_is_equal(o->name, span_str(name));
}

static const struct setting *find_setting(const struct setting *table, const struct cli_option *o)
{
    for (const struct setting *s = table; s->name != NULL; s++) {
        if (cli_is_named(o, s->name)) {
            return s;
        }
    }
    return NULL;
}

/* What an option takes: of ours from here, of the daemons from their tables. */
static void wanted(const struct cli_option *o, struct wbuf *w)
{
    static const struct {
        const char *name, *text;
    } ours[] = {
        {"as", "a user, as nobody"},
        {"capture", "auto, redirect or anyip (listen: ADDR:PORT)"},
        {"connect", "ADDR[:PORT], as 127.0.0.1:3128"},
        {"dns", "ADDR[:PORT], as 127.0.0.1:53"},
        {"env", "NAME=VALUE, as LANG=C"},
        {"format", "text or json"},
        {"idle", "a duration, as 3s"},
        {"interface", "the name of an interface, as eth0"},
        {"keep", "a variable or a path, as DISPLAY"},
        {"keep-fd", "a descriptor above 2, as 3"},
        {"log", "a file, as egress.log"},
        {"mode", "anyip, redirect or tproxy"},
        {"netns", "a network namespace, as /run/netns/NAME or /proc/PID/ns/net"},
        {"policy", "a file or directory, as policy.yaml"},
        {"pool", "ADDR/BITS, as 198.18.0.0/15"},
        {"port", "a port, as 443"},
        {"proxy", "a URL, as http://127.0.0.1:3128"},
        {"proxy-env", "on or off"},
        {"to", "a port, as 15001"},
    };
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (cli_is_named(o, ours[i].name)) {
            wbuf_str(w, ours[i].text);
            return;
        }
    }
    const struct setting *row = find_setting(settings_dnsd_table, o);
    row = row != NULL ? row : find_setting(settings_tunneld_table, o);
    if (row != NULL) {
        settings_arg_text(row, w);
    }
}

static int bad_value(const struct cli_option *o, const char *what, struct err *err)
{
    char text[96];
    struct wbuf w = wbuf_make(text, sizeof text);
    wanted(o, &w);
    err_set(err, "--%.*s: %s: %.*s", (int)o->name.len, (const char *)o->name.data, what, (int)w.len, text);
    return -EINVAL;
}

int cli_take_value(struct cli_option *o, struct cli *c, struct err *err)
{
    static const char space[] = " \t\r\n\v\f";
    if (o->value == NULL) {
        if (c->at + 1 >= c->argc || strncmp(c->argv[c->at + 1], "--", 2) == 0) {
            return bad_value(o, "a value is missing", err);
        }
        c->at++;
        o->value = c->argv[c->at];
    }
    const size_t len = strlen(o->value);
    if (o->value[strspn(o->value, space)] == '\0') {
        return bad_value(o, "the value is empty", err);
    }
    const bool is_free = cli_is_named(o, "env"); /* what a variable holds is the command's business */
    if (!is_free && (strchr(space, o->value[0]) != NULL || strchr(space, o->value[len - 1]) != NULL)) {
        return bad_value(o, "the value begins or ends with white space", err);
    }
    return 0;
}

int cli_take_once(struct cli_option *o, struct cli *c, struct err *err)
{
    for (size_t i = 0; i < c->once_count; i++) {
        if (span_is_equal(c->once[i], o->name)) {
            err_set(err, "--%.*s: given twice", (int)o->name.len, (const char *)o->name.data);
            return -EINVAL;
        }
    }
    if (CHECK(c->once_count < CLI_ONCE_MAX)) {
        c->once[c->once_count++] = o->name;
    }
    return cli_take_value(o, c, err);
}

int cli_no_value(const struct cli_option *o, struct err *err)
{
    if (o->value == NULL) {
        return 0;
    }
    err_set(err, "--%.*s: takes no value", (int)o->name.len, (const char *)o->name.data);
    return -EINVAL;
}

static int pass_on(struct arg_list *l, const char *arg, bool is_split, const char *value)
{
    int rc = arg_list_add(l, arg);
    if (rc == 0 && is_split) {
        rc = arg_list_add(l, value);
    }
    return rc;
}

int daemon_args_take(struct daemon_args *a, const struct daemon_args_spec *spec, struct cli *c,
                     struct err *err)
{
    const char *arg = c->argv[c->at];
    struct cli_option o = cli_option_at(c);
    for (const char *const *name = spec->refused; *name != NULL; name++) {
        if (cli_is_named(&o, *name)) {
            err_set(err, "--%s: %s", *name, spec->refusal);
            return -EINVAL;
        }
    }
    const struct setting *in_dnsd = find_setting(settings_dnsd_table, &o);
    const struct setting *in_tunneld = find_setting(settings_tunneld_table, &o);
    const struct setting *row = in_dnsd != NULL ? in_dnsd : in_tunneld;
    if (row == NULL) {
        err_set(err, "--%.*s: no such option of %s, openshell-dnsd or openshell-tunneld", (int)o.name.len,
                (const char *)o.name.data, spec->command);
        return -EINVAL;
    }
    bool is_split = row->kind != SETTING_FLAG && o.value == NULL;
    int rc = row->kind == SETTING_FLAG ? cli_no_value(&o, err) : cli_take_value(&o, c, err);
    if (rc == 0 && in_dnsd != NULL) {
        rc = pass_on(&a->dnsd, arg, is_split, o.value);
    }
    if (rc == 0 && in_tunneld != NULL) {
        rc = pass_on(&a->tunneld, arg, is_split, o.value);
    }
    return rc;
}
