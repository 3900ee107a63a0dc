/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The keys and certificates of the simulated world: ca.pem, relay, x0 to x2 for the XMPP
   servers, t0 and t1 for the SIP peers (.pem, .key).
 */
#ifndef PASSERELLE_TESTS_SIM_CERTIFICATES_H
#define PASSERELLE_TESTS_SIM_CERTIFICATES_H

void certificates_write(const char *folder);
void certificates_remove(const char *folder);
void certificates_path(const char *folder, const char *name, char path[256]);

#endif
