/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/run_options.h"

#include <errno.h>
#include <stdlib.h>

/* The same default as the daemons have (product contract), not below a build prefix. */
#define DEFAULT_POLICY "/etc/openshell/policy.yaml"

/* What `run` decides itself: a second opinion would break the fence, so it is refused, not ignored. */
static const char *const set_by_run[] = {"listen",   "transparent", "map",   "answer",      "user",
                                         "ready-fd", "check",       "admin", "dump-config", NULL};

struct option {
    struct span name;
    const char *value; /* after '=', or NULL */
};

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

void run_options_fini(struct run_options *o)
{
    free(o->policies.items);
    free(o->pools.items);
    free(o->dnsd.items);
    free(o->tunneld.items);
    *o = (struct run_options){0};
}

static bool is_named(struct span name, const char *wanted)
{
    return span_is_equal(name, span_str(wanted));
}

static const struct setting *find_setting(const struct setting *table, struct span name)
{
    for (const struct setting *s = table; s->name != NULL; s++) {
        if (is_named(name, s->name)) {
            return s;
        }
    }
    return NULL;
}

static struct option split(const char *arg)
{
    struct span all = span_str(arg + 2);
    size_t equals = span_find(all, '=');
    struct option o = {.name = span_sub(all, 0, equals), .value = NULL};
    if (equals < all.len) {
        o.value = arg + 2 + equals + 1;
    }
    return o;
}

/* The value of an option: behind '=', or the next argument. */
static int take_value(struct option *o, int argc, char **argv, int *i, struct err *err)
{
    if (o->value != NULL) {
        return 0;
    }
    if (*i + 1 >= argc) {
        err_set(err, "--%.*s: a value is missing", (int)o->name.len, (const char *)o->name.data);
        return -EINVAL;
    }
    o->value = argv[++*i];
    return 0;
}

static int no_value(const struct option *o, struct err *err)
{
    if (o->value == NULL) {
        return 0;
    }
    err_set(err, "--%.*s: takes no value", (int)o->name.len, (const char *)o->name.data);
    return -EINVAL;
}

/* An option of run's own: 1 if it was one, 0 if not, -errno. */
static int own_option(struct run_options *out, struct option *o, int argc, char **argv, int *i,
                      struct err *err)
{
    int rc = 0;
    if (is_named(o->name, "help")) {
        out->help = true;
        rc = no_value(o, err);
    } else if (is_named(o->name, "degraded")) {
        out->degraded = true;
        rc = no_value(o, err);
    } else if (is_named(o->name, "policy")) {
        rc = take_value(o, argc, argv, i, err);
        rc = rc == 0 ? arg_list_add(&out->policies, o->value) : rc;
    } else if (is_named(o->name, "pool")) {
        rc = take_value(o, argc, argv, i, err);
        rc = rc == 0 ? arg_list_add(&out->pools, o->value) : rc;
    } else if (is_named(o->name, "log")) {
        rc = take_value(o, argc, argv, i, err);
        out->log = o->value;
    } else if (is_named(o->name, "proxy-env")) {
        rc = take_value(o, argc, argv, i, err);
        if (rc == 0 && strcmp(o->value, "on") != 0 && strcmp(o->value, "off") != 0) {
            err_set(err, "--proxy-env: '%s' is neither on nor off", o->value);
            rc = -EINVAL;
        }
        out->no_proxy_env = rc == 0 && strcmp(o->value, "off") == 0;
    } else {
        return 0;
    }
    return rc == 0 ? 1 : rc;
}

static int pass_on(struct arg_list *l, const char *arg, bool is_split, const char *value)
{
    int rc = arg_list_add(l, arg);
    if (rc == 0 && is_split) {
        rc = arg_list_add(l, value);
    }
    return rc;
}

static int daemon_option(struct run_options *out, struct option *o, int argc, char **argv, int *i,
                         struct err *err)
{
    for (const char *const *name = set_by_run; *name != NULL; name++) {
        if (is_named(o->name, *name)) {
            err_set(err, "--%s: is set by run itself; leave it out", *name);
            return -EINVAL;
        }
    }
    const char *arg = argv[*i];
    const struct setting *in_dnsd = find_setting(settings_dnsd_table, o->name);
    const struct setting *in_tunneld = find_setting(settings_tunneld_table, o->name);
    const struct setting *row = in_dnsd != NULL ? in_dnsd : in_tunneld;
    if (row == NULL) {
        err_set(err, "--%.*s: no such option of run, openshell-dnsd or openshell-tunneld", (int)o->name.len,
                (const char *)o->name.data);
        return -EINVAL;
    }
    bool is_split = row->kind != SETTING_FLAG && o->value == NULL;
    int rc = row->kind == SETTING_FLAG ? no_value(o, err) : take_value(o, argc, argv, i, err);
    if (rc == 0 && in_dnsd != NULL) {
        rc = pass_on(&out->dnsd, arg, is_split, o->value);
    }
    if (rc == 0 && in_tunneld != NULL) {
        rc = pass_on(&out->tunneld, arg, is_split, o->value);
    }
    return rc;
}

int run_options_parse(int argc, char **argv, struct run_options *out, struct err *err)
{
    *out = (struct run_options){0};
    int rc = 0;
    int i = 1;
    for (; i < argc && rc == 0; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            err_set(err, "'%s': put -- before the command to run", argv[i]);
            rc = -EINVAL;
            break;
        }
        struct option o = split(argv[i]);
        int own = own_option(out, &o, argc, argv, &i, err);
        rc = own < 0 ? own : own > 0 ? 0 : daemon_option(out, &o, argc, argv, &i, err);
    }
    if (rc == 0 && out->policies.count == 0) {
        rc = arg_list_add(&out->policies, DEFAULT_POLICY);
    }
    if (rc == 0 && !out->help && i >= argc) {
        err_set(err, "no command: openshell-egress run [OPTION]... -- COMMAND [ARGUMENT]...");
        rc = -EINVAL;
    }
    out->cmd = argv + i;
    if (rc == -ENOMEM) {
        err_set(err, "out of memory");
    }
    if (rc != 0) {
        run_options_fini(out);
    }
    return rc;
}
