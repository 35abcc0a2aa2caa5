/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_ldns.h"

#include <errno.h>
#include <ldns/ldns.h>
#include <stdio.h>

/* Q-types have no descriptor in ldns. */
static const char *meta_type_name(uint16_t type)
{
    switch (type) {
    case DNS_IXFR:
        return "IXFR";
    case DNS_AXFR:
        return "AXFR";
    case DNS_ANY:
        return "ANY";
    default:
        return NULL;
    }
}

const char *dns_type_text(uint16_t type, char *text, size_t cap)
{
    const char *name = meta_type_name(type);
    const ldns_rr_descriptor *known = ldns_rr_descript(type);
    if (name == NULL && known != NULL && known->_type == (ldns_rr_type)type) {
        name = known->_name;
    }
    if (name != NULL) {
        (void)snprintf(text, cap, "%s", name);
    } else {
        (void)snprintf(text, cap, "TYPE%u", (unsigned)type); /* RFC 3597 5 */
    }
    return text;
}

const char *dns_rcode_text(uint16_t rcode)
{
    if (rcode == DNS_BADVERS) {
        return "BADVERS"; /* ldns knows the header's four bits only */
    }
    const ldns_lookup_table *known = ldns_lookup_by_id(ldns_rcodes, rcode);
    return known == NULL ? "RCODE?" : known->name;
}

int dns_soa_template_build(struct dns_soa_template *out)
{
    static const char text[] = ". 0 IN SOA dnsd.openshell.invalid. nobody.invalid. 0 3600 600 86400 0";
    ldns_rr *rr = NULL;
    uint8_t *wire = NULL;
    size_t len = 0;
    int rc = -EINVAL;
    *out = (struct dns_soa_template){0};
    ldns_status st = ldns_rr_new_frm_str(&rr, text, 0, NULL, NULL);
    if (st == LDNS_STATUS_OK) {
        st = ldns_rr2wire(&wire, rr, LDNS_SECTION_AUTHORITY, &len);
    }
    if (st == LDNS_STATUS_MEM_ERR) {
        rc = -ENOMEM;
    } else if (st == LDNS_STATUS_OK && len <= sizeof out->wire) {
        memcpy(out->wire, wire, len);
        out->len = len;
        out->ttl_at = 1 + 2 + 2;   /* behind the root, type and class */
        out->serial_at = len - 20; /* the last five fields have four bytes each */
        out->minimum_at = len - 4;
        rc = 0;
    }
    free(wire);
    ldns_rr_free(rr);
    return rc;
}
