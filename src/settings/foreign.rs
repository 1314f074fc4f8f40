//! Settings that are known by name and not supported: Gunicorn's others, and those of unirs that are still to come.
//! Each is answered with one of three sentences.

use std::fmt;

/// A known setting that is not supported.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    /// Its key in a file.
    pub name: &'static str,
    /// As typed; none: it never had one.
    pub flags: &'static [&'static str],
    /// Whether a value follows the flag.
    pub takes_value: bool,
    /// What is said of it.
    pub answer: Answer,
}

impl Foreign {
    /// The flag that names it in messages.
    pub fn flag(&self) -> &'static str {
        self.flags.iter().copied().find(|flag| flag.starts_with("--")).unwrap_or(self.name)
    }
}

/// One of the three sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It belongs to Python, and what to do instead (may be empty).
    Python(&'static str),
    /// It is not needed here, because.
    Unneeded(&'static str),
    /// Not supported yet.
    Later,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Python("") => f.write_str("belongs to Python"),
            Answer::Python(instead) => write!(f, "belongs to Python; {instead}"),
            Answer::Unneeded(because) => {
                write!(f, "not needed here, because {because}; remove it")
            }
            Answer::Later => f.write_str("not supported yet"),
        }
    }
}

/// The answer to a name.
pub(super) fn foreign(name: &str) -> Option<&'static Foreign> {
    FOREIGN.iter().find(|foreign| foreign.name == name)
}

