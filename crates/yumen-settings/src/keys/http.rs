//! The web server for games, profiling and the task pool: `http.*`, `pprof.*`, `task.*`.
//!
//! Yumen has none of the three. The interface for operators is `yumen.admin.*`.

use crate::{
    form::Bytes,
    key::{
        Standing::{NoEffect, NotYet, Refused},
        section,
    },
};

const HTTP: &str = "there is no web server for games";
const NO_TLS: &str = "there is no web server for games, with TLS or without; remove the key";
const PPROF: &str = "it serves the profiles of another language; see `yumen.admin.addr`";
const TASK: &str = "work beside a handler runs on threads that the program starts";

section! {
    /// The web server for games: `http.*`.
    HttpSettings "etc.http" {
        /// Where it listens, as `host:port`.
        addr "addr": String = ":8080", NotYet(HTTP);
        /// Name, also in the header `Server`.
        name "name": String = "http", NotYet(HTTP);
        /// Largest body of a request.
        body_limit "bodyLimit": Bytes = "4M", NotYet(HTTP);
        /// Most connections.
        concurrency "concurrency": i64 = 262144, NotYet(HTTP);
        /// Whether each request makes a log line.
        console "console": bool = false, NotYet(HTTP);
        /// Whether `/a` and `/A` differ.
        case_sensitive "caseSensitive": bool = false, NotYet(HTTP);
        /// Whether `/a` and `/a/` differ.
        strict_routing "strictRouting": bool = false, NotYet(HTTP);
        /// Whether paths are unescaped before they are compared.
        unescape_path "unescapePath": bool = false, NotYet(HTTP);
        /// Whether values outlive their request.
        immutable "immutable": bool = false, NotYet(HTTP);
        /// Bytes of the buffer for reading, and so of the largest header.
        read_buffer_size "readBufferSize": i64 = 4096, NotYet(HTTP);
        /// Bytes of the buffer for writing.
        write_buffer_size "writeBufferSize": i64 = 4096, NotYet(HTTP);
        /// Whether memory is saved where that costs time.
        reduce_memory_usage "reduceMemoryUsage": bool = false, NotYet(HTTP);
        /// Whether bodies of requests are read as they come.
        stream_request_body "streamRequestBody": bool = false, NotYet(HTTP);
        /// Whether a connection ends after its first answer.
        disable_keepalive "disableKeepalive": bool = false, NotYet(HTTP);
        /// Whether answers have no `Date`.
        disable_default_date "disableDefaultDate": bool = false, NotYet(HTTP);
        /// Whether answers have no `Content-Type` of their own.
        disable_default_content_type "disableDefaultContentType": bool = false, NotYet(HTTP);
        /// Whether `HEAD` is not answered where `GET` is.
        disable_head_auto_register "disableHeadAutoRegister": bool = false, NotYet(HTTP);
        /// Whether names of headers are left as they are.
        disable_header_normalizing "disableHeaderNormalizing": bool = false, NotYet(HTTP);
        /// Whether forms are not parsed before they are asked for.
        disable_pre_parse_multipart_form "disablePreParseMultipartForm": bool = false, NotYet(HTTP);
        /// Whether commas separate values in queries and forms.
        enable_splitting_on_parsers "enableSplittingOnParsers": bool = false, NotYet(HTTP);
        /// Whether addresses in headers are checked.
        enable_ip_validation "enableIPValidation": bool = false, NotYet(HTTP);
        /// Header in which a proxy names the client's address.
        proxy_header "proxyHeader": String = "", NotYet(HTTP);
        /// Whether that header is trusted, within `http.trustProxyConfig`.
        trust_proxy "trustProxy": bool = false, NotYet(HTTP);
        /// Whether templates see the values of the request.
        pass_locals_to_views "passLocalsToViews": bool = false, NotYet(HTTP);
        /// Template around all others.
        views_layout "viewsLayout": String = "", NotYet(HTTP);
        /// File with the certificate for TLS.
        cert_file "certFile": String = "", Refused(NO_TLS);
        /// File with the key of the certificate.
        key_file "keyFile": String = "", Refused(NO_TLS);
    }
    tables {
        /// Requests from pages of other sites: `http.cors.*`.
        cors: HttpCorsSettings;
        /// A page that describes the interface: `http.swagger.*`.
        swagger: HttpSwaggerSettings;
        /// Which proxies are trusted: `http.trustProxyConfig.*`.
        trust_proxy_config: HttpTrustProxySettings;
    }
}

section! {
    /// Requests from pages of other sites: `http.cors.*`.
    HttpCorsSettings "etc.http.cors" {
        /// Whether they are answered.
        enable "enable": bool = false, NotYet(HTTP);
        /// Sites that may ask.
        allow_origins "allowOrigins": Vec<String> = [], NotYet(HTTP);
        /// Methods that they may use.
        allow_methods "allowMethods": Vec<String> = [], NotYet(HTTP);
        /// Headers that they may send.
        allow_headers "allowHeaders": Vec<String> = [], NotYet(HTTP);
        /// Whether they may send cookies.
        allow_credentials "allowCredentials": bool = false, NotYet(HTTP);
        /// Headers that they may read.
        expose_headers "exposeHeaders": Vec<String> = [], NotYet(HTTP);
        /// Seconds for which the answer to the question holds.
        max_age "maxAge": i64 = 0, NotYet(HTTP);
        /// Whether pages of the public network may ask a private one.
        allow_private_network "allowPrivateNetwork": bool = false, NotYet(HTTP);
    }
}

section! {
    /// A page that describes the interface: `http.swagger.*`.
    HttpSwaggerSettings "etc.http.swagger" {
        /// Whether there is one.
        enable "enable": bool = false, NotYet(HTTP);
        /// Its title.
        title "title": String = "", NotYet(HTTP);
        /// File that describes the interface.
        file_path "filePath": String = "", NotYet(HTTP);
        /// Where the page is.
        base_path "basePath": String = "", NotYet(HTTP);
        /// Where the page's program comes from.
        swagger_bundle_url "swaggerBundleUrl": String = "", NotYet(HTTP);
        /// Where the page's presets come from.
        swagger_preset_url "swaggerPresetUrl": String = "", NotYet(HTTP);
        /// Where the page's styles come from.
        swagger_styles_url "swaggerStylesUrl": String = "", NotYet(HTTP);
    }
}

section! {
    /// Which proxies are trusted: `http.trustProxyConfig.*`.
    HttpTrustProxySettings "etc.http.trustProxyConfig" {
        /// Their addresses, or ranges of addresses.
        proxies "proxies": Vec<String> = [], NotYet(HTTP);
        /// Whether all addresses of the link are trusted.
        link_local "linkLocal": bool = false, NotYet(HTTP);
        /// Whether all addresses of the machine itself are trusted.
        loopback "loopback": bool = false, NotYet(HTTP);
        /// Whether all private addresses are trusted.
        private "private": bool = false, NotYet(HTTP);
    }
}

section! {
    /// Profiling: `pprof.*`.
    PprofSettings "etc.pprof" {
        /// Where profiles are served.
        addr "addr": String = ":0", NoEffect(PPROF);
    }
}

section! {
    /// The pool for work beside handlers: `task.*`.
    TaskSettings "etc.task" {
        /// Most tasks at once.
        size "size": i64 = 100000, NoEffect(TASK)
            => due("due starts more where it is full: no hard limit.");
        /// Whether a full pool refuses at once.
        nonblocking "nonblocking": bool = true, NoEffect(TASK);
        /// Whether idle workers are kept.
        disable_purge "disablePurge": bool = true, NoEffect(TASK);
    }
}
