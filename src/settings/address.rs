//! Addresses to listen on, as Gunicorn writes them: text to [`Bind`] and back. No name is looked up here.

use super::Bind;
use super::kind::{Context, Kind};
use super::value::{Form, Raw, Refused, quoted};

/// The port of an address that names none.
const PORT: u16 = 8000;

/// `sun_path` holds 108 bytes, the last of them a NUL.
const LONGEST_UNIX_PATH: usize = 107;

/// One address: `HOST`, `HOST:PORT`, `:PORT`, `[V6]:PORT`, `tcp://HOST:PORT`, `unix:PATH`, `unix:///PATH`, `fd://N`.
pub(super) struct Address;

impl Kind for Address {
    type Value = Bind;

    fn read(raw: &Raw, context: &Context<'_>) -> Result<Bind, Refused> {
        const FORMS: &str = "HOST:PORT, [V6]:PORT, unix:PATH or fd://N";
        let Form::Text(text) = &raw.form else {
            return Err(raw.expected(FORMS));
        };
        let result = if let Some(path) = text.strip_prefix("unix:") {
            unix(path.strip_prefix("//").unwrap_or(path), context)
        } else if let Some(number) = text.strip_prefix("fd://") {
            inherited(number)
        } else {
            tcp(text.strip_prefix("tcp://").unwrap_or(text))
        };
        result.map_err(|why| raw.expected(format!("{FORMS} ({why})")))
    }

    fn write(value: &Bind) -> Option<String> {
        Some(quoted(&value.to_string()))
    }
}

fn unix(path: &str, context: &Context<'_>) -> Result<Bind, String> {
    if path.is_empty() {
        return Err("the path is missing".into());
    }
    if path.contains('\0') {
        return Err("abstract sockets are not supported yet".into());
    }
    let path = context.absolute(path);
    match path.as_os_str().len() {
        0..=LONGEST_UNIX_PATH => Ok(Bind::Unix(path)),
        length => Err(format!(
            "a socket's path has at most {LONGEST_UNIX_PATH} bytes, {} has {length}",
            path.display()
        )),
    }
}

fn inherited(number: &str) -> Result<Bind, String> {
    match number.parse() {
        Ok(0..=2) => Err("0, 1 and 2 are standard input, output and error".into()),
        Ok(number) if number > 0 => Ok(Bind::Fd(number)),
        _ => Err("the descriptor is no number".into()),
    }
}

fn tcp(text: &str) -> Result<Bind, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => bracketed(rest)?,
        None => plain(text)?,
    };
    let port = match port {
        None => PORT,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().map_err(|_| "a port is at most 65535")?
        }
        Some(other) => {
            return Err(format!("the port is no number: \"{}\"", other.escape_debug()));
        }
    };
    Ok(Bind::Tcp { host: host.to_ascii_lowercase(), port })
}

/// What follows the `[`.
fn bracketed(rest: &str) -> Result<(&str, Option<&str>), String> {
    let (host, rest) = rest.split_once(']').ok_or("the ] is missing")?;
    // A zone (`fe80::1%eth0`) names an interface; what stands before it is the address.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<std::net::Ipv6Addr>().map_err(|_| "between [ and ] stands no IPv6 address")?;
    match rest {
        "" => Ok((host, None)),
        _ => rest
            .strip_prefix(':')
            .map(|port| (host, Some(port)))
            .ok_or("behind ] only :PORT may stand".into()),
    }
}

fn plain(text: &str) -> Result<(&str, Option<&str>), String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.contains(',') {
        return Err("several addresses are a list: [\"ADDRESS\", \"ADDRESS\"], or --bind again".into());
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands in brackets: [{text}]:{PORT}"));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    match host {
        "" => Ok(("0.0.0.0", port)),
        "*" => Err("for all addresses write 0.0.0.0 or [::]".into()),
        _ if host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) => Ok((host, port)),
        _ => Err(format!("no host has the name \"{}\"", host.escape_debug())),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Result<Bind, Refused> {
        Address::read(&Raw::text(text), &Context { start_dir: Path::new("/start"), apps: None })
    }

    fn tcp(host: &str, port: u16) -> Result<Bind, Refused> {
        Ok(Bind::Tcp { host: host.into(), port })
    }

    #[test]
    fn addresses_read_as_in_gunicorn() {
        assert_eq!(read("127.0.0.1:80"), tcp("127.0.0.1", 80));
        assert_eq!(read("LocalHost"), tcp("localhost", 8000));
        assert_eq!(read(":80"), tcp("0.0.0.0", 80));
        assert_eq!(read("tcp://10.0.0.1:0"), tcp("10.0.0.1", 0));
        assert_eq!(read("[::1]:80"), tcp("::1", 80));
        assert_eq!(read("[FE80::1%eth0]"), tcp("fe80::1%eth0", 8000));
        assert_eq!(read("unix:run/x.sock"), Ok(Bind::Unix("/start/run/x.sock".into())));
        assert_eq!(read("unix:./x.sock"), Ok(Bind::Unix("/start/x.sock".into())));
        assert_eq!(read("unix:///run/x.sock"), Ok(Bind::Unix("/run/x.sock".into())));
        assert_eq!(read("fd://3"), Ok(Bind::Fd(3)));
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "it is empty"),
            ("a:b", "the port is no number: \"b\""),
            ("a:", "the port is no number: \"\""),
            ("a:+1", "the port is no number: \"+1\""),
            ("a:65536", "a port is at most 65535"),
            ("::1", "an IPv6 address stands in brackets: [::1]:8000"),
            ("[::1", "the ] is missing"),
            ("[localhost]:80", "between [ and ] stands no IPv6 address"),
            ("[::1]80", "behind ] only :PORT may stand"),
            ("*:80", "for all addresses write 0.0.0.0 or [::]"),
            ("a:1,b:2", "several addresses are a list: [\"ADDRESS\", \"ADDRESS\"], or --bind again"),
            ("http://a:80", "the port is no number: \"//a:80\""),
            ("a b:80", "no host has the name \"a b\""),
            ("unix:", "the path is missing"),
            ("unix:\0x", "abstract sockets are not supported yet"),
            ("fd://x", "the descriptor is no number"),
            ("fd://-3", "the descriptor is no number"),
            ("fd://1", "0, 1 and 2 are standard input, output and error"),
        ] {
            let sentence = match read(text) {
                Ok(bind) => panic!("{text} was read as {bind}"),
                Err(Refused(faults)) => faults[0].sentence.clone(),
            };
            assert!(sentence.contains(why), "{text}: {sentence}");
        }
        assert!(read(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["127.0.0.1:80", "[::1]:0", "unix:/run/x.sock", "fd://3"] {
            assert_eq!(read(text).map(|bind| bind.to_string()), Ok(text.into()));
        }
    }
}
