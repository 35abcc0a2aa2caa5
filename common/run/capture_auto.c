/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/capture_auto.h"

#include "common/run/option_say.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char word[] = "auto";

bool capture_auto_is(const char *item)
{
    const char *colon = strrchr(item, ':');
    return strcmp(colon != NULL ? colon + 1 : item, word) == 0;
}

/* A listener on every address leaves no room for one on a single address. */
static void add(struct capture_hosts *h, const struct ip *ip)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->items[i].family == ip->family &&
            (ip_is_unspecified(&h->items[i]) || ip_is_equal(&h->items[i], ip))) {
            return;
        }
    }
    h->items[h->count] = *ip;
    h->count++;
}

/* ADDR:auto, [V6]:auto */
static int parse_host(const char *item, struct ip *out, struct err *err)
{
    struct span host = span_str(item);
    host.len -= sizeof(word); /* and the colon */
    bool is_bracketed = host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (is_bracketed) {
        host = span_sub(host, 1, host.len - 2);
    }
    if (ip_parse(host, out) != 0 || is_bracketed != (out->family == IP_V6)) {
        static const struct option_wanted wanted = {"--transparent", "auto, ADDR:auto or [V6ADDR]:auto",
                                                    "127.0.0.1:auto", false};
        return option_say(&wanted, item, err);
    }
    return 0;
}

/* One round for wildcards, one for what they leave. */
static int add_round(struct capture_hosts *h, const struct str_list *list, bool wildcards, struct err *err)
{
    static const struct ip every[] = {{.family = IP_V4}, {.family = IP_V6}};
    for (size_t i = 0; i < list->count; i++) {
        struct ip ip;
        if (!capture_auto_is(list->items[i])) {
            continue;
        }
        if (strcmp(list->items[i], word) == 0) {
            add(h, &every[0]);
            add(h, &every[1]);
            continue;
        }
        int rc = parse_host(list->items[i], &ip, err);
        if (rc != 0) {
            return rc;
        }
        if (ip_is_unspecified(&ip) == wildcards) {
            add(h, &ip);
        }
        if (ip_is_unspecified(&ip) && ip.family == IP_V6) {
            h->may_lack_v6 = false;
        }
    }
    return 0;
}

int capture_auto_hosts(const struct str_list *list, struct capture_hosts *out, struct err *err)
{
    *out = (struct capture_hosts){.items = calloc(list->count + 2, sizeof(*out->items)), .may_lack_v6 = true};
    if (out->items == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    int rc = add_round(out, list, true, err);
    rc = rc == 0 ? add_round(out, list, false, err) : rc;
    if (rc != 0) {
        capture_auto_fini(out);
    }
    return rc;
}

void capture_auto_fini(struct capture_hosts *h)
{
    free(h->items);
    *h = (struct capture_hosts){0};
}

int capture_auto_check(const struct policy *p, struct err *err)
{
    size_t count = 0;
    (void)policy_ports(p, &count);
    if (count > CAPTURE_AUTO_PORTS_MAX) {
        err_set(
            err,
            "the policy names %zu ports, and --transparent auto listens on %d at most: name fewer, or bring "
            "all of them to one --transparent ADDR:PORT with openshell-egress capture up --mode redirect "
            "(run: "
            "--capture redirect)",
            count, CAPTURE_AUTO_PORTS_MAX);
        return -EINVAL;
    }
    return 0;
}
