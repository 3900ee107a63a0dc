-- The XMPP server of bench/compare: S2S over TLS with certificates (SASL EXTERNAL), one
-- component: Kamailio or the generator itself.
-- @WORDS@ are filled in by bench/compare. The module that limits rates is not loaded, nothing is
-- stored, nothing is logged but errors.
run_as_root = true -- the bench may be run by anybody, in a folder of its own
pidfile = "@FOLDER@/prosody.pid"
data_path = "@FOLDER@/data"
log = { { levels = { min = "error" }; to = "console" } }
-- Two ports on loopback: streams of the generator, and the component. All others are closed.
interfaces = { "127.0.0.1" }
c2s_ports = {}
c2s_direct_tls_ports = {}
s2s_ports = { @S2S_PORT@ }
s2s_direct_tls_ports = {}
http_ports = {}
https_ports = {}
component_ports = { @COMPONENT_PORT@ }
component_interfaces = { "127.0.0.1" }
-- Only what a stanza needs on its way: every further module would look at each one.
modules_enabled = { "tls"; "s2s"; "s2s_auth_certs"; "saslauth" }
modules_disabled = { "offline"; "c2s"; "limits" }
-- No users log in, nothing is kept.
authentication = "internal_plain"
storage = "none"
-- As Passerelle: no stream without TLS, and no domain without a good certificate.
s2s_require_encryption = true
s2s_secure_auth = true
s2s_stanza_size_limit = 1024 * 1024
-- Ask partners for their certificate: what SASL EXTERNAL is judged by.
ssl = {
    certificate = "@CERTIFICATES@/server.bench.pem"; key = "@CERTIFICATES@/server.bench.key";
    cafile = "@CERTIFICATES@/ca.pem"; verify = { "peer"; "client_once" };
}
VirtualHost "server.bench"
-- Where messages leave: to Kamailio, or to the generator as a component (XEP-0114).
Component "gw.bench"
    component_secret = "secret"
