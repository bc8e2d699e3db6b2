//! The variables that Kubernetes and Docker set for each Service: they look like settings if a Service is called `agent-auth`.
//! Owns: recognizing them by name and by value.
//! Must not know: the settings.

use std::net::IpAddr;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// True for a variable that an orchestrator sets for the Service `agent-auth`, or for one whose name begins so. `name` is in
/// lower case and without `agent_auth_`. The value decides too, so that `AGENT_AUTH_PORT=8080` is still a misspelled setting.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    (0..words.len()).any(|at| is_link(&words[at..], value))
}

/// The same for what follows the name of the Service.
fn is_link(words: &[&str], value: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_address = || value.parse::<IpAddr>().is_ok();
    let is_url = || value.split_once("://").is_some_and(|(protocol, _)| PROTOCOLS.contains(&protocol));
    match words {
        ["service", "host"] => is_address(),
        // SERVICE_PORT, and SERVICE_PORT_HTTP for a port called `http`
        ["service", "port", ..] => is_port(value),
        ["port"] => is_url(),
        // PORT_80_TCP, PORT_80_TCP_PROTO, ...
        ["port", number, protocol, rest @ ..] if is_port(number) && PROTOCOLS.contains(protocol) => match rest {
            [] => is_url(),
            ["proto"] => value == *protocol,
            ["port"] => is_port(value),
            ["addr"] => is_address(),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_sets_for_a_service_is_recognized() {
        for (name, value) in [
            ("service_host", "10.96.4.1"),
            ("service_host", "fd00:10:96::1"),
            ("service_port", "80"),
            ("service_port_http", "80"),
            ("service_port_http_metrics", "9090"),
            ("port", "tcp://10.96.4.1:80"),
            ("port_80_tcp", "tcp://[fd00:10:96::1]:80"),
            ("port_80_tcp_proto", "tcp"),
            ("port_80_tcp_port", "80"),
            ("port_80_tcp_addr", "10.96.4.1"),
            ("port_53_udp", "udp://10.96.4.1:53"),
            // Services called agent-auth-metrics and agent-auth-port
            ("metrics_service_host", "10.96.4.2"),
            ("metrics_port_9090_tcp_addr", "10.96.4.2"),
            ("port_service_port", "80"),
            ("port_port", "tcp://10.96.4.3:80"),
        ] {
            assert!(is_service_link(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_misspelled_setting_is_not_taken_for_one() {
        for (name, value) in [
            ("port", "8080"),
            ("port", "http://10.96.4.1:80"),
            ("support", "tcp://10.96.4.1:80"),
            ("service_host", "auth.example.com"),
            ("service_port", "http"),
            ("port_80", "tcp://10.96.4.1:80"),
            ("port_80_tcp", "8080"),
            ("port_http_tcp", "tcp://10.96.4.1:80"),
            ("port_80_tcp_proto", "udp"),
            ("port_80_tcp_addr", "localhost"),
            ("listn", "127.0.0.1:8080"),
            ("", ""),
        ] {
            assert!(!is_service_link(name, value), "{name}={value}");
        }
    }
}