/// A setting with a flag that takes a value.
const fn valued(name: &'static str, flags: &'static [&'static str], answer: Answer) -> Foreign {
    Foreign { name, flags, takes_value: true, answer }
}

/// A setting with a flag that is on or off.
const fn switch(name: &'static str, flags: &'static [&'static str], answer: Answer) -> Foreign {
    Foreign { name, flags, takes_value: false, answer }
}

/// A setting of the file only.
const fn key(name: &'static str, answer: Answer) -> Foreign {
    Foreign { name, flags: &[], takes_value: false, answer }
}

use Answer::{Later, Python, Unneeded};

/// Where a hook went: the application may answer it, the server runs no code of its file.
const HOOK: Answer = Python("a hook is a function of the application here: see `App` in the crate unirs-app");
const DIRTY: Answer = Python("there are no dirty workers here");
const LOGGING: Answer = Python("use errorlog, loglevel, accesslog and access_log_format");

/// All of them.
pub const FOREIGN: &[Foreign] = &[
    key("wsgi_app", Python("name the application with `app`")),
    // Worker processes.
    valued("asgi_loop", &["--asgi-loop"], Python("")),
    valued("asgi_lifespan", &["--asgi-lifespan"], Python("")),
    valued("asgi_disconnect_grace_period", &["--asgi-disconnect-grace-period"], Python("")),
    valued("websocket_max_message_size", &["--websocket-max-message-size"], Later),
    valued("http_parser", &["--http-parser"], Unneeded("there is one parser, and it is compiled")),
    // Limits and trust.
    valued("forwarder_headers", &["--forwarder-headers"], Later),
    valued("forwarded_allow_ips", &["--forwarded-allow-ips"], Later),
    key("secure_scheme_headers", Later),
    valued("proxy_protocol", &["--proxy-protocol"], Later),
    valued("proxy_allow_ips", &["--proxy-allow-from"], Later),
    valued("protocol", &["--protocol"], Later),
    valued("uwsgi_allow_ips", &["--uwsgi-allow-from"], Later),
    // Server mechanics.
    switch("sendfile", &["--no-sendfile"], Unneeded("files always go by sendfile, which works everywhere")),
    switch(
        "reuse_port",
        &["--reuse-port"],
        Unneeded("the workers share each socket and balance it themselves"),
    ),
    valued(
        "worker_tmp_dir",
        &["--worker-tmp-dir"],
        Unneeded("signs of life are in shared memory, not in files"),
    ),
    key("tmp_upload_dir", Unneeded("nothing reads it, in Gunicorn neither")),
    valued("pythonpath", &["--pythonpath"], Python("")),
    valued("paste", &["--paste", "--paster"], Python("")),
    valued("raw_paste_global_conf", &["--paste-global"], Python("")),
    valued("root_path", &["--root-path"], Later),
    key("default_proc_name", Unneeded("proc_name says it")),
    // Logs and figures.
    switch("capture_output", &["--capture-output"], Later),
    valued("logger_class", &["--logger-class"], LOGGING),
    valued("logconfig", &["--log-config"], LOGGING),
    key("logconfig_dict", LOGGING),
    valued("logconfig_json", &["--log-config-json"], LOGGING),
    switch("syslog", &["--log-syslog"], Later),
    valued("syslog_addr", &["--log-syslog-to"], Later),
    valued("syslog_prefix", &["--log-syslog-prefix"], Later),
    valued("syslog_facility", &["--log-syslog-facility"], Later),
    switch("disable_redirect_access_to_syslog", &["--disable-redirect-access-to-syslog"], Later),
    switch("enable_stdio_inheritance", &["-R", "--enable-stdio-inheritance"], Later),
    valued("statsd_host", &["--statsd-host"], Later),
    valued("statsd_prefix", &["--statsd-prefix"], Later),
    valued("dogstatsd_tags", &["--dogstatsd-tags"], Later),
    switch("enable_backlog_metric", &["--enable-backlog-metric"], Later),
    // Debugging.
    switch("reload", &["--reload"], Later),
    valued("reload_engine", &["--reload-engine"], Later),
    valued("reload_extra_files", &["--reload-extra-file"], Later),
    switch("spew", &["--spew"], Python("")),
    // TLS and HTTP/2.
    valued("certfile", &["--certfile"], Later),
    valued("keyfile", &["--keyfile"], Later),
    valued("ca_certs", &["--ca-certs"], Later),
    valued("cert_reqs", &["--cert-reqs"], Later),
    valued("ciphers", &["--ciphers"], Later),
    switch("suppress_ragged_eofs", &["--suppress-ragged-eofs"], Python("")),
    switch("do_handshake_on_connect", &["--do-handshake-on-connect"], Python("")),
    valued("ssl_version", &["--ssl-version"], Unneeded("Gunicorn ignores it as well")),
    valued("http_protocols", &["--http-protocols"], Later),
    valued("http2_cleartext", &["--http2-cleartext"], Later),
    valued("http2_max_concurrent_streams", &["--http2-max-concurrent-streams"], Later),
    valued("http2_initial_window_size", &["--http2-initial-window-size"], Later),
    valued("http2_max_frame_size", &["--http2-max-frame-size"], Later),
    valued("http2_max_header_list_size", &["--http2-max-header-list-size"], Later),
    // Dirty workers and the control socket.
    valued("dirty_apps", &["--dirty-app"], DIRTY),
    valued("dirty_workers", &["--dirty-workers"], DIRTY),
    valued("dirty_timeout", &["--dirty-timeout"], DIRTY),
    valued("dirty_threads", &["--dirty-threads"], DIRTY),
    valued("dirty_graceful_timeout", &["--dirty-graceful-timeout"], DIRTY),
    valued("control_socket", &["--control-socket"], Later),
    valued("control_socket_mode", &["--control-socket-mode"], Later),
    switch("control_socket_disable", &["--no-control-socket"], Unneeded("there is no control socket")),
    // Hooks.
    key("on_starting", HOOK),
    key("when_ready", HOOK),
    key("on_reload", HOOK),
    key("pre_fork", HOOK),
    key("post_fork", HOOK),
    key("post_worker_init", HOOK),
    key("worker_int", HOOK),
    key("worker_abort", HOOK),
    key("pre_request", HOOK),
    key("post_request", HOOK),
    key("child_exit", HOOK),
    key("worker_exit", HOOK),
    key("nworkers_changed", HOOK),
    key("pre_exec", HOOK),
    key("on_exit", HOOK),
    key("ssl_context", Python("")),
    key("on_dirty_starting", DIRTY),
    key("dirty_post_fork", DIRTY),
    key("dirty_worker_init", DIRTY),
    key("dirty_worker_exit", DIRTY),
    // Of unirs, still to come.
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::table::table;
    use super::*;

    /// Every name of Gunicorn 27, by the sections of its documentation.
    const GUNICORN: &str = "
        config wsgi_app bind backlog
        workers worker_class threads worker_connections max_requests max_requests_jitter timeout graceful_timeout
        keepalive asgi_loop asgi_lifespan asgi_disconnect_grace_period websocket_max_message_size http_parser
        limit_request_line limit_request_fields limit_request_field_size header_map forwarder_headers
        forwarded_allow_ips secure_scheme_headers proxy_protocol proxy_allow_ips protocol uwsgi_allow_ips
        permit_obsolete_folding strip_header_spaces permit_unconventional_http_method
        permit_unconventional_http_version casefold_http_method
        preload_app sendfile reuse_port chdir daemon raw_env pidfile worker_tmp_dir user group initgroups umask
        tmp_upload_dir pythonpath paste raw_paste_global_conf root_path proc_name default_proc_name
        accesslog access_log_format errorlog loglevel capture_output logger_class logconfig logconfig_dict
        logconfig_json syslog syslog_addr syslog_prefix syslog_facility disable_redirect_access_to_syslog
        enable_stdio_inheritance statsd_host statsd_prefix dogstatsd_tags enable_backlog_metric
        reload reload_engine reload_extra_files spew check_config print_config
        certfile keyfile ca_certs cert_reqs ciphers suppress_ragged_eofs do_handshake_on_connect ssl_version
        http_protocols http2_cleartext http2_max_concurrent_streams http2_initial_window_size http2_max_frame_size
        http2_max_header_list_size
        dirty_apps dirty_workers dirty_timeout dirty_threads dirty_graceful_timeout control_socket
        control_socket_mode control_socket_disable
        on_starting when_ready on_reload pre_fork post_fork post_worker_init worker_int worker_abort pre_request
        post_request child_exit worker_exit nworkers_changed pre_exec on_exit ssl_context on_dirty_starting
        dirty_post_fork dirty_worker_init dirty_worker_exit";

    #[test]
    fn all_120_settings_of_gunicorn_are_known_by_name() {
        let names: BTreeSet<&str> = GUNICORN.split_whitespace().collect();
        assert_eq!(names.len(), 120);
        let known = |name: &&str| table().any(|setting| setting.name == *name) || foreign(name).is_some();
        let unknown: Vec<&str> = names.iter().copied().filter(|name| !known(name)).collect();
        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn all_95_flags_of_gunicorn_are_known() {
        let names: BTreeSet<&str> = GUNICORN.split_whitespace().collect();
        let ours =
            table().filter(|setting| names.contains(setting.name) && !setting.flags.is_empty()).count();
        let others = FOREIGN
            .iter()
            .filter(|foreign| names.contains(foreign.name) && !foreign.flags.is_empty())
            .count();
        assert_eq!(ours + others, 95);
    }

    #[test]
    fn a_name_has_one_answer() {
        let names: Vec<&str> =
            table().map(|setting| setting.name).chain(FOREIGN.iter().map(|f| f.name)).collect();
        let unique: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), unique.len());
    }
}
