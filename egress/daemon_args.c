/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/daemon_args.h"

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

int cli_take_value(struct cli_option *o, struct cli *c, struct err *err)
{
    if (o->value != NULL) {
        return 0;
    }
    if (c->at + 1 >= c->argc) {
        err_set(err, "--%.*s: a value is missing", (int)o->name.len, (const char *)o->name.data);
        return -EINVAL;
    }
    c->at++;
    o->value = c->argv[c->at];
    return 0;
}

int cli_no_value(const struct cli_option *o, struct err *err)
{
    if (o->value == NULL) {
        return 0;
    }
    err_set(err, "--%.*s: takes no value", (int)o->name.len, (const char *)o->name.data);
    return -EINVAL;
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
