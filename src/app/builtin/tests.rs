//! The built-ins as a worker meets them: through the door, with the host in memory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::app::fake::{self, FACTS, FakeHost, LINES, Reply};
use crate::app::{Application, Running, Source, builtin};

fn get(running: &Running, target: &str) -> Reply {
    reply(running, FakeHost::new("GET", target))
}

fn reply(running: &Running, host: FakeHost) -> Reply {
    host.call(running).1.answer.unwrap()
}

#[test]
fn every_name_is_an_application_of_that_name() {
    for name in builtin::NAMES {
        let running = fake::builtin(name, "{}");
        assert_eq!((running.name(), running.version()), (name, env!("CARGO_PKG_VERSION")));
        assert!(running.ready() && !running.serial());
        running.stop();
    }
}

#[test]
fn hello_is_thirteen_bytes() {
    let reply = get(&fake::builtin("hello", "{}"), "/any");
    assert_eq!((reply.status, reply.text(), reply.body.len()), (200, "Hello, World!", 13));
    assert!(reply.field("content-type").unwrap().starts_with("text/plain"));
}

#[test]
fn echo_returns_the_body_with_its_type() {
    let echo = fake::builtin("echo", "{}");
    for is_whole in [true, false] {
        let post =
            FakeHost::new("POST", "/").field("content-type", "image/x-odd").body(b"\x00\xffbody", is_whole);
        let reply = reply(&echo, post);
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"\x00\xffbody".as_slice()));
        assert_eq!(reply.field("content-type"), Some("image/x-odd"));
    }
    assert_eq!(get(&echo, "/").body, b"");
}

#[test]
fn echo_streams_a_large_body_with_its_length() {
    let echo = fake::builtin("echo", "{}");
    for size in [65_535, 65_536, 65_537, 1 << 20] {
        let body: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let (_, host) = FakeHost::new("POST", "/").body(&body, false).call(&echo);
        let is_stream = host.calls.first().unwrap() == "begin";
        let reply = host.answer.unwrap();
        assert!(reply.body == body, "{size}");
        assert_eq!((is_stream, reply.length), (size > 65_536, (size > 65_536).then_some(size)));
    }
}

