/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Fixed, so that a seed gives the same bytes everywhere: made once by openssl, good from 2020
 * to 2120, of no use outside. The authority's key was thrown away.
 */
#include "tests/sim/certificates.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct certificate_file {
    const char *name;
    const char *text;
};

static const struct certificate_file files[] = {
    {"ca.pem", "-----BEGIN CERTIFICATE-----\n"
               "MIIBYjCCAQmgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1TaW11bGF0\n"
               "aW9uIENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD\n"
               "VQQDDA1TaW11bGF0aW9uIENBMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+Axk\n"
               "jnES6edozvG+PA1Dsl/0BO6H+X8Ol9KZcXsocvTJhC3xcLu2Joanw+GoTgzhvoK1\n"
               "1hhTLRhxc9WdS8aH/6NCMEAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMC\n"
               "AQYwHQYDVR0OBBYEFK/W8gS6ukGn/df4DZNxrnzd8v7vMAoGCCqGSM49BAMCA0cA\n"
               "MEQCIDwC4W9rJnT5FVHAcO3ah2/7jhHKrisuXLkcImSOhNC6AiBoJv6fVDSCLNVs\n"
               "bgJiilyazpC0vda1es+ASmrjlbJAcQ==\n"
               "-----END CERTIFICATE-----\n"},
    {"relay.pem", "-----BEGIN CERTIFICATE-----\n"
                  "MIIBpDCCAUqgAwIBAgIBAjAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1TaW11bGF0\n"
                  "aW9uIENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYD\n"
                  "VQQDDApzMC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE059cHNhN\n"
                  "P5cgdDbUCgvokYPBYyFyrvDogdM5vd7hgGaORDFHB8ttkQMfAS0sxqyQBylupEkT\n"
                  "8BoVcvfoJCWmjaOBhTCBgjAhBgNVHREEGjAYggpzMC5leGFtcGxlggpzMS5leGFt\n"
                  "cGxlMB0GA1UdJQQWMBQGCCsGAQUFBwMBBggrBgEFBQcDAjAfBgNVHSMEGDAWgBSv\n"
                  "1vIEurpBp/3X+A2Tca583fL+7zAdBgNVHQ4EFgQUAiBLm/h8M/2QesHkOcJ7SWT5\n"
                  "u2QwCgYIKoZIzj0EAwIDSAAwRQIgETEnWQtyW5PCmxKNK+/bNSE0y8Lqfdn3Fu+v\n"
                  "V5jHZGgCIQCsCAABo96NU87e5wudN08+wtNc/9gDiMuzDOPelvWl8g==\n"
                  "-----END CERTIFICATE-----\n"},
    {"relay.key", "-----BEGIN PRIVATE KEY-----\n"
                  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQglq4XT0ynYZes+1dR\n"
                  "dHz5jK0+2IrzgVzPxoFHJGOukcmhRANCAATTn1wc2E0/lyB0NtQKC+iRg8FjIXKu\n"
                  "8OiB0zm93uGAZo5EMUcHy22RAx8BLSzGrJAHKW6kSRPwGhVy9+gkJaaN\n"
                  "-----END PRIVATE KEY-----\n"},
    {"x0.pem", "-----BEGIN CERTIFICATE-----\n"
               "MIIBlTCCATygAwIBAgIBAzAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1TaW11bGF0\n"
               "aW9uIENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYD\n"
               "VQQDDAp4MC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETTz+2/2u\n"
               "ErSmNm/AftIbNHytG4AACTXiO7QmRyhD3c6jjoawjf3n8tR3eylcZja6QHAXrMXJ\n"
               "u93zT8rGVa8016N4MHYwFQYDVR0RBA4wDIIKeDAuZXhhbXBsZTAdBgNVHSUEFjAU\n"
               "BggrBgEFBQcDAQYIKwYBBQUHAwIwHwYDVR0jBBgwFoAUr9byBLq6Qaf91/gNk3Gu\n"
               "fN3y/u8wHQYDVR0OBBYEFAlsYBxLfwimZcRIUMTFSN3Wgot1MAoGCCqGSM49BAMC\n"
               "A0cAMEQCIFIWpJzBOShjLefCYat5xKH7qhZ4W/GzfczoTgESDR+PAiA05BwoPyzv\n"
               "hiaiCpUsgF67FoMpdnBELJiYTgyp233NsQ==\n"
               "-----END CERTIFICATE-----\n"},
    {"x0.key", "-----BEGIN PRIVATE KEY-----\n"
               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqgtoMRPQEVlKb907\n"
               "RI1YRlS1BYZRqTuXKnjahR5m+fyhRANCAARNPP7b/a4StKY2b8B+0hs0fK0bgAAJ\n"
               "NeI7tCZHKEPdzqOOhrCN/efy1Hd7KVxmNrpAcBesxcm73fNPysZVrzTX\n"
               "-----END PRIVATE KEY-----\n"},
    {"x1.pem", "-----BEGIN CERTIFICATE-----\n"
               "MIIBlTCCATygAwIBAgIBBDAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1TaW11bGF0\n"
               "aW9uIENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYD\n"
               "VQQDDAp4MS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsqK3QBVk\n"
               "4heq5DcawV6uroJ947FW9yoWl2rSttFhhr1YW7XJEeHP0/SOHPFzOj+3IlRml/+2\n"
               "PEARIkW3eJbamKN4MHYwFQYDVR0RBA4wDIIKeDEuZXhhbXBsZTAdBgNVHSUEFjAU\n"
               "BggrBgEFBQcDAQYIKwYBBQUHAwIwHwYDVR0jBBgwFoAUr9byBLq6Qaf91/gNk3Gu\n"
               "fN3y/u8wHQYDVR0OBBYEFJu7cdn54FTs2Y9rpzjjkO5wsKxpMAoGCCqGSM49BAMC\n"
               "A0cAMEQCIFQt4HqPy76rSuAN4RTGUQN396D7KFLYHVHC+qWd5XhLAiAH09kpS+y1\n"
               "X0uKH0HQW8BtVAUQt/CdVXrF7IrQfY3fFg==\n"
               "-----END CERTIFICATE-----\n"},
    {"x1.key", "-----BEGIN PRIVATE KEY-----\n"
               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4t1ilc1YMp3/uLCk\n"
               "69ZIzz7rnmnUt/6ayzvHfzEtCoWhRANCAASyordAFWTiF6rkNxrBXq6ugn3jsVb3\n"
               "KhaXatK20WGGvVhbtckR4c/T9I4c8XM6P7ciVGaX/7Y8QBEiRbd4ltqY\n"
               "-----END PRIVATE KEY-----\n"},
    {"x2.pem", "-----BEGIN CERTIFICATE-----\n"
               "MIIBlTCCATygAwIBAgIBBTAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1TaW11bGF0\n"
               "aW9uIENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYD\n"
               "VQQDDAp4Mi5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENeBggQ7Q\n"
               "OpN01H2Xkv3gpXCuZnpT7BkF9OdWnzwZmX5J5l1hpyW7/4OMrK1qwj7p1cfMEWuC\n"
               "os34WiARRzNmnqN4MHYwFQYDVR0RBA4wDIIKeDIuZXhhbXBsZTAdBgNVHSUEFjAU\n"
               "BggrBgEFBQcDAQYIKwYBBQUHAwIwHwYDVR0jBBgwFoAUr9byBLq6Qaf91/gNk3Gu\n"
               "fN3y/u8wHQYDVR0OBBYEFI5GWg+gdH9YigOG6zhr5uWjqwSBMAoGCCqGSM49BAMC\n"
               "A0cAMEQCIHLTEbQIzJKtACujXsPGCA9SpFiRb9yUSQIx72p65J5FAiAvFTCwir1/\n"
               "NkSXrIZOderzRwb2KYMdGOIj4p0NGnfciw==\n"
               "-----END CERTIFICATE-----\n"},
    {"x2.key", "-----BEGIN PRIVATE KEY-----\n"
               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/p7LfF2mfj8om3lJ\n"
               "tJceZNPcHnXhoaOq5DbXaTwfg/2hRANCAAQ14GCBDtA6k3TUfZeS/eClcK5melPs\n"
               "GQX051afPBmZfknmXWGnJbv/g4ysrWrCPunVx8wRa4KizfhaIBFHM2ae\n"
               "-----END PRIVATE KEY-----\n"},
    {"t0.pem", "-----BEGIN CERTIFICATE-----\n"
               "MIIBqDCCAU6gAwIBAgIBBjAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1TaW11bGF0\n"
               "aW9uIENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYD\n"
               "VQQDDApzMC5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEUajlIGEr\n"
               "v/r+YcXuzHRx6/UT7H9vg68gKYPSyzhu7y7DuRBPaXlGREd5LFZXge6JMkgpi8Wj\n"
               "1c9yFpeJktfPH6OBiTCBhjAlBgNVHREEHjAcggpzMC5leGFtcGxlhg5zaXA6czAu\n"
               "ZXhhbXBsZTAdBgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIwHwYDVR0jBBgw\n"
               "FoAUr9byBLq6Qaf91/gNk3GufN3y/u8wHQYDVR0OBBYEFOLxBYJavrMSYRhrV2c5\n"
               "Tn+xao95MAoGCCqGSM49BAMCA0gAMEUCIQDf04Nu2mE4Reoam5nQXHtYHkJnhkia\n"
               "ao0c7w8b2oz7XgIgEsW367cbLp0AlARgqwGlRkY3rMipSiHwFMC7RxaurVU=\n"
               "-----END CERTIFICATE-----\n"},
    {"t0.key", "-----BEGIN PRIVATE KEY-----\n"
               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgetcU0gCY8fT+/8Jt\n"
               "EfL3KDfK37FWrb8K3d38zQ0ulbGhRANCAARRqOUgYSu/+v5hxe7MdHHr9RPsf2+D\n"
               "ryApg9LLOG7vLsO5EE9peUZER3ksVleB7okySCmLxaPVz3IWl4mS188f\n"
               "-----END PRIVATE KEY-----\n"},
    {"t1.pem", "-----BEGIN CERTIFICATE-----\n"
               "MIIBqTCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1TaW11bGF0\n"
               "aW9uIENBMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAVMRMwEQYD\n"
               "VQQDDApzMS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEwx55fro9\n"
               "cMS1DSDSqDX29DBfCzx0iOU+CWzsfQtKKXEPfzfj0uFX6PZJtmgm9oGhnb3VZdo7\n"
               "mCpgBEGGiQ1B7aOBiTCBhjAlBgNVHREEHjAcggpzMS5leGFtcGxlhg5zaXA6czEu\n"
               "ZXhhbXBsZTAdBgNVHSUEFjAUBggrBgEFBQcDAQYIKwYBBQUHAwIwHwYDVR0jBBgw\n"
               "FoAUr9byBLq6Qaf91/gNk3GufN3y/u8wHQYDVR0OBBYEFBuR9rOjPWLOQo0hoxZB\n"
               "77k8Q41bMAoGCCqGSM49BAMCA0kAMEYCIQCsKeEIS9PQBsq8/ozpISlYSD+Tn1xd\n"
               "gWg7Aykhachc0gIhALVU1MesAT0fkBiK2YyM3yn0KPgLZvxzo0aC2swEM2tE\n"
               "-----END CERTIFICATE-----\n"},
    {"t1.key", "-----BEGIN PRIVATE KEY-----\n"
               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgg9kB64YzfaeaqKxf\n"
               "h7jZksqjfcdDZZlWabrwedSgZYuhRANCAATDHnl+uj1wxLUNINKoNfb0MF8LPHSI\n"
               "5T4JbOx9C0opcQ9/N+PS4Vfo9km2aCb2gaGdvdVl2juYKmAEQYaJDUHt\n"
               "-----END PRIVATE KEY-----\n"},
};

void certificates_write(const char *folder)
{
    char path[256];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        certificates_path(folder, files[i].name, path);
        FILE *file = fopen(path, "w");
        if (file == NULL)
            abort();
        /* The relay refuses a private key that is open to others. */
        int rc = fchmod(fileno(file), S_IRUSR | S_IWUSR);
        assert(rc == 0);
        (void)rc;
        fputs(files[i].text, file);
        if (fclose(file) != 0)
            abort();
    }
}

void certificates_remove(const char *folder)
{
    char path[256];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        certificates_path(folder, files[i].name, path);
        (void)unlink(path);
    }
}

void certificates_path(const char *folder, const char *name, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", folder, name);
}