#[test]
fn info_escapes_all_that_the_client_sent() {
    let info = fake::builtin("info", "{}");
    let evil = "<script>alert('&\"')</script>";
    let mut host = FakeHost::new("GET", "/x?<b>").field("x-evil", evil);
    host.path = evil.into();
    let reply = reply(&info, host);
    let page = reply.text();
    assert_eq!(reply.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    assert_eq!(page.matches("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;").count(), 2);
    for fact in ["192.0.2.7:40000", "pid 4711, slot 3", "0123456789abcdef", "example.org", "listener 2"] {
        assert!(page.contains(fact), "{fact}");
    }
}

#[test]
fn info_is_json_for_those_who_ask() {
    let info = fake::builtin("info", "{}");
    let host =
        FakeHost::new("POST", "/a?b=c").field("accept", "application/json").field("x", "1").field("x", "2");
    let reply = reply(&info, host.body(b"12345", true));
    assert_eq!(reply.field("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (&json["method"], &json["path"], &json["query"]),
        (&"POST".into(), &"/a".into(), &"b=c".into())
    );
    assert_eq!((&json["content_length"], &json["worker"]["pid"]), (&5.into(), &4711.into()));
    assert_eq!(json["headers"].as_array().unwrap().len(), 4);
}

#[test]
fn welcome_names_the_worker_and_the_address_that_was_asked() {
    let welcome = fake::builtin("welcome", "{}");
    let reply = get(&welcome, "/");
    let page = reply.text();
    for fact in
        ["<dd>4711</dd>", "curl -i http://example.org/", "unirs_app::export!(Shop);", "kill -KILL 4711 "]
    {
        assert!(page.contains(fact), "{fact}");
    }
    assert!(!page.contains("{{"), "every part of the template is filled in");
    let fetched = ["src=", "url(", "@import", "<script", "<link rel=\"stylesheet\""];
    assert!(fetched.iter().all(|word| !page.contains(word)), "nothing is loaded from elsewhere");
    assert!(page.len() < 16 * 1024, "{} bytes", page.len());
    assert_eq!(get(&welcome, "/favicon.ico").status, 404);
    let post = super::tests::reply(&welcome, FakeHost::new("POST", "/"));
    assert_eq!((post.status, post.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn the_c_application_that_welcome_shows_compiles_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libshop.so");
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Werror", "-shared", "-fPIC", "-I"]).arg(here.join("crates/unirs-app/include"));
    let status = compiler.arg("-o").arg(&library).arg(here.join("src/app/builtin/shop.c")).status().unwrap();
    assert!(status.success());
    let application = Application::load(&Source::Library(library), "{}".to_owned()).unwrap();
    let running = application.start(FACTS, &LINES).unwrap();
    assert_eq!((running.name(), get(&running, "/").text()), ("shop", "Hello from C\n"));
}

/// A folder with files, and the application that serves it. The parent of the folder has a `secret`.
fn site() -> (tempfile::TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    for folder in ["docs", "empty", ".git", ".well-known", "a b"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(root.join("index.html"), "<h1>home</h1>").unwrap();
    fs::write(root.join("docs/index.html"), "docs").unwrap();
    fs::write(root.join("style.css"), "a{}").unwrap();
    fs::write(root.join("tool.wasm"), "wasm").unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    fs::write(root.join(".env"), "hidden").unwrap();
    fs::write(root.join(".git/config"), "hidden").unwrap();
    fs::write(root.join(".well-known/security.txt"), "contact").unwrap();
    fs::write(root.join("large.bin"), vec![7; 100_000]).unwrap();
    symlink("../secret", root.join("up")).unwrap();
    symlink("/etc/passwd", root.join("far")).unwrap();
    symlink("style.css", root.join("near.css")).unwrap();
    nix::unistd::mkfifo(&root.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let running = serving(&root);
    (dir, running)
}

fn serving(root: &Path) -> Running {
    fake::builtin("static", &serde_json::json!({ "builtin": "static", "root": root }).to_string())
}

#[test]
fn static_sends_files_with_their_types() {
    let (_dir, site) = site();
    let files = [
        ("/", "<h1>home</h1>", "text/html; charset=utf-8"),
        ("/docs/", "docs", "text/html; charset=utf-8"),
        ("//docs///index.html", "docs", "text/html; charset=utf-8"),
        ("/style.css", "a{}", "text/css; charset=utf-8"),
        ("/near.css", "a{}", "text/css; charset=utf-8"),
        ("/tool.wasm", "wasm", "application/wasm"),
        ("/nothing", "", "application/octet-stream"),
        ("/.well-known/security.txt", "contact", "text/plain; charset=utf-8"),
    ];
    for (path, content, kind) in files {
        let reply = get(&site, path);
        assert_eq!(
            (reply.status, reply.text(), reply.field("content-type")),
            (200, content, Some(kind)),
            "{path}"
        );
        assert!(reply.field("last-modified").unwrap().ends_with(" GMT"));
    }
}

#[test]
fn static_sends_large_files_and_heads_by_descriptor() {
    let (_dir, site) = site();
    let large = get(&site, "/large.bin");
    assert_eq!((large.status, large.body.len(), large.is_file), (200, 100_000, true));
    let head = reply(&site, FakeHost::new("HEAD", "/style.css"));
    assert_eq!((head.status, head.is_file), (200, true));
    assert!(!get(&site, "/style.css").is_file);
}

#[test]
fn static_shows_nothing_that_is_hidden_missing_special_or_outside() {
    let (_dir, site) = site();
    let nowhere = [
        "/missing",
        "/.env",
        "/.git/config",
        "/docs/../.env",
        "/../secret",
        "/docs/../../secret",
        "/up",
        "/far",
        "/pipe",
        "/empty/",
        "/style.css/",
        "/docs/./index.html",
        "/a\0b",
        "/.well-known/../.env",
        "/.well-known-not/x",
    ];
    for path in nowhere {
        assert_eq!(get(&site, path).status, 404, "{path}");
    }
    let long = "/".to_owned() + &"x".repeat(5000);
    assert_eq!(get(&site, &long).status, 404);
}

#[test]
fn static_sends_folders_to_their_slash_on_this_server() {
    let (_dir, site) = site();
    let locations = [
        ("/docs", "/docs/"),
        ("/docs?q=1&r=%20", "/docs/?q=1&r=%20"),
        ("//docs", "/docs/"),
        ("/a b", "/a%20b/"),
    ];
    for (target, location) in locations {
        let reply = get(&site, target);
        assert_eq!((reply.status, reply.field("location")), (301, Some(location)), "{target}");
    }
}

#[test]
fn static_answers_only_get_and_head() {
    let (_dir, site) = site();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let reply = reply(&site, FakeHost::new(method, "/"));
        assert_eq!((reply.status, reply.field("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn static_sends_a_304_for_a_copy_that_is_as_new() {
    let (dir, site) = site();
    let stamp = get(&site, "/style.css").field("last-modified").unwrap().to_owned();
    let ask = |date: &str| FakeHost::new("GET", "/style.css").field("if-modified-since", date);
    let unchanged = reply(&site, ask(&stamp));
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.field("last-modified"), Some(stamp.as_str()));
    assert_eq!(reply(&site, ask("Sat, 01 Jan 2000 00:00:00 GMT")).status, 200);
    assert_eq!(reply(&site, ask("yesterday")).status, 200);
    assert_eq!(reply(&site, ask(&stamp).field("if-none-match", "\"x\"")).status, 200);
    let later = SystemTime::now() + Duration::from_secs(3600);
    fs::File::open(dir.path().join("site/style.css")).unwrap().set_modified(later).unwrap();
    let stamp = get(&site, "/style.css").field("last-modified").unwrap().to_owned();
    assert!(
        httpdate::parse_http_date(&stamp).unwrap() <= SystemTime::now(),
        "a file of the future is of now"
    );
}

#[test]
fn static_says_that_a_file_is_not_for_this_client() {
    let (dir, site) = site();
    let path = dir.path().join("site/style.css");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let is_root = fs::File::open(&path).is_ok();
    assert_eq!(get(&site, "/style.css").status, if is_root { 200 } else { 403 });
}

/// What `static` says of its table.
fn refusal(config: &str) -> String {
    let application = Application::load(&Source::Builtin("static".to_owned()), config.to_owned()).unwrap();
    application.start(FACTS, &LINES).err().unwrap().to_string()
}

#[test]
fn static_says_what_is_wrong_with_its_table() {
    let missing = refusal(r#"{"root": "/no/such"}"#);
    assert_eq!(missing, "the application refused to start: cannot serve the folder /no/such: no such folder");
    let file = refusal(r#"{"root": "/etc/passwd"}"#);
    assert!(file.ends_with("/etc/passwd: it is not a folder"), "{file}");
    assert!(refusal(r#"{"builtin": "static"}"#).contains("`root` is missing"));
    assert!(refusal(r#"{"root": ".", "indx": "a"}"#).contains("unknown field `indx`"));
    assert!(refusal(r#"{"root": ".", "index": "../a"}"#).contains("`index` has to be the name of a file"));
}
